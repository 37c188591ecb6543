# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A sandbox in the background: started, found again by its file, and ended without a trace, whatever became of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
from attrs import asdict, frozen

import scherbelberg
from scherbelberg.concurrency.waiting import Deadline, until
from scherbelberg.errors import SandboxFailed, WaitTimeout
from scherbelberg.sandbox.faults import Faults
from scherbelberg.sandbox.hosts.system import alive, check_platform, end_marked, write_private
from scherbelberg.sandbox.options import USUAL, Options, write_ahead, write_json
from scherbelberg.sandbox.server import SandboxSettings, sandbox_id

#: What the background process prints once it answers.
READY = b"ready"
_START_S = 30.0
#: The system that machines begin with is built first, once.
_BUILD_S = 900.0
_STOP_S = 30.0
_LOOK_S = 0.02
#: Files in the sandbox's folder.
_STATE_NAME = "sandbox.json"
LOG = "sandbox.log"
#: The time of a process's start is computed from the clock and may wobble when that is set.
_WOBBLE_S = 2.0


def status(folder: Path) -> SandboxSettings | None:
    """Look for a sandbox.

    Args:
        folder: Where it would be.

    Returns:
        Its settings, or None if none answers there.
    """
    state = read_state(folder)
    return state.settings if state is not None and state.process() is not None else None


def start(folder: Path, options: Options = USUAL) -> SandboxSettings:
    """Start a sandbox in the background, unless there is one.

    Args:
        folder: Where; its own, absent or empty.
        options: How it is.

    Returns:
        Its settings.

    Raises:
        SandboxFailed: It did not start.
    """
    present = status(folder)
    if present is not None:
        return present
    settings, process = _launch(folder, options, stdin=subprocess.DEVNULL)
    process.wait(_STOP_S)  # what we started has handed over to its child
    return settings


def stop(folder: Path) -> bool:
    """End a sandbox with all its processes and files, also one whose server has died.

    Args:
        folder: Where it is.

    Returns:
        Whether there was one.

    Raises:
        SandboxFailed: Something could not be ended.
    """
    state = read_state(folder)
    if state is None:
        return False
    # On a thread of its own, since the caller's may have an event loop that runs.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _end(state, f"{sandbox_id(folder)}.")).result()
    _remove(folder)
    return True


def set_faults(settings: SandboxSettings, faults: Faults) -> None:
    """Replace what goes wrong in a sandbox that runs; when this returns, the next request is number 1.

    Args:
        settings: The sandbox's.
        faults: What goes wrong from now on.

    Raises:
        SandboxFailed: It did not answer.
    """
    _put(settings, "faults", write_json(faults))


def set_clock(settings: SandboxSettings, ahead_s: float) -> None:
    """Let the clock of a sandbox that runs be ahead of this computer's.

    Args:
        settings: The sandbox's.
        ahead_s: By how many seconds.

    Raises:
        SandboxFailed: It did not answer.
    """
    _put(settings, "clock", write_ahead(ahead_s))


def _put(settings: SandboxSettings, what: str, text: str) -> None:
    url = f"{settings.endpoint.removesuffix('/v1')}/sandbox/{what}"
    headers = {"Authorization": f"Bearer {settings.token}"}
    request = urllib.request.Request(url, text.encode(), headers, method="PUT")  # noqa: S310 - our own server
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=_START_S).close()
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer as well, and holds its connection
        raise SandboxFailed(f"The sandbox at {settings.endpoint} did not take the {what}: {error}.") from error


@contextlib.contextmanager
def running(folder: Path, options: Options = USUAL, *, until_eof: bool = True) -> Iterator[SandboxSettings]:
    """Run a sandbox for as long as a block runs.

    Args:
        folder: Where; its own, absent or empty.
        options: How it is.
        until_eof: Whether it also ends, and cleans up, when the present process ends in any way.

    Raises:
        SandboxFailed: It did not start, or not end.
    """
    if status(folder) is not None:
        raise SandboxFailed(f"A sandbox runs in {folder} already; stop that one first.")
    stdin = subprocess.PIPE if until_eof else subprocess.DEVNULL
    settings, process = _launch(folder, options, stdin=stdin)
    try:
        yield settings
    finally:
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
        stop(folder)
        process.wait(_STOP_S)


def _launch(folder: Path, options: Options, *, stdin: int) -> tuple[SandboxSettings, subprocess.Popen[bytes]]:
    check_platform(sys.platform)
    _make_room(folder)
    process = _spawn(folder, options, stdin=stdin)
    output = process.stdout
    if output is None:
        raise AssertionError("a pipe was asked for")
    with output:
        said = _first_line(output, within_s=_BUILD_S if options.hosts == "machine" else _START_S)
    settings = status(folder) if said == READY else None
    if settings is None:
        raise _failure(folder, process, said)
    return settings, process


def _make_room(folder: Path) -> None:
    """Clear what a dead sandbox left, and refuse anything else."""
    state = read_state(folder)
    if state is not None and state.process() is not None:
        raise SandboxFailed(f"A sandbox in {folder} is just starting; try again in a moment.")
    stop(folder)
    if folder.exists() and any(folder.iterdir()):
        raise SandboxFailed(f"The folder {folder} is not empty and holds no sandbox; name another one.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _spawn(folder: Path, options: Options, *, stdin: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "scherbelberg.sandbox", str(folder.resolve()), "--options", write_json(options)]
    words.append("--until-eof" if stdin == subprocess.PIPE else "--detach")
    with os.fdopen(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
        # A session of its own: Ctrl-C at the terminal is for the client, which needs the sandbox to clean up.
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(scherbelberg.__file__).parents[1],
            start_new_session=True,
        )


def _first_line(output: IO[bytes], *, within_s: float) -> bytes:
    """Read what the process says first: one line, or nothing if it ends or takes too long."""
    deadline = Deadline(within_s)
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while b"\n" not in said and selector.select(deadline.left_s):
            data = os.read(output.fileno(), 1024)
            if not data:
                break
            said += data
    return said.strip()


def _failure(folder: Path, process: subprocess.Popen[bytes], said: bytes) -> SandboxFailed:
    tail = log_tail(folder)
    process.kill()
    process.wait(_STOP_S)
    stop(folder)
    shutil.rmtree(folder, ignore_errors=True)
    reason = said.decode(errors="replace") or "it did not answer in time, or ended"
    return SandboxFailed(f"The sandbox did not start: {reason.rstrip('.')}.", log_tail=tail)


async def _end(state: State, marks: str) -> None:
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        process = state.process()
        if process is None:
            break
        with contextlib.suppress(psutil.Error, WaitTimeout):
            ask(process)
            await until(_ended(state), every_s=_LOOK_S, within_s=_STOP_S, what="The sandbox's end")
    await end_marked(marks)


def _ended(state: State) -> Callable[[], Awaitable[bool | None]]:
    async def probe() -> bool | None:
        return True if state.process() is None else None

    return probe


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise SandboxFailed(f"The sandbox's folder {folder} could not be deleted.")


@frozen(kw_only=True)
class State:
    """A background sandbox.

    Args:
        pid: Its process.
        create_time: When that process began, as epoch seconds: another one may get the same pid later.
        settings: What clients need, or None while it starts.
    """

    pid: int
    create_time: float
    settings: SandboxSettings | None = None

    def process(self) -> psutil.Process | None:
        """Its process, or None when that has ended."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _WOBBLE_S
            if same and alive(process):
                return process
        return None


def own_state(settings: SandboxSettings | None = None) -> State:
    """The state of the present process."""
    return State(pid=os.getpid(), create_time=psutil.Process().create_time(), settings=settings)


def write_state(folder: Path, state: State) -> None:
    """Save a state.

    Args:
        folder: The sandbox's folder.
        state: It.
    """
    write_private(folder / _STATE_NAME, json.dumps(asdict(state)).encode())


def read_state(folder: Path) -> State | None:
    """Read a state.

    Args:
        folder: The sandbox's folder.

    Returns:
        It, or None where there is no sandbox.

    Raises:
        SandboxFailed: The file is damaged.
    """
    path = folder / _STATE_NAME
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        settings = SandboxSettings(**row.pop("settings")) if row["settings"] else None
        return State(**{**row, "settings": settings})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SandboxFailed(f"The sandbox's file {path} cannot be read ({error}); delete its folder.") from error


def log_tail(folder: Path, *, lines: int = 20) -> tuple[str, ...]:
    """The last lines of a sandbox's log.

    Args:
        folder: The sandbox's folder.
        lines: How many.
    """
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])
