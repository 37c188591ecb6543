# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A machine over SSH. The only module that knows asyncssh; it hands out our values.

Nothing of the user's own SSH configuration, agent, keys or known hosts is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
from attrs import frozen

from scherbelberg.concurrency.exhaustion import exhaustion_error, is_local_exhaustion
from scherbelberg.concurrency.waiting import CLOCK, Deadline, gather_or_cancel, pause, timeout_after, until
from scherbelberg.errors import NodeUnreachable, ScherbelbergError, StateDamaged, TransferFailed, WaitTimeout
from scherbelberg.nodes.dialing import dial, ways
from scherbelberg.nodes.reachability import Failure, connect_within_s, failure_of, is_penalised, pause_s

#: How many of the last log lines an error shows.
TAIL = 20


_KEEPALIVE_S = 15
_KEEPALIVES = 4
#: For so many seconds silence is met with new connections, also where one failure of another kind is enough.
_SILENCE_S = 10.0
_LOGIN_S = 20.0
_SURVIVAL_S = 5
#: After so many seconds it is worth mentioning that a machine says nothing.
_WORTH_TELLING_S = 1.0
_LOG = logging.getLogger("scherbelberg")


@frozen(kw_only=True)
class CommandResult:
    """What a command left.

    Args:
        exit_code: Its exit status.
        stdout: What it printed.
        stderr: What it printed to stderr.
    """

    exit_code: int
    stdout: str
    stderr: str

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of both."""
        return tuple((self.stdout + self.stderr).splitlines()[-TAIL:])


class Remote:
    """A machine that is reached over SSH as root. Use it on the private loop only.

    Args:
        node: The node's name, for errors.
        host: Its IPv4 address, or None.
        host_ipv6: Its IPv6 address, or None.
        port: Where it takes SSH.
        key: Our private key, in OpenSSH's format.
        host_keys: Returns the public host keys that are accepted at the time of asking.
        answered_s: Returns the shortest time in which the cloud's API has answered so far, in seconds, or None.

    Raises:
        StateDamaged: The key is none.
    """

    def __init__(
        self,
        *,
        node: str,
        host: str | None,
        port: int,
        key: str,
        host_keys: Callable[[], Iterable[str]],
        host_ipv6: str | None = None,
        answered_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.node = node
        self._addresses = (host, host_ipv6)
        #: What is tried at present, for people.
        self._host = host or host_ipv6 or "no address"
        self._port = port
        self._key = _read_key(key)
        self._host_keys = host_keys
        self._answered_s = answered_s
        self._connection: asyncssh.SSHClientConnection | None = None
        self._is_aborted = False
        self._suspensions = 0
        self._connecting = asyncio.Lock()
        self._failure: Failure | None = None
        self._met_stranger = False
        self._own_trouble: ScherbelbergError | None = None
        self._last = ""
        self._refusals = 0
        self._turn = Deadline(0)

    async def reach(self, *, within_s: float) -> None:
        """Connect, with as many tries as it takes.

        A wrong host key is never accepted, only met with another try, since addresses are recycled.

        Args:
            within_s: Deadline in seconds.

        Raises:
            NodeUnreachable: The deadline passed.
            StateDamaged: Its host keys on this computer cannot be read.
            ScherbelbergError: The deadline passed, and this computer could not open a connection at all.
        """

        async def connected() -> bool | None:
            try:
                await self._connect()
            except ScherbelbergError as error:
                if error is self._own_trouble or isinstance(error, NodeUnreachable):
                    return None
                raise
            return True

        try:
            await until(
                connected, every_s=0, within_s=within_s, what=self._what, node=self.node, last=lambda: self._last
            )
        except WaitTimeout as error:
            raise self._unreachable_error(error) from None

    @property
    def _what(self) -> str:
        return f"SSH to node {self.node} at {self._host} port {self._port}"

    def _unreachable_error(self, error: WaitTimeout) -> ScherbelbergError:
        if self._own_trouble is not None:
            return self._own_trouble
        warning = " What answers there has another host key than the node, and was told nothing."
        return NodeUnreachable(error.message + warning * self._met_stranger, node=self.node)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is not None and (self._is_aborted or not await self._has_survived(self._connection)):
                self._connection.abort()
                await self._connection.wait_closed()  # until then it does not know that it is closed
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open_connection()
                self._is_aborted, self._suspensions = False, CLOCK.suspensions
            return self._connection

    async def _has_survived(self, connection: asyncssh.SSHClientConnection) -> bool:
        """Whether a connection outlived what this program has slept through; its keepalives take a minute to notice."""
        if self._suspensions == CLOCK.suspensions or connection.is_closed():
            return True
        try:
            async with timeout_after(_SURVIVAL_S):
                await connection.run("true", encoding=None)
        except (OSError, asyncssh.Error):
            return False
        self._suspensions = CLOCK.suspensions
        return True

    async def _open_connection(self) -> asyncssh.SSHClientConnection:
        """Connect anew, when it is time to; one failure is enough, but silence is met with new tries for a while."""
        patience = Deadline(_SILENCE_S)
        while True:
            await pause(self._turn.left_s)
            try:
                connection = await self._try_once()
            except NodeUnreachable:
                if self._failure is not Failure.SILENT or not patience.left_s:
                    raise
            else:
                self._failure, self._own_trouble, self._last, self._refusals = None, None, "", 0
                self._met_stranger = False
                return connection

    async def _try_once(self) -> asyncssh.SSHClientConnection:
        begun, is_connected = Deadline(_WORTH_TELLING_S), False
        try:
            # TCP and login apart: before a machine's network is up, only a new connection helps; later, patience.
            async with timeout_after(connect_within_s(self._answered_s())):
                line = await self._dial()
            is_connected = True
            async with timeout_after(_LOGIN_S):
                return await self._log_in(line)
        except (OSError, asyncssh.Error) as error:
            raise self._connect_error(error, is_connected=is_connected) from error
        except asyncio.CancelledError:
            # A deadline cuts the try off: if it was a long one, its silence is the news.
            if not self._last or not begun.left_s:
                self._note(failure_of(TimeoutError(), is_connected=is_connected))
            raise

    async def _dial(self) -> socket.socket:
        addresses = ways(*self._addresses)
        self._host = addresses[0]
        line = await dial(addresses, self._port)
        with contextlib.suppress(OSError):  # it is cut already, which shows soon enough
            self._host = line.getpeername()[0]
        return line

    async def _log_in(self, line: socket.socket) -> asyncssh.SSHClientConnection:
        try:
            trusted = [_read_host_key(key, self.node) for key in self._host_keys()]
            # Not asyncssh's own deadlines: before Python 3.12, what they are made of may swallow a cancellation.
            return await asyncssh.connect(
                self._host,
                self._port,
                sock=line,
                username="root",
                client_keys=[self._key],
                known_hosts=(trusted, [], []),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                connect_timeout=None,
                login_timeout=0,
                keepalive_interval=_KEEPALIVE_S,
                keepalive_count_max=_KEEPALIVES,
            )
        except BaseException:
            line.close()  # which may be nobody's yet
            raise

    def _connect_error(self, error: Exception, *, is_connected: bool) -> ScherbelbergError:
        failure = _meaning(error, is_connected=is_connected)
        self._own_trouble = exhaustion_error(error) if is_local_exhaustion(error) else None
        self._turn = Deadline(pause_s(failure, self._refusals))
        self._refusals += is_penalised(failure)
        self._note(failure, _details(failure, error))
        if self._own_trouble is not None:
            return self._own_trouble
        where = f"Node {self.node} cannot be reached over SSH at {self._host} port {self._port}"
        return NodeUnreachable(f"{where} (last seen: {self._last}).", node=self.node)

    def _note(self, failure: Failure, details: str = "") -> None:
        if failure is not self._failure:
            _LOG.info("Node %s at %s port %d: %s", self.node, self._host, self._port, details or failure.value)
        self._failure, self._last = failure, details or failure.value
        # A stranger may let nobody in for a while who has left without a login, which is not the news then.
        self._met_stranger |= failure is Failure.STRANGER

    async def run(self, command: str, *, within_s: float, stdin: bytes = b"") -> CommandResult:
        """Run a command to its end.

        Args:
            command: A shell command line.
            within_s: Deadline in seconds.
            stdin: What it reads.

        Raises:
            NodeUnreachable: It was not reached, or the connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._use_connection(command, within_s) as connection:
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
            NodeUnreachable: It was not reached, or the connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._use_connection(command, within_s) as connection:
            process = await connection.create_process(command, encoding="utf-8", errors="replace")
            if say:
                process.stdin.write(say)
            await gather_or_cancel(_tell_lines(process.stderr, log), _hold_talk(process, answer))
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
            NodeUnreachable: It was not reached, or the connection was lost.
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
            NodeUnreachable: It was not reached, or the connection was lost.
            WaitTimeout: The deadline passed.
        """
        async with self._files(f"copying {self.node}:{remote} to {local}", within_s) as files:
            await files.get(remote, local, preserve=True, recurse=True, follow_symlinks=True)

    @asynccontextmanager
    async def _files(self, what: str, within_s: float) -> AsyncIterator[asyncssh.SFTPClient]:
        async with self._use_connection(what, within_s) as connection, connection.start_sftp_client() as files:
            try:
                yield files
            except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost, ConnectionError):
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
            async with self._use_connection("true", within_s) as connection:
                began = time.monotonic()
                await connection.run("true", encoding=None)
                return time.monotonic() - began
        except WaitTimeout as error:
            raise NodeUnreachable(error.message, node=self.node) from None

    @asynccontextmanager
    async def _use_connection(self, command: str, within_s: float) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """The connection, with a deadline for what is done with it, and errors of ours.

        What does not end well takes the connection with it: to close it politely, a machine that stands still would
        have to answer, and whoever is cancelled has deletions to send.
        """
        limit: asyncio.Timeout | None = None
        is_connected = False
        try:
            async with timeout_after(within_s) as limit:
                try:
                    connection = await self._connect()
                    is_connected = True
                    yield connection
                except BaseException:
                    self._abort()
                    raise
        except TimeoutError as error:
            if limit is None or not limit.expired():
                raise self._lost_error(error) from error
            if not is_connected:
                late = WaitTimeout(what=self._what, within_s=within_s, last=self._last, node=self.node)
                raise self._unreachable_error(late) from None
            what = f"The end of '{command}' on {self.node}"
            raise WaitTimeout(what=what, within_s=within_s, node=self.node) from None
        except (OSError, asyncssh.Error) as error:
            raise self._lost_error(error) from error

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._is_aborted = True

    def _status(self, done: asyncssh.SSHCompletedProcess) -> int:
        if done.exit_status is None:
            raise self._lost_error("the command ended without an exit status")
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
            raise self._lost_error(error) from error

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()
            await connection.wait_closed()

    def _lost_error(self, reason: object) -> NodeUnreachable:
        where = f"{self.node} at {self._host} port {self._port}"
        words = str(reason) or type(reason).__name__
        return NodeUnreachable(f"The connection to node {where} was lost or refused: {words}.", node=self.node)


def _meaning(error: Exception, *, is_connected: bool) -> Failure:
    if isinstance(error, OSError):
        return failure_of(error, is_connected=is_connected)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return Failure.STRANGER
    return Failure.NOT_LET_IN if isinstance(error, asyncssh.PermissionDenied) else Failure.CUT


def _details(failure: Failure, error: Exception) -> str:
    """What there is to say of a failure besides its name."""
    if failure is Failure.UNREACHABLE and isinstance(error, OSError) and error.errno is not None:
        return f"{failure.value} ({os.strerror(error.errno)})"
    words = str(error)
    return f"{failure.value} ({words})" if words and is_penalised(failure) else failure.value


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


def _read_host_key(key: str, node: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(key)
    except asyncssh.KeyImportError as error:
        raise StateDamaged(f"The host keys of node {node} on this computer cannot be read: {error}.") from None


def _text(output: object) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output or "")
