# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A host's SSH server, and a port that answers nothing, not even that nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from scherbelberg.sandbox.faults import NO_HOST_FAULTS, HostFaults
from scherbelberg.sandbox.hosts.fake_programs import LOADED_KEYS

Process = asyncssh.SSHServerProcess[bytes]

_log = logging.getLogger(__name__)
_LOGIN_S = 30
_BACKLOG = 100
#: Linux' own number: addresses may be bound that no interface has, as long as packets for them end here.
_IPV6_FREEBIND = 78

Serve = Callable[[Process], Coroutine[Any, Any, None]]
#: Tells where on this computer a place as the host sees it is, or None where nobody answers.
Find = Callable[[str, int], tuple[str, int] | None]

#: The first fills the queue, where systems count correctly; others need more.
_FILLERS = 4


def same_place(host: str, port: int) -> tuple[str, int]:
    """Where hosts have addresses of this computer's, every place is where it seems to be."""
    return host, port


class _Files(asyncssh.SFTPServer):
    """Files of the host: relative paths begin in root's home."""

    def __init__(self, home: bytes, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(chan)
        self._home = home

    def map_path(self, path: bytes) -> bytes:
        """Make a client's path one of this computer's."""
        return posixpath.normpath(posixpath.join(self._home, path))

    def exit(self) -> None:
        """Tell the client that the server program ended well.

        asyncssh closes the channel without an exit status here, which OpenSSH's scp takes for a failure.
        """
        self.channel.exit(0)


class _Login(asyncssh.SSHServer):
    """Who may log in, and what they may do besides."""

    def __init__(self, authorized_keys: Path, made: Callable[[asyncssh.SSHServerConnection], None], find: Find) -> None:
        self._authorized_keys = authorized_keys
        self._made = made
        self._find = find
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection."""
        self._connection = conn
        self._made(conn)

    def begin_auth(self, username: str) -> bool:
        """Read root's keys, anew for each connection; everybody else has none."""
        keys = asyncssh.SSHAuthorizedKeys()
        if username == "root":
            with contextlib.suppress(OSError, ValueError):
                keys = asyncssh.read_authorized_keys(str(self._authorized_keys))
        if self._connection is not None:
            self._connection.set_authorized_keys(keys)
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys only."""
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """Forward to wherever the host can connect."""
        place = self._find(dest_host, dest_port)
        if place is None or self._connection is None:
            return False
        return _forward(self._connection, place)


async def _forward(connection: asyncssh.SSHServerConnection, place: tuple[str, int]) -> asyncssh.SSHForwarder:
    forwarder = await connection.forward_connection(*place)
    if connection.is_closed():
        forwarder.connection_lost(None)  # asyncssh forgets what was opened for a client that is gone
    return forwarder


class Sshd:
    """An SSH server on one address.

    Args:
        root: The host's root.
        address: Where to listen.
        port: Where to listen.
        address_ipv6: Where to listen, too; it is reached where this computer takes it for its own.
        serve: Runs a session's command.
        faults: What is wrong with the host.
        find: Tells where forwarded connections lead.
        files: Whether it takes and gives files by SFTP and scp.
    """

    def __init__(
        self,
        root: Path,
        *,
        address: str,
        port: int,
        serve: Serve,
        address_ipv6: str | None = None,
        faults: HostFaults = NO_HOST_FAULTS,
        find: Find = same_place,
        files: bool = True,
    ) -> None:
        self._root = root
        self._address = (address, port)
        self._address_ipv6 = None if address_ipv6 is None else (address_ipv6, port)
        self._serve = serve
        self._faults = faults
        self._find = find
        self._files = files
        self._silence = Silence(address, port)
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._arriving: set[socket.socket] = set()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._keys_seen: tuple[int, int] | None = None
        self._options: asyncssh.SSHServerConnectionOptions | None = None

    def hold(self) -> None:
        """Do not listen yet: who comes is refused at once, or hears nothing if the host is silent.

        Raises:
            OSError: The address cannot be used.
        """
        if self._faults.has("silent"):
            self._silence.begin()

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be used.
        """
        self._silence.end()
        self._listen(socket.AF_INET, self._address)
        if self._address_ipv6 is not None:
            try:
                self._listen(socket.AF_INET6, self._address_ipv6)
            except OSError as error:  # this computer has no IPv6, or somebody else has the port
                _log.info("%s: nobody listens at %s: %s", self._root.name, self._address_ipv6[0], error)

    def _listen(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._sockets.append(listener)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def stop(self) -> None:
        """Cut all connections and listen no more."""
        self._silence.end()
        while self._sockets:
            listener = self._sockets.pop()
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for connection in tuple(self._connections):
            connection.abort()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._arriving:  # nobody spoke with them, or their tasks were cancelled before they began
            self._arriving.pop().close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # whoever it was has hung up already
        self._arriving.add(connection)
        if self._faults.has("mute"):
            return
        self._spawn(self._shake_hands(connection))

    async def _shake_hands(self, connection: socket.socket) -> None:
        # Everything that a stranger can do wrong ends the connection and nothing else.
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncssh.run_server(connection, options=self._current_options())
        except (OSError, ValueError, asyncssh.Error) as error:
            _log.info("%s: connection ended: %s", self._root.name, error)
            connection.close()
        except BaseException:
            connection.close()  # which may be nobody's yet
            raise
        finally:
            self._arriving.discard(connection)

    def _current_options(self) -> asyncssh.SSHServerConnectionOptions:
        """The options, with the host keys that sshd read at boot or at its last reload."""
        if self._faults.has("wrong_key"):
            return self._make_options([asyncssh.generate_private_key("ssh-ed25519")])
        loaded = self._root / LOADED_KEYS
        state = loaded.stat()
        seen = (state.st_mtime_ns, state.st_ino)
        if self._options is None or seen != self._keys_seen:
            self._options = self._make_options(asyncssh.read_private_key_list(loaded))
            self._keys_seen = seen
        return self._options

    def _make_options(self, keys: Sequence[asyncssh.SSHKey]) -> asyncssh.SSHServerConnectionOptions:
        home = self._root / "root"
        return asyncssh.SSHServerConnectionOptions(
            config=[],
            server_factory=partial(_Login, home / ".ssh/authorized_keys", self._remember, self._find),
            server_host_keys=keys,
            process_factory=self._begin,
            sftp_factory=partial(_Files, str(home).encode()) if self._files else None,
            allow_scp=self._files,
            encoding=None,
            line_editor=False,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            login_timeout=_LOGIN_S,
        )

    def _remember(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connections.add(connection)
        self._spawn(self._forget(connection))

    async def _forget(self, connection: asyncssh.SSHServerConnection) -> None:
        try:
            await connection.wait_closed()
        finally:
            self._connections.discard(connection)

    def _begin(self, process: Process) -> None:
        if process.subsystem is not None:
            process.exit(1)
            return
        self._spawn(self._serve(process))


class Silence:
    """A port that is silent until it is told otherwise: whoever listens there takes nobody, and the queue is full.

    Args:
        address: Where.
        port: Where.
    """

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._sockets: list[socket.socket] = []

    def begin(self) -> None:
        """Be silent.

        Raises:
            OSError: The address cannot be used.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sockets.append(listener)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._place)
            listener.listen(0)
            for _ in range(_FILLERS):
                filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self._sockets.append(filler)
                filler.setblocking(False)
                filler.connect_ex(self._place)
        except OSError:
            self.end()
            raise

    def end(self) -> None:
        """Leave the port to others."""
        while self._sockets:
            self._sockets.pop().close()  # the listener last: it shall not take a filler for a visitor
