# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""SSH and tunnels where it is this computer that has the trouble, and not the node."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ssh_machine import Machine, reached

from scherbelberg.errors import NodeUnreachable, ScherbelbergError, StateDamaged
from scherbelberg.nodes.connections import Tunnel


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine that is up."""
    one = Machine(tmp_path)
    one.boot()
    yield one
    await one.crash()


@pytest.fixture
def crowded() -> Iterator[None]:
    """A computer on which this program may open no file and no connection more."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(int(path.name) for path in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, before[1]))
    with suppress(OSError):
        while True:
            taken.append(os.dup(0))
    yield
    for number in taken:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(os.name != "posix", reason="limits of open files are POSIX's")
@pytest.mark.parametrize("how", ["reach", "run"])
async def test_no_file_may_be_opened_here(machine: Machine, request: pytest.FixtureRequest, how: str) -> None:
    """Where this computer cannot open a connection it is said of this computer, and not of the node."""
    remote = machine.remote()
    request.getfixturevalue("crowded")
    work = remote.reach(within_s=1) if how == "reach" else remote.run("true", within_s=10)
    with pytest.raises(ScherbelbergError, match="This computer cannot open another connection") as caught:
        await work
    assert not isinstance(caught.value, NodeUnreachable)
    assert caught.value.node is None
    assert os.strerror(errno.EMFILE) in caught.value.message


async def test_host_keys_that_are_none(machine: Machine) -> None:
    """What is remembered of a node's host keys and cannot be read is no trouble of the node's."""
    remote = machine.remote("ssh-ed25519 AAAA")
    with pytest.raises(StateDamaged, match="host keys of node worker000 on this computer cannot be read"):
        await remote.reach(within_s=10)
    assert machine.logins == 0


async def test_trouble_of_who_answers(machine: Machine) -> None:
    """What goes wrong here while a node is talked to is not what the connection is said to be lost for."""
    ours = StateDamaged("The file x cannot be written.")

    def answer(_line: str) -> str | None:
        raise ours

    async with reached(machine) as remote:
        with pytest.raises(StateDamaged) as caught:
            await remote.converse("echo line", answer=answer, log=lambda _line: None, within_s=10)
    assert caught.value is ours


async def test_tunnel_and_trouble_of_ours(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Who connects to a tunnel that cannot be used for a reason of this computer's is cut off, as by a lost node."""
    remote = machine.remote("ssh-ed25519 AAAA")
    tunnel = Tunnel(remote, "127.0.0.1", 9)
    reader, writer = await asyncio.open_connection("127.0.0.1", await tunnel.listen())
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await tunnel.close()
    await remote.close()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.skipif(os.name != "posix", reason="limits of open files are POSIX's")
async def test_no_port_may_be_opened_here(machine: Machine, request: pytest.FixtureRequest) -> None:
    """A tunnel that this computer cannot open says so, instead of a traceback."""
    tunnel = Tunnel(machine.remote(), "127.0.0.1", 9)
    request.getfixturevalue("crowded")
    with pytest.raises(ScherbelbergError, match="This computer cannot open another connection"):
        await tunnel.listen()
