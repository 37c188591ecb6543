# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A line on the loopback that a test can hold while bytes are under way on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

_CHUNK = 65536


class Gate:
    """Passes bytes on, both ways, until it is told to hold those of a connection that are more than some."""

    def __init__(self) -> None:
        self._limit = 0
        self._passed: Counter[asyncio.StreamReader] = Counter()
        self._is_open = asyncio.Event()
        self._is_stuck = asyncio.Event()
        self._is_open.set()
        self._closed_for_good: list[asyncio.Event] = []
        self._there = 0
        self.port = 0

    def hold_after(self, count: int) -> None:
        """Let so many bytes pass on each connection and way, and hold what brings more."""
        self._limit = count
        self._passed.clear()
        self._is_open.clear()
        self._is_stuck.clear()

    async def is_stuck(self) -> None:
        """Wait until it holds a connection."""
        await self._is_stuck.wait()

    def let_pass(self) -> None:
        """Let everything pass again."""
        self._is_open.set()

    def silence(self) -> None:
        """Hold for good all that comes on the connections there are, as a network does that has forgotten them."""
        self._limit = 0
        self._closed_for_good.append(self._is_open)
        self._is_open.clear()
        self._is_open = asyncio.Event()
        self._is_open.set()

    @contextlib.asynccontextmanager
    async def before(self, port: int) -> AsyncIterator[None]:
        """Stand before a port of this computer."""
        self._there = port
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            for is_open in (self._is_open, *self._closed_for_good):
                is_open.set()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self._there)
        await asyncio.gather(self._pump(reader, onward, self._is_open), self._pump(there, writer, self._is_open))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                self._passed[source] += len(data)
                if self._passed[source] > self._limit and not is_open.is_set():
                    self._is_stuck.set()
                    await is_open.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
        with contextlib.suppress(OSError):
            await sink.wait_closed()
