# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A port of this computer's loopback that leads to a port of a node, and stays when SSH is lost and opened again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from scherbelberg.concurrency.exhaustion import nothing_left
from scherbelberg.concurrency.waiting import pause
from scherbelberg.errors import ScherbelbergError
from scherbelberg.nodes.ssh import Remote

_CHUNK = 2**18
#: How long who connects is held up when the node cannot be reached, in seconds, since Dask tries again at once.
_AGAIN_S = 0.5


class Tunnel:
    """A tunnel through one node. Use it on the private loop only.

    Args:
        remote: The node.
        host: Where it leads, as the node sees it.
        port: Port there.
    """

    def __init__(self, remote: Remote, host: str, port: int) -> None:
        self._remote = remote
        self._host = host
        self._far_port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        """Listen on a free port of this computer's loopback.

        Returns:
            The port.

        Raises:
            ScherbelbergError: This computer has none left, or no file for it.
        """
        if self._server is None:
            try:
                # Not asyncio's own socket: where it can have none, it listens to nothing and does not say so.
                line = socket.create_server(("127.0.0.1", 0))
                # In two steps: who is cancelled while a server begins to serve would not know it, and never close it.
                self._server = await asyncio.start_server(self._take, sock=line, limit=_CHUNK, start_serving=False)
            except OSError as error:
                raise nothing_left(error) from None
            await self._server.start_serving()
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: before Python 3.12, asyncio complains when the task that it makes of one is cancelled.
        task = asyncio.create_task(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._far_end()
        except (ScherbelbergError, asyncio.CancelledError):
            writer.transport.abort()  # as if nobody listened: whoever connects tries again, unless the tunnel is closed
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except (Exception, asyncio.CancelledError):  # noqa: BLE001, S110 - SSH has errors of its own kinds
            pass  # one side broke off, or the tunnel is closed, which alone cancels this; both ends are told below
        finally:
            writer.close()
            far_writer.close()

    async def _far_end(self) -> tuple[Any, Any]:
        try:
            return await self._remote.open(self._host, self._far_port)
        except ScherbelbergError:
            await pause(_AGAIN_S)
            raise

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._open):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._open, return_exceptions=True)


async def _pump(source: Any, sink: Any) -> None:
    """Carry bytes until the source ends, then tell the sink; streams of asyncio and of SSH look the same."""
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
