# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""environment.sh under a Dask that runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from process_node import Node, free_port, make_node
from small_channel import Mirror, Package, give, serve

pytestmark = pytest.mark.usefixtures("curl")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A channel, and Miniforge."""
    with serve() as made:
        yield made


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine that is to be a scheduler."""
    made = make_node(tmp_path, role="scheduler", scheduler_port=free_port())
    yield made
    await made.end()


async def test_another_environment(node: Node, mirror: Mirror) -> None:
    """A new environment takes the place of the old one under Dask, which is started again from it; the old one goes."""
    assert (await node.up()).said[-1] == "@phase service done"
    before = node.pid("dask")
    site = Package("site-1-0.conda", "".join(f"{path}\n" for path in sys.path if "site-packages" in path).encode())
    mirror.offer(site)
    new = give(node, mirror, site)
    ended = await node.up()
    assert ended.said[-1] == "@phase service done", ended
    assert node.pid("dask") != before
    assert f"envs/{new}/bin/python3" in " ".join(psutil.Process(node.pid("dask")).cmdline())
    assert [path.name for path in (node.base / "envs").iterdir()] == [new]
    assert not (node.base / "download").exists()
    again = await node.up()
    assert again.said[-1] == "@phase service skipped"
    assert "@phase environment skipped already there" in again.said
