# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which of a machine's two addresses is taken: a table of the choice, and real connections over both."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
import pytest

from scherbelberg.cloud.public_address import has_route
from scherbelberg.concurrency.waiting import until
from scherbelberg.nodes.dialing import dial, first_way, ways
from scherbelberg.sandbox.hosts.sshd import Silence

_V4, _V6, _TEST_V6 = "198.51.100.1", "2a01:4f8:1:2::1", "2001:db8:1:2::1"

needs_ipv6 = pytest.mark.skipif(not has_route("::1"), reason="there is no IPv6 here, not even on the loopback")


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "routed", "expected"),
    [
        (_V4, _V6, {_V4, _V6}, (_V4, _V6)),
        (_V4, _V6, {_V4}, (_V4,)),
        (_V4, _V6, {_V6}, (_V6,)),
        (_V4, _V6, set(), (_V4,)),
        (_V4, None, {_V4}, (_V4,)),
        (_V4, None, set(), (_V4,)),
        (None, _V6, {_V6}, (_V6,)),
        (None, None, set(), ()),
        # The internet does not know such an address: it is for a computer without any other way.
        (_V4, _TEST_V6, {_V4, _TEST_V6}, (_V4,)),
        (_V4, _TEST_V6, {_TEST_V6}, (_TEST_V6,)),
    ],
)
def test_order(ipv4: str | None, ipv6: str | None, routed: set[str], expected: tuple[str, ...]) -> None:
    """IPv4 comes first, IPv6 where there is no way by IPv4, and both where both may lead there."""
    assert ways(ipv4, ipv6, is_routed=routed.__contains__) == expected


def test_routes_of_this_computer() -> None:
    """This computer has a way to its own loopback, and the address for a program that takes one is the first."""
    assert has_route("127.0.0.1")
    assert not has_route("255.255.255.255")
    assert first_way("127.0.0.1", _TEST_V6) == "127.0.0.1"
    assert first_way(None, None) is None


@contextmanager
def listening(address: str, port: int = 0) -> Iterator[int]:
    """A port that takes connections and says nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.create_server((address, port), family=family)) as server:
        yield server.getsockname()[1]


async def dialled(*addresses: str, port: int, lead_s: float) -> str:
    """The address that is connected to."""
    line = await dial(addresses, port, lead_s=lead_s)
    with closing(line):
        assert line.getblocking() is False
        return str(line.getpeername()[0])


@needs_ipv6
async def test_first_that_answers() -> None:
    """Where both answer, IPv4 is talked to; where IPv4 refuses, IPv6 is tried at once, however long IPv4 may lead."""
    with listening("127.0.0.1") as port, listening("::1", port):
        assert await dialled("127.0.0.1", "::1", port=port, lead_s=60) == "127.0.0.1"
        assert await dialled("::1", port=port, lead_s=60) == "::1"
    with listening("::1") as port:
        assert await dialled("127.0.0.1", "::1", port=port, lead_s=60) == "::1"


@needs_ipv6
async def test_ipv4_that_is_stuck() -> None:
    """An IPv4 that swallows everything costs its lead and no more."""
    with listening("::1") as port:
        silence = Silence("127.0.0.1", port)
        silence.begin()
        try:
            async with asyncio.timeout(20):
                assert await dialled("127.0.0.1", "::1", port=port, lead_s=0.01) == "::1"
        finally:
            silence.end()


async def test_nobody_answers() -> None:
    """Where nobody answers, what the first address said is raised."""
    with listening("127.0.0.1") as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await dialled("127.0.0.1", "127.0.0.2", port=port, lead_s=60)


async def test_given_up() -> None:
    """Who is cancelled leaves no connection behind."""
    with listening("127.0.0.1") as port:
        pass
    silence = Silence("127.0.0.1", port)
    silence.begin()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await dialled("127.0.0.1", "127.0.0.1", port=port, lead_s=0.01)
    finally:
        silence.end()

    async def over() -> bool | None:
        return True if asyncio.all_tasks() == {asyncio.current_task()} else None

    await until(over, every_s=0.01, within_s=20, what="the end of all tries")


@needs_ipv6
@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_moment(steps: int) -> None:
    """Wherever a connection in the making is cancelled, it is either returned or closed."""
    with listening("127.0.0.1") as port, listening("::1", port):
        before = _sockets()
        dialling = asyncio.create_task(dial(("127.0.0.1", "::1"), port, lead_s=0))
        for _ in range(steps):
            await asyncio.sleep(0)
        dialling.cancel()
        for line in await asyncio.gather(dialling, return_exceptions=True):
            if isinstance(line, socket.socket):
                line.close()

        async def closed() -> bool | None:
            return True if _sockets() == before else None

        await until(closed, every_s=0.01, within_s=20, what="the end of all connections")


def _sockets() -> set[int]:
    """The descriptors of all our sockets."""
    return {row.fd for row in psutil.Process().net_connections("tcp") if row.fd != -1}
