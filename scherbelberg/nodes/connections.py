# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The connections to one cluster's nodes: SSH to each that is asked for, and the tunnels through the scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from attrs import evolve

from scherbelberg.concurrency.exhaustion import exhaustion_error
from scherbelberg.concurrency.loop import at_end, private_loop
from scherbelberg.concurrency.waiting import pause
from scherbelberg.errors import (
    ClusterBroken,
    NodeNotFound,
    NodeUnreachable,
    ScherbelbergError,
    StateMissing,
)
from scherbelberg.inventory.listing import find_own
from scherbelberg.inventory.reminders import Reminder
from scherbelberg.nodes.dialing import ways
from scherbelberg.nodes.ssh import Remote
from scherbelberg.planning.plan import dashboard_host
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.settings import Settings
from scherbelberg.state.manifest import AUTHORITY, CLIENT, CLIENT_KEY, Manifest, NodeRecord
from scherbelberg.state.store import Folder

if TYPE_CHECKING:
    from scherbelberg.cloud.transport import Transport


_CHUNK = 2**18
#: How long who connects is held up when the node cannot be reached, in seconds, since Dask tries again at once.
_AGAIN_S = 0.5


#: What has connections that stay, and how long the end of the program waits for their end, in seconds.
_OPEN: set[Connections] = set()
_END_S = 5.0


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
                raise exhaustion_error(error) from None
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


class Connections:
    """Connections to one cluster. Use it on the private loop only.

    It also holds the newest manifest, since host keys are pinned there. Only what a later try could not find out again
    is written down at once.

    Args:
        folder: The cluster's folder.
        manifest: What was last read from it.
        ssh_key: Our private key, in OpenSSH's format.
    """

    def __init__(self, folder: Folder, manifest: Manifest, ssh_key: str) -> None:
        self.manifest = manifest
        self.folder = folder
        #: The cloud's API, if it was asked: nodes are no further away than it is.
        self.api: Transport | None = None
        self._ssh_key = ssh_key
        self._remotes: dict[str, Remote] = {}
        self._tunnels: list[Tunnel] = []
        self._endpoint: SchedulerEndpoint | None = None
        self._opening = asyncio.Lock()
        self._reminder = Reminder(folder)

    def save(self) -> None:
        """Write the manifest down."""
        self.folder.save(self.manifest)

    def node(self, name: str) -> NodeRecord:
        """What is remembered of a node.

        Raises:
            NodeNotFound: There is none of this name.
        """
        return find_node(self.manifest, name)

    def pin_host_keys(self, name: str, host_keys: tuple[str, ...]) -> None:
        """Accept these host keys of a node and no others."""
        self.manifest = self.manifest.with_node(evolve(self.node(name), host_keys=host_keys))

    def remote(self, name: str) -> Remote:
        """A node over SSH; connects when it is first used.

        Raises:
            NodeNotFound: There is none of this name.
            NodeUnreachable: It has no address yet.
        """
        if name not in self._remotes:
            _OPEN.add(self)
            self._remotes[name] = self._new_remote(name)
        return self._remotes[name]

    def _new_remote(self, name: str) -> Remote:
        record = self.node(name)
        if not ways(record.public_ip, record.public_ipv6):
            raise NodeUnreachable(f"Node {name} has no public address yet.", node=name)
        return Remote(
            node=name,
            host=record.public_ip,
            host_ipv6=record.public_ipv6,
            port=self.manifest.ssh_port,
            key=self._ssh_key,
            host_keys=lambda: self.node(name).host_keys,
            answered_s=lambda: None if self.api is None else self.api.quickest_s,
        )

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[Remote]:
        """A node over a connection of its own: what breaks it, such as a deadline, cuts no tunnel and no other visit.

        Raises:
            NodeNotFound: There is none of this name.
            NodeUnreachable: It has no address yet.
        """
        remote = self._new_remote(name)
        try:
            yield remote
        finally:
            await remote.close()

    async def open_endpoint(self) -> SchedulerEndpoint:
        """Open the tunnels to scheduler and dashboard; they stay open and keep their ports until `close`.

        Raises:
            NodeUnreachable: The scheduler has no private address yet.
        """
        async with self._opening:  # one endpoint for all who ask at the same time
            if self._endpoint is None:
                self._endpoint = await self._open_endpoint()
            return self._endpoint

    async def _open_endpoint(self) -> SchedulerEndpoint:
        self._reminder.begin()
        scheduler = self.node("scheduler")
        if scheduler.private_ip is None:
            raise NodeUnreachable("The scheduler has no private address yet.", node="scheduler")
        ports = self.manifest.spec.ports
        return SchedulerEndpoint(
            prefix=self.manifest.identity.prefix,
            port=await self._tunnel(scheduler.private_ip, ports.scheduler),
            dashboard_port=await self._tunnel(dashboard_host(scheduler.private_ip), ports.dashboard),
            authority=self.folder.path / AUTHORITY,
            certificate=self.folder.path / CLIENT,
            key=self.folder.path / CLIENT_KEY,
        )

    async def _tunnel(self, host: str, port: int) -> int:
        tunnel = Tunnel(self.remote("scheduler"), host, port)
        self._tunnels.append(tunnel)
        return await tunnel.listen()

    async def forget(self, name: str) -> None:
        """End the connection to a node whose machine is given back; the next one goes to the address of the next."""
        remote = self._remotes.pop(name, None)
        if remote is not None:
            await remote.close()

    async def close(self) -> None:
        """Close all tunnels and connections."""
        _OPEN.discard(self)
        self._reminder.end()
        if self._endpoint is not None:
            self._endpoint.shut.set()  # before clients find their connections cut
            self._endpoint = None
        tunnels, self._tunnels = self._tunnels, []
        for tunnel in tunnels:
            await tunnel.close()
        remotes, self._remotes = self._remotes, {}
        for remote in remotes.values():
            await remote.close()


def _close_all() -> None:
    """At the end of the program, close what nobody has closed: a loop that ends would complain of each connection."""

    async def closed(connections: tuple[Connections, ...]) -> None:
        for one in connections:
            with suppress(Exception):
                await one.close()

    if _OPEN:
        private_loop().submit(closed(tuple(_OPEN))).wait(_END_S)


at_end(_close_all)


if hasattr(os, "register_at_fork"):
    # A forked child has no part in its parent's connections.
    os.register_at_fork(after_in_child=_OPEN.clear)


def find_node(manifest: Manifest, name: str) -> NodeRecord:
    """Find a node by its name.

    Raises:
        NodeNotFound: There is none of this name.
    """
    record = manifest.node(name)
    if record is None:
        names = ", ".join(node.name for node in manifest.nodes)
        raise NodeNotFound(f"Cluster '{manifest.identity.prefix}' has no node '{name}'; it has: {names}.")
    return record


async def attach(settings: Settings, prefix: str) -> Connections:
    """Attach to a cluster that was made on this computer.

    Args:
        settings: The ambient configuration.
        prefix: Its name.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is half made.
        StateMissing: Its keys are not on this computer.
        StateDamaged: Its folder on this computer cannot be read.
    """
    known = await find_own(settings, prefix)
    if known.cluster.state != "ready":
        raise ClusterBroken(
            f"Cluster {known.cluster.describe(known.now_s)}: repeat its create with the same options if that was"
            f" interrupted, or give it back with 'scherbelberg destroy -p {prefix}'."
        )
    if known.folder is None:
        raise StateMissing(f"The keys of cluster '{known.cluster.prefix}' are not on this computer.")
    return Connections(known.folder, known.folder.read(), known.folder.keyring().ssh.private)
