# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A machine over SSH. The only module that knows asyncssh; it hands out our values.

Nothing of the user's own SSH configuration, agent, keys or known hosts is used.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from scherbelberg.awake import CLOCK
from scherbelberg.commandresult import CommandResult
from scherbelberg.errors import NodeUnreachable, StateDamaged, TransferFailed, WaitTimeout
from scherbelberg.waiting import Deadline, limited, together, until

_KEEPALIVE_S = 15
_KEEPALIVES = 4
_CONNECT_S = 10
_LOGIN_S = 20
_SURVIVAL_S = 5
#: After so many seconds it is worth mentioning that a machine says nothing.
_SILENT_S = 1.0


class Remote:
    """A machine that is reached over SSH as root. Use it on the private loop only.

    Args:
        node: The node's name, for errors.
        host: Its address.
        port: Where it takes SSH.
        key: Our private key, in OpenSSH's format.
        host_keys: Returns the public host keys that are accepted at the time of asking.

    Raises:
        StateDamaged: The key is none.
    """

    def __init__(self, *, node: str, host: str, port: int, key: str, host_keys: Callable[[], Iterable[str]]) -> None:
        self.node = node
        self._host = host
        self._port = port
        self._key = _read_key(key)
        self._host_keys = host_keys
        self._connection: asyncssh.SSHClientConnection | None = None
        self._is_aborted = False
        self._standstills = 0
        self._connecting = asyncio.Lock()
        self._last = ""

    async def reach(self, *, within_s: float) -> None:
        """Connect, with as many tries as it takes.

        A wrong host key is never accepted, only met with another try, since addresses are recycled.

        Args:
            within_s: Deadline in seconds.

        Raises:
            NodeUnreachable: The deadline passed.
        """
        is_stranger = False

        async def connected() -> bool | None:
            nonlocal is_stranger
            begun = Deadline(_SILENT_S)
            try:
                await self._connect()
            except (OSError, asyncssh.Error) as error:
                self._last = str(error) or type(error).__name__
                is_stranger = isinstance(error, asyncssh.HostKeyNotVerifiable)
                return None
            except asyncio.CancelledError:
                # A try that the deadline cuts off: if it was a long one, its silence is the news.
                self._last = self._last if begun.left_s else "no answer"
                raise
            return True

        try:
            await until(
                connected,
                every_s=0.25,
                growth=1.3,
                longest_s=1,
                within_s=within_s,
                what=f"SSH to node {self.node} at {self._host} port {self._port}",
                node=self.node,
                last=lambda: self._last,
            )
        except WaitTimeout as error:
            warning = " What answers there has another host key than the node, and was told nothing."
            raise NodeUnreachable(error.message + warning * is_stranger, node=self.node) from None

    async def _connect(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is not None and (self._is_aborted or not await self._has_survived(self._connection)):
                self._connection.abort()
                await self._connection.wait_closed()  # until then it does not know that it is closed
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open_connection()
                self._is_aborted, self._standstills = False, CLOCK.standstills
            return self._connection

    async def _has_survived(self, connection: asyncssh.SSHClientConnection) -> bool:
        """Whether a connection outlived what this program has slept through; its keepalives take a minute to notice."""
        if self._standstills == CLOCK.standstills or connection.is_closed():
            return True
        try:
            async with limited(_SURVIVAL_S):
                await connection.run("true", encoding=None)
        except (OSError, asyncssh.Error):
            return False
        self._standstills = CLOCK.standstills
        return True

    async def _open_connection(self) -> asyncssh.SSHClientConnection:
        trusted = [asyncssh.import_public_key(key) for key in self._host_keys()]
        # Not asyncssh's connect_timeout: before Python 3.12, what it is made of may swallow a cancellation.
        async with asyncio.timeout(_CONNECT_S + _LOGIN_S):
            return await asyncssh.connect(
                self._host,
                self._port,
                username="root",
                client_keys=[self._key],
                known_hosts=(trusted, [], []),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                connect_timeout=None,
                login_timeout=_LOGIN_S,
                keepalive_interval=_KEEPALIVE_S,
                keepalive_count_max=_KEEPALIVES,
            )

    async def run(self, command: str, *, within_s: float, stdin: bytes = b"") -> CommandResult:
        """Run a command to its end.

        Args:
            command: A shell command line.
            within_s: Deadline in seconds.
            stdin: What it reads.

        Raises:
            NodeUnreachable: The connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._connected(command, within_s) as connection:
            done = await connection.run(command, input=stdin, encoding=None)
        return CommandResult(exit_code=self._status(done), stdout=_text(done.stdout), stderr=_text(done.stderr))

    async def converse(
        self,
        command: str,
        *,
        answer: Callable[[str], str | None],
        log: Callable[[str], None],
        within_s: float,
        say: str = "",
    ) -> int:
        """Run a command that asks questions.

        Args:
            command: A shell command line.
            answer: Is given each line of its standard output, and returns a line for its standard input or None.
            log: Is given each line of its standard error.
            within_s: Deadline in seconds.
            say: What it reads first.

        Returns:
            Its exit status.

        Raises:
            NodeUnreachable: The connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._connected(command, within_s) as connection:
            process = await connection.create_process(command, encoding="utf-8", errors="replace")
            if say:
                process.stdin.write(say)
            await together(_tell_lines(process.stderr, log), _hold_talk(process, answer))
            done = await process.wait()
        return self._status(done)

    async def put(self, local: Path, remote: str, *, within_s: float) -> None:
        """Copy a file, or a folder with all that is in it, to the machine; links are followed.

        Times and modes are kept; from Windows, where a mode says nothing, the machine's own default is taken.

        Args:
            local: Where it is on this computer.
            remote: Where it shall be: its own path, or that of a folder that is there, in which it gets its own name.
                What does not begin with a slash begins in root's home.
            within_s: Deadline in seconds.

        Raises:
            TransferFailed: It cannot be read here, or not be written there.
            NodeUnreachable: The connection was lost.
            WaitTimeout: The deadline passed.
        """
        keep = sys.platform != "win32"
        async with self._files(f"copying {local} to {self.node}:{remote}", within_s) as files:
            await files.put(local, remote, preserve=keep, recurse=True, follow_symlinks=True)

    async def get(self, remote: str, local: Path, *, within_s: float) -> None:
        """Copy a file, or a folder with all that is in it, from the machine; links are followed.

        Args:
            remote: Where it is; what does not begin with a slash begins in root's home.
            local: Where it shall be: its own path, or that of a folder that is there, in which it gets its own name.
            within_s: Deadline in seconds.

        Raises:
            TransferFailed: It cannot be read there, or not be written here.
            NodeUnreachable: The connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._files(f"copying {self.node}:{remote} to {local}", within_s) as files:
            await files.get(remote, local, preserve=True, recurse=True, follow_symlinks=True)

    @asynccontextmanager
    async def _files(self, what: str, within_s: float) -> AsyncIterator[asyncssh.SFTPClient]:
        async with self._connected(what, within_s) as connection, connection.start_sftp_client() as files:
            try:
                yield files
            except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost):
                raise
            except (OSError, asyncssh.SFTPError) as error:
                reason = str(error) or type(error).__name__
                raise TransferFailed(f"The end of {what} was not reached: {reason}.", node=self.node) from error

    async def ping(self, *, within_s: float) -> float:
        """Measure how long the machine takes to run a command that does nothing.

        Args:
            within_s: Deadline in seconds.

        Returns:
            Seconds, without those for connecting.

        Raises:
            NodeUnreachable: It cannot be reached, or does not answer in time.
        """
        try:
            async with self._connected("true", within_s) as connection:
                began = time.monotonic()
                await connection.run("true", encoding=None)
                return time.monotonic() - began
        except WaitTimeout as error:
            raise NodeUnreachable(error.message, node=self.node) from None

    @asynccontextmanager
    async def _connected(self, command: str, within_s: float) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The connection, with a deadline for what is done with it, and errors of ours.

        What does not end well takes the connection with it: to close it politely, a machine that stands still would
        have to answer, and whoever is cancelled has deletions to send.
        """
        limit: asyncio.Timeout | None = None
        try:
            async with limited(within_s) as limit:
                try:
                    yield await self._connect()
                except BaseException:
                    self._abort()
                    raise
        except TimeoutError as error:
            if limit is None or not limit.expired():
                raise self._lost(error) from error
            what = f"The end of '{command}' on {self.node}"
            raise WaitTimeout(what=what, within_s=within_s, node=self.node) from None
        except (OSError, asyncssh.Error) as error:
            raise self._lost(error) from error

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._is_aborted = True

    def _status(self, done: asyncssh.SSHCompletedProcess) -> int:
        if done.exit_status is None:
            raise self._lost("the command ended without an exit status")
        return done.exit_status

    async def open(self, host: str, port: int) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """Open a TCP connection from the machine to somewhere, over a new SSH connection if the old one is lost.

        Args:
            host: Address as the machine sees it.
            port: Port.

        Raises:
            NodeUnreachable: It could not be opened.
        """
        try:
            connection = await self._connect()
            return await connection.open_connection(host, port)
        except (OSError, asyncssh.Error) as error:
            raise self._lost(error) from error

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()
            await connection.wait_closed()

    def _lost(self, reason: object) -> NodeUnreachable:
        return NodeUnreachable(
            f"The connection to node {self.node} at {self._host} port {self._port} was lost or refused: {reason}.",
            node=self.node,
        )


async def _lines(stream: asyncssh.SSHReader[str]) -> AsyncIterator[str]:
    """The lines of a stream; asyncssh ends them with an empty one that nobody wrote."""
    async for line in stream:
        if line:
            yield line.rstrip("\n")


async def _hold_talk(process: asyncssh.SSHClientProcess[str], answer: Callable[[str], str | None]) -> None:
    async for line in _lines(process.stdout):
        reply = answer(line)
        if reply is not None:
            process.stdin.write(reply + "\n")


async def _tell_lines(stream: asyncssh.SSHReader[str], listener: Callable[[str], None]) -> None:
    async for line in _lines(stream):
        listener(line)


def _read_key(key: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(key)
    except asyncssh.KeyImportError as error:
        raise StateDamaged(f"The cluster's SSH key on this computer cannot be read: {error}.") from None


def _text(output: object) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output or "")
