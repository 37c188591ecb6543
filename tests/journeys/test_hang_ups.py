# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clients and servers that hang up at every stage of a connection, beside healthy connections that stay healthy."""

from __future__ import annotations

import asyncio
import functools
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from attrs import evolve, frozen
from conftest import TIME_SCALE
from dask import array
from distributed import Client, Security
from distributed.comm import CommClosedError, connect
from distributed.comm.registry import get_backend
from surroundings import NODE_PYTHON, SHORT, settings_for
from tornado.iostream import SSLIOStream

from scherbelberg import Cluster, ClusterSpec
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.share import openssl_errors

_HEALTHY, _RUDE = 20, 200
_WITHIN_S, _ALL_S = 30, 600
#: More than the buffers on the way hold.
_MUCH = 4 * 2**20
#: A socket that is closed with this says so at once and takes nothing more.
_AT_ONCE = struct.pack("ii", 1, 0)


@frozen(kw_only=True)
class Place:
    """Somebody who listens, and what a client needs there."""

    address: str
    security: Security

    @property
    def arguments(self) -> dict[str, Any]:
        """For connecting as Dask does."""
        return dict(self.security.get_connection_args("client"))


# --- clients that hang up ---


async def _amid_the_handshake(place: Place) -> None:
    host, port = place.address.removeprefix("tls://").rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        place.arguments["ssl_context"].wrap_bio(incoming, outgoing).do_handshake()
    writer.write(outgoing.read())
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


async def _after_the_handshake(place: Place) -> None:
    connector = get_backend("tls").get_connector()
    comm = await connector.connect(place.address.removeprefix("tls://"), **place.arguments)
    comm.abort()


async def _after_a_request(place: Place) -> None:
    comm = await connect(place.address, **place.arguments)
    await comm.write({"op": "echo", "data": b"anybody?", "reply": True})
    comm.abort()


async def _amid_an_answer(place: Place) -> None:
    comm = await connect(place.address, **place.arguments)
    await comm.write({"op": "echo", "data": bytes(_MUCH), "reply": True})
    await comm.stream.read_bytes(1000)
    comm.abort()


_WAYS: tuple[Callable[[Place], Awaitable[None]], ...] = (
    _amid_the_handshake,
    _after_the_handshake,
    _after_a_request,
    _amid_an_answer,
)


# --- a server that hangs up ---


def _hang_up(line: socket.socket, stage: int) -> None:
    """Serve as far as to a stage; what was sent and is not read by then makes the end abrupt."""
    line.settimeout(_WITHIN_S)
    if stage == 0:
        line.recv(10)
        return
    context = openssl_errors._context(ssl.PROTOCOL_TLS_SERVER)
    with context.wrap_socket(line, server_side=True) as end:
        if stage > 1:
            end.recv(1000)
        if stage > 2:
            end.send(bytes(1000))


def _serve(listener: socket.socket) -> None:
    for number in itertools.count():
        try:
            line, _ = listener.accept()
        except OSError:
            return
        with line, suppress(OSError):
            _hang_up(line, number % 4)


@contextmanager
def _rude_server() -> Iterator[tuple[str, int]]:
    """A server in a thread of its own; its errors are its own, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(_WITHIN_S)


async def _talk_to(address: tuple[str, int]) -> None:
    """Send more than is taken, in this thread, to somebody who hangs up."""
    stream = SSLIOStream(socket.socket(), ssl_options=openssl_errors._context(ssl.PROTOCOL_TLS_CLIENT))
    with suppress(OSError):
        await stream.connect(address)
        for _ in range(3):
            await stream.write(bytes(2**20))
    stream.close()


# --- healthy connections ---


class Healthy:
    """Connections that are used again and again."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._comms: list[Any] = []
        self.broken: list[str] = []

    async def connect(self) -> None:
        """Open them."""
        self._comms = [await self._connect() for _ in range(_HEALTHY)]

    async def _connect(self) -> Any:
        return await connect(self._place.address, **self._place.arguments)

    async def use(self, turn: int) -> None:
        """Use some of them, others at the next turn; one that breaks is noted and replaced."""
        await asyncio.gather(*map(self._echo, range(turn % 5, _HEALTHY, 5)))

    async def _echo(self, number: int) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                await self._comms[number].write({"op": "echo", "data": number, "reply": True})
                assert await self._comms[number].read() == number
        except (OSError, CommClosedError) as error:
            self.broken.append(str(error))
            self._comms[number] = await self._connect()

    async def close(self) -> None:
        """Close them in good order."""
        for comm in self._comms:
            await comm.close()


async def _hang_up_there(place: Place, number: int) -> None:
    await _WAYS[number % len(_WAYS)](place)


async def _bother(place: Place, hang_up: Callable[[int], Awaitable[None]]) -> list[str]:
    """Let many hang up, one after the other, and use healthy ones after each; what broke of these."""
    healthy = Healthy(place)
    await healthy.connect()
    for number in range(_RUDE):
        await hang_up(number)
        await healthy.use(number)
    await healthy.close()
    return healthy.broken


# --- a cluster ---


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client, on the test's own loop, of a cluster with two workers, perhaps with another Python than ours."""
    options = Options(time_scale=TIME_SCALE, node_python=NODE_PYTHON)
    with SandboxThread(tmp_path / "sandbox", options) as sandbox:
        spec = ClusterSpec(prefix="rude", workers=2, timeouts=SHORT, allow_mismatch=NODE_PYTHON is not None)
        cluster = await Cluster.from_new(spec, settings=settings_for(sandbox, tmp_path / "home"))
        try:
            async with await cluster.get_client(asynchronous=True) as client:
                yield client
        finally:
            await cluster.destroy()


async def _shuffle_until(done: asyncio.Event, client: Client) -> int:
    """Let the workers exchange all they have, again and again."""
    numbers = np.arange(400 * 400).reshape(400, 400)
    rounds = 0
    while not done.is_set():
        rows = array.from_array(numbers + rounds, chunks=(50, 400))
        with dask.config.set({"array.rechunk.method": "p2p", "optimization.fuse.active": False}):
            columns = rows.rechunk((400, 50))
        assert any("p2p" in str(key) for key in columns.dask)
        found = await client.compute(columns)
        assert (found == numbers + rounds).all()
        rounds += 1
    return rounds


@pytest.mark.filterwarnings("ignore:Mismatched versions")  # with another Python on the nodes
async def test_hang_ups(client: Client) -> None:
    """None of the healthy connections breaks, wherever they lead and whoever hangs up; work goes on and is right."""
    identity = await client.scheduler.identity(n_workers=-1)
    worker, row = next(iter(identity["workers"].items()))
    addresses = {"scheduler": identity["address"], "worker": worker, "nanny": row["nanny"]}
    tunnel = Place(address=client.scheduler.addr, security=client.security)
    places = {name: evolve(tunnel, address=address) for name, address in addresses.items()} | {"tunnel": tunnel}
    ended = asyncio.Event()
    work = asyncio.create_task(_shuffle_until(ended, client))
    broken: dict[str, list[str]] = {}
    try:
        async with asyncio.timeout(_ALL_S):
            for name, place in places.items():
                broken[name] = await _bother(place, functools.partial(_hang_up_there, place))
            with _rude_server() as there:
                broken["client"] = await _bother(tunnel, lambda _: _talk_to(there))
    finally:
        ended.set()
        rounds = await work
    assert {name: lost for name, lost in broken.items() if lost} == {}
    assert (len(broken), rounds > 0) == (5, True)
