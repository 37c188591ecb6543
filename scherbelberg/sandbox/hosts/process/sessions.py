# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands of SSH sessions as real processes, over pipes or a real terminal, with sshd's manners."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import site
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncssh
from attrs import frozen

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.filesystem import Baked
from scherbelberg.sandbox.hosts.sshd import Process
from scherbelberg.sandbox.hosts.system import MARKER, resize, signal_group, signal_name

_BLOCK = 64 * 1024
#: Seconds for which the rest of a terminal's output is waited for after its command ended.
_LAST_WORDS_S = 0.3
#: Makes the terminal on fd 0 the controlling one of a new session, then becomes the command. A program of its own,
#: since code between fork and exec is not safe in a process with threads.
#: A session begins with the usual signals, also where the sandbox was started with some ignored, as by nohup or in CI.
_LOGIN = (
    "import os, signal as s, sys; os.login_tty(0); [s.signal(n, s.SIG_DFL) for n in (s.SIGHUP, s.SIGINT, s.SIGQUIT)];"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
_LOST = (OSError, asyncssh.Error)
#: Is given what a command prints, and returns the name of a signal that it gets, or None.
Interfere = Callable[[bytes], str | None]
#: What sshd passes on of a client's environment (AcceptEnv).
_ACCEPTED = ("LANG", "LC_")
#: Without these, an interpreter may not start that does so for the user, for example one of an HPC module system.
PYTHON_NEEDS = ("PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@frozen(kw_only=True)
class LoginShell:
    """What runs a session's command, and where.

    Args:
        shell: The login shell.
        home: Working directory.
        environment: All of it.
    """

    shell: str
    home: Path
    environment: Mapping[str, str]


class _Ends:
    """Our ends of a command's streams."""

    def __init__(
        self, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader | None
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.transports: list[asyncio.BaseTransport] = [stdin.transport]
        self.terminal: int | None = None

    def close(self) -> None:
        """Hang up: the command reads end of file, loses its readers, or gets SIGHUP."""
        for transport in self.transports:
            transport.close()
        # What the command never read would keep the pipe open.
        if self.stdin.transport.get_write_buffer_size():
            self.stdin.transport.abort()


def _nothing(_output: bytes) -> str | None:
    return None


async def serve(process: Process, login: LoginShell, *, interfere: Interfere = _nothing) -> None:
    """Run a session's command, or its shell, to its end.

    A command outlives a lost connection, as with sshd: it loses its streams, and its terminal if it has one.

    Args:
        process: The session.
        login: Where to run it.
        interfere: Is given what the command prints, and returns a signal that it gets, or None.
    """
    try:
        child, ends = await _start(process, login)
    except OSError as error:
        process.stderr.write(f"sandbox: {error}\n".encode())
        process.exit(127)
        return
    feeding = asyncio.create_task(_pass_input(process, ends, child.pid))
    talking = asyncio.create_task(_pass_output(process, ends, child, interfere))
    closed = asyncio.create_task(process.channel.wait_closed())
    try:
        await asyncio.wait((talking, closed), return_when=asyncio.FIRST_COMPLETED)
        if talking.done() and not process.is_closing():
            _tell_exit(process, talking.result())
    finally:
        for task in (feeding, talking, closed):
            task.cancel()
        await asyncio.gather(feeding, talking, closed, return_exceptions=True)
        ends.close()
        await child.wait()


def _tell_exit(process: Process, code: int) -> None:
    with contextlib.suppress(*_LOST):
        if code < 0:
            process.exit_with_signal(signal_name(-code))
        else:
            process.exit(code)


async def _start(process: Process, login: LoginShell) -> tuple[asyncio.subprocess.Process, _Ends]:
    words = [login.shell] if process.command is None else [login.shell, "-c", process.command]
    if process.term_type is None:
        return await _start_with_pipes(words, login)
    return await _start_with_terminal(words, login, process)


async def _start_with_pipes(words: list[str], login: LoginShell) -> tuple[asyncio.subprocess.Process, _Ends]:
    # Pipes of our own: asyncio's would kill the process when they are closed, and wait for them when it ended.
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    ours = (to_stdin, from_stdout, from_stderr)
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=login.home,
            env=login.environment,
            start_new_session=True,
        )
    except BaseException:
        for end in ours:
            os.close(end)
        raise
    finally:
        for end in (stdin, stdout, stderr):
            os.close(end)
    out, out_transport = await _reader(from_stdout)
    err, err_transport = await _reader(from_stderr)
    ends = _Ends(await _writer(to_stdin), out, err)
    ends.transports += [out_transport, err_transport]
    return child, ends


async def _start_with_terminal(
    words: list[str], login: LoginShell, process: Process
) -> tuple[asyncio.subprocess.Process, _Ends]:
    master, slave = os.openpty()
    columns, rows, _, _ = process.term_size
    resize(master, columns=columns, rows=rows)
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", "-c", _LOGIN),
            *words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=login.home,
            env={**login.environment, "TERM": process.term_type or "dumb"},
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    out, transport = await _reader(os.dup(master))
    ends = _Ends(await _writer(master), out, None)
    ends.transports.append(transport)
    ends.terminal = master
    return child, ends


async def _reader(end: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", buffering=0)
    )
    return reader, transport


async def _writer(end: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(end, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _pass_input(process: Process, ends: _Ends, pid: int) -> None:
    """Pass input, window changes and signals on, in the order in which they come."""
    while True:
        try:
            data = await process.stdin.read(_BLOCK)
            if not data:
                break
            ends.stdin.write(data)
            await ends.stdin.drain()
        except asyncssh.TerminalSizeChanged as change:
            if ends.terminal is not None and not ends.stdin.is_closing():
                resize(ends.terminal, columns=change.width, rows=change.height)
        except asyncssh.SignalReceived as received:
            signal_group(pid, received.signal)
        except asyncssh.BreakReceived:
            signal_group(pid, "INT")
        except _LOST:
            break  # the command reads no more: it ended, or closed its input
    if ends.terminal is None:
        ends.stdin.close()


async def _pass_output(process: Process, ends: _Ends, child: asyncio.subprocess.Process, interfere: Interfere) -> int:
    """Pass output on until the command has ended and nobody can write any more, as sshd does.

    Returns:
        The exit code, negative for a signal.
    """

    def hear(output: bytes) -> None:
        if (signal := interfere(output)) is not None:
            signal_group(child.pid, signal)

    pumps = [asyncio.create_task(_pump(ends.stdout, process.stdout, hear))]
    if ends.stderr is not None:
        pumps.append(asyncio.create_task(_pump(ends.stderr, process.stderr, _nothing)))
    try:
        code = await child.wait()
        # A terminal is torn down with its command; a pipe stays open for whoever inherited it.
        await asyncio.wait(pumps, timeout=None if ends.terminal is None else _LAST_WORDS_S)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    return code


async def _pump(
    reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes], hear: Callable[[bytes], object]
) -> None:
    # A terminal without a process on it reads as an input/output error.
    with contextlib.suppress(*_LOST):
        while data := await reader.read(_BLOCK):
            writer.write(data)
            await writer.drain()
            hear(data)


def host_environment(
    root: Path, *, baked: Baked, mark: str, fake_programs: Path, ours: Mapping[str, str], client: Mapping[str, str]
) -> dict[str, str]:
    """List the environment of a command on a host.

    Args:
        root: The host's root.
        baked: What its image holds.
        mark: Its mark.
        fake_programs: Folder with programs that may be missing.
        ours: The sandbox's own environment, of which little is passed on.
        client: What the SSH client sent.
    """
    environment = {
        "HOME": str(root / "root"),
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": shell(),
        "TMPDIR": str(root / "tmp"),
        "PATH": os.pathsep.join((str(root / "usr/bin"), ours.get("PATH", os.defpath), str(fake_programs))),
        "PYTHONUSERBASE": site.getuserbase(),
        "SCHERBELBERG_SYSROOT": str(root),
        MARKER: mark,
    }
    if baked.is_own:
        environment |= {name: ours[name] for name in PYTHON_NEEDS if name in ours}
    environment |= {name: value for name, value in client.items() if name.startswith(_ACCEPTED)}
    return environment


def shell() -> str:
    """Find bash.

    Raises:
        SandboxFailed: There is none.
    """
    path = shutil.which("bash")
    if path is None:
        raise SandboxFailed("The sandbox's hosts need bash, and there is none on the PATH; install it.")
    return path
