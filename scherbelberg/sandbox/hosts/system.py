# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the sandbox needs of the operating system: private files, processes with a mark, terminals, platform checks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import psutil

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import SandboxFailed, WaitTimeout

#: Environment variable of every process of a host: ``<sandbox>.<server>``.
MARKER = "SCHERBELBERG_SANDBOX_HOST"
_GRACE_S = 0.5
_LOOK_S = 0.02


def platform_refusal(platform: str, can_bind: Callable[[str], bool]) -> str | None:
    """Tell why no sandbox can run here.

    Args:
        platform: As ``sys.platform``.
        can_bind: Tells whether an address can be bound.

    Returns:
        One sentence for the user, or None if one can run.
    """
    if platform.startswith("win"):
        return "The sandbox needs POSIX processes and terminals and does not run on Windows; use it in WSL 2."
    if can_bind("127.64.255.254") and can_bind("127.128.0.1"):
        return None
    if platform == "darwin":
        return (
            "macOS answers on 127.0.0.1 alone until more addresses are added: run"
            " `for i in 0.2 0.3 0.4 0.5 255.254; do sudo ifconfig lo0 alias 127.64.$i; done;"
            " for i in 0.1 1.1 1.2 1.3 1.4; do sudo ifconfig lo0 alias 127.128.$i; done`"
            " (one 127.64.0.x and one 127.128.1.x per host), then try again."
        )
    return (
        "The loopback addresses 127.64.0.0 to 127.191.255.255, on which the sandbox's hosts live, cannot be bound here."
    )


def can_bind(address: str) -> bool:
    """Tell whether an address is one of this computer's."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def check_platform(platform: str, can_bind: Callable[[str], bool] = can_bind) -> None:
    """Refuse to go on where no sandbox can run.

    Args:
        platform: As ``sys.platform``.
        can_bind: Tells whether an address can be bound.

    Raises:
        SandboxFailed: It cannot.
    """
    if refusal := platform_refusal(platform, can_bind):
        raise SandboxFailed(refusal)


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that others cannot read at any moment: aside, then renamed.

    Args:
        path: Where.
        content: What.
        mode: Its mode.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    aside.replace(path)


def alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that merely waits for its parent's attention does not."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def marked(prefix: str) -> list[psutil.Process]:
    """Find the living processes with a mark.

    Args:
        prefix: ``<sandbox>.`` for all of a sandbox, ``<sandbox>.<server>`` for one host.
    """
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            mark = process.environ().get(MARKER, "")
            if (mark == prefix or (prefix.endswith(".") and mark.startswith(prefix))) and alive(process):
                found.append(process)
    return found


async def end_marked(prefix: str, *, within_s: float = 30.0) -> None:
    """End every process with a mark, until none is left: politely first, then by force.

    Nothing is waited for with ``waitpid``, which would take exit codes away from the event loop.

    Args:
        prefix: As of `marked`.
        within_s: Deadline in seconds.

    Raises:
        SandboxFailed: Some were left at the deadline.
    """
    _signal(await asyncio.to_thread(marked, prefix), signal.SIGTERM)

    async def ended() -> bool | None:
        return None if await asyncio.to_thread(marked, prefix) else True

    async def killed() -> bool | None:
        left = await asyncio.to_thread(marked, prefix)
        _signal(left, signal.SIGKILL)
        return None if left else True

    what = f"The end of all processes marked {prefix}"
    with contextlib.suppress(WaitTimeout):
        await until(ended, every_s=_LOOK_S, growth=1.5, within_s=_GRACE_S, what=what)
        return
    try:
        await until(killed, every_s=_LOOK_S, growth=1.5, longest_s=0.2, within_s=within_s, what=what)
    except WaitTimeout as error:
        names = _names(await asyncio.to_thread(marked, prefix))
        raise SandboxFailed(f"Processes of the sandbox could not be ended: {names}.") from error


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _names(processes: list[psutil.Process]) -> str:
    names = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            names.append(f"{process.name()} ({process.pid})")
    return ", ".join(names)


def signal_group(leader: int, name: str) -> None:
    """Send a signal to a process group.

    Args:
        leader: Its leader's pid, which is a child of ours that was not yet waited for.
        name: Such as ``TERM``; unknown ones are ignored, as sshd does.
    """
    number = getattr(signal, f"SIG{name}", None)
    if isinstance(number, signal.Signals):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)


def signal_name(number: int) -> str:
    """Name a signal as SSH does, without its SIG."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"{number}@sandbox"


def resize(terminal: int, *, columns: int, rows: int) -> None:
    """Set the size of a terminal; its foreground processes get SIGWINCH.

    Args:
        terminal: File descriptor of its master.
        columns: Characters in a line.
        rows: Lines.
    """
    import termios  # noqa: PLC0415 - Windows has none, and is to hear a sentence instead of a traceback

    with contextlib.suppress(OSError, termios.error):
        termios.tcsetwinsize(terminal, (rows, columns))


def copy_disk(root: Path, copy: Path) -> None:
    """Copy all files of a host, or of a snapshot; links stay links, and what is no file, such as a socket, stays."""

    def special(folder: str, names: list[str]) -> list[str]:
        modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
        return [name for name, mode in modes.items() if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)]

    try:
        shutil.copytree(root, copy, symlinks=True, ignore=special)
    except shutil.Error as error:
        # What a machine that runs deletes meanwhile is not on the copy of its disk.
        if [reason for _, _, reason in error.args[0] if f"[Errno {errno.ENOENT}]" not in str(reason)]:
            raise
