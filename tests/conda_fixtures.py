# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a conda channel that all tests of a session share, one of the test's own, and a mirror that serves it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conda_channel import Channel, borrow, make_channel, open_channel
from environment_world import World, isolated
from mirror import Mirror
from session_lock import alone
from shells import Shell

from scherbelberg.sandbox.server import SandboxThread


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A channel with this machine's Python, Dask and what Dask needs, made once in a session; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, unfinished = shared / "channel", shared / "channel.unfinished"
    with alone(shared / "channel.lock"):
        if not root.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make_channel(unfinished)
            unfinished.rename(root)
    return open_channel(root)


@pytest.fixture
def own_channel(conda_channel: Channel, tmp_path: Path) -> Channel:
    """A channel with the same packages, where a test may add and remove some."""
    return borrow(conda_channel, tmp_path / "mirrored")


@pytest.fixture
def mirror(own_channel: Channel) -> Iterator[Mirror]:
    """A server of the test's own channel, and of what else the test puts into its folder."""
    with Mirror(own_channel.root) as running:
        yield running


@pytest.fixture
def world(
    *, curl: str, sandbox: SandboxThread, mirror: Mirror, own_channel: Channel, shell: Shell, tmp_path: Path
) -> World:
    """A cloud of the test's own, whose nodes get their environments from the test's own mirror."""
    share = tmp_path / "share"
    settings = isolated(shell.settings, own_channel, mirror, shell.monkeypatch, share)
    return World(
        settings=settings,
        sandbox=sandbox,
        channel=own_channel,
        mirror=mirror,
        share=share,
        commands=shell,
        folder=tmp_path,
    )
