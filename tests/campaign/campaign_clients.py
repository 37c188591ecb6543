# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clients in processes of their own, which can be interrupted at any moment and killed.

They are forked from a server that has loaded everything already: otherwise loading Dask would take most of the time.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pty
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TextIO

from attrs import field, frozen

from scherbelberg import Cluster, Event
from scherbelberg.cli import main
from scherbelberg.errors import ScherbelbergError
from scherbelberg.lifecycle import deletion, server_watch
from scherbelberg.settings import read_settings
from scherbelberg.spec.toml import read_spec

Json = dict[str, Any]
#: What is wrong around a client from its beginning, by itself: its streams, or its clock.
Around = Literal["no descriptors", "output on a full disk", "errors on a full disk", "clock behind", "clock ahead"]
#: By how much such a clock is wrong, in seconds: more than certificates bear.
_WRONG_S = 3 * 3600.0
#: How a program that uses the library is interrupted by itself.
Inner = Literal["cancel", "exit"]
_PRELOADED = (
    "campaign_clients",
    "scherbelberg.cli.actions",
    "scherbelberg.cli.create",
    "scherbelberg.scheduler.client",
)
_END_S = 20.0


@frozen(kw_only=True)
class Program:
    """What a client does.

    Args:
        words: The command line; empty for a program that uses the library.
        environ: All of its environment variables.
        output: File for its standard output.
        spec: File with what such a program makes.
        inner: How it is interrupted, if it is.
        inner_at: At which of its events, counted from 1.
        at_terminal: Whether a person sits before it.
        around: What is wrong around it from its beginning, if anything.
    """

    words: tuple[str, ...] = ()
    environ: Mapping[str, str]
    output: Path
    spec: Path | None = None
    inner: Inner | None = None
    inner_at: int = 0
    at_terminal: bool = False
    around: Around | None = None


@frozen(kw_only=True)
class Ended:
    """How a client ended.

    Args:
        code: Its exit code, negative for the signal that killed it.
        document: What it printed, or None.
        lines: What it wrote to standard error: objects, or text where it is none.
        is_late: Whether it had to be killed since it did not end.
    """

    code: int
    document: Json | None
    lines: tuple[Json | str, ...] = field(repr=False)
    is_late: bool

    @property
    def error(self) -> Json:
        """The failure that it told of."""
        return dict((self.document or {}).get("error", {}))

    @property
    def text(self) -> str:
        """All that it wrote to standard error, for a person to read."""
        return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in self.lines)


class Client:
    """One that runs.

    Args:
        pid: Its process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: Whether its standard error is read on.
        self.is_read = True
        #: What it wrote to standard error so far: objects, or text where it is none.
        self.heard: list[Json | str] = []

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with suppress(ProcessLookupError):  # the server that it was forked from has waited for it already
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a warning."""
        self.send(signal.SIGKILL)


def run(program: Program, *, within_s: float, act: Callable[[Client, int], None] = lambda client, count: None) -> Ended:
    """Run a client to its end.

    Args:
        program: What it does.
        within_s: Deadline in seconds; then it is killed.
        act: Is called before its first line and after each line of its standard error, with their number.
    """
    late = threading.Event()
    with _started(program) as (process, ours, lines):
        client = Client(int(process.pid or 0))

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(within_s, end)
        timer.start()
        try:
            act(client, 0)
            for line in lines:
                client.heard.append(_parsed(line))
                act(client, len(client.heard))
                if not client.is_read:
                    break
            if not client.is_read:
                lines.close()
                ours.close()
            process.join(_END_S if client.is_read else within_s)
        finally:
            timer.cancel()
            timer.join()
        code = process.exitcode
    printed = program.output.read_text(encoding="utf-8") if program.output.exists() else ""
    return Ended(
        code=-1 if code is None else code,
        document=json.loads(printed) if printed else None,
        lines=tuple(client.heard),
        is_late=late.is_set(),
    )


@contextmanager
def _started(program: Program) -> Iterator[tuple[Any, Connection, TextIO]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    ours, theirs = context.Pipe(duplex=False)
    with _terminal(wanted=program.at_terminal) as terminal:
        process = context.Process(target=_live, args=(program, theirs, terminal))
        process.start()
        theirs.close()
        try:
            with os.fdopen(os.dup(ours.fileno()), encoding="utf-8", errors="replace") as lines:
                yield process, ours, lines
        finally:
            ours.close()
            process.kill()
            process.join()
            process.close()


@contextmanager
def _terminal(*, wanted: bool) -> Iterator[str | None]:
    if not wanted:
        yield None
        return
    master, slave = pty.openpty()
    try:
        yield os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def _parsed(line: str) -> Json | str:
    try:
        return dict(json.loads(line))
    except ValueError:
        return line.rstrip("\n")


def _live(program: Program, errors: Connection, terminal: str | None) -> None:
    """Be the client."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # As much faster as the cloud: it is asked again about what makes no progress within the deadlines of these trials.
    server_watch._PATIENCE_S, deletion._ASK_AGAIN_S = 1.0, 2.0
    os.environ.clear()
    os.environ.update(program.environ)
    output = os.open(program.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    inputs = os.open(terminal or os.devnull, os.O_RDONLY | os.O_NOCTTY)
    for mine, standard in ((inputs, 0), (output, 1), (errors.fileno(), 2)):
        os.dup2(mine, standard)
        os.close(mine)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    _spoil(program.around)
    if program.words:
        main(list(program.words))
    else:
        _use_library(program)


def _spoil(around: Around | None) -> None:
    """Let something be wrong around this process."""
    if around == "no descriptors":
        for number in range(3):
            os.close(number)
        sys.stdin = sys.stdout = sys.stderr = None  # as Python finds them then
    elif around in ("output on a full disk", "errors on a full disk"):
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 1 if around.startswith("output") else 2)
        os.close(full)
    elif around is not None:
        now, wrong_s = time.time, _WRONG_S if around == "clock ahead" else -_WRONG_S
        time.time = lambda: now() + wrong_s


def _use_library(program: Program) -> None:
    try:
        asyncio.run(_make(program))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        told = {name: getattr(error, name, None) for name in ("node", "phase")}
        tail = list(error.log_tail) if isinstance(error, ScherbelbergError) else []
        code = error.code if isinstance(error, ScherbelbergError) else type(error).__name__
        document = {
            "error": {"code": code, "message": str(error), "log_tail": tail, **told},
            "left_over": list(getattr(error, "left_over", ())),
        }
        sys.stdout.write(json.dumps(document))
        sys.stdout.flush()
        sys.exit(int(getattr(error, "exit_code", 1)))


async def _make(program: Program) -> None:
    if program.spec is None:
        raise AssertionError("a program that uses the library makes something")
    loop, task, count = asyncio.get_running_loop(), asyncio.current_task(), 0

    def listen(event: Event) -> None:
        nonlocal count
        count += 1
        line = {"type": "event", "phase": event.phase, "state": event.state, "node": event.node}
        os.write(2, (json.dumps(line) + "\n").encode())
        if count == program.inner_at and program.inner == "exit":
            raise SystemExit(3)
        if count == program.inner_at and program.inner == "cancel" and task is not None:
            loop.call_soon_threadsafe(task.cancel)

    wishes = read_spec(program.spec.read_text(encoding="utf-8"), source=program.spec.name)
    cluster = await Cluster.from_new(settings=read_settings(), listen=listen, **wishes)
    await cluster.close()


def phases(lines: Sequence[Json | str]) -> list[str]:
    """The phases that a client told of, in the order of their first events."""
    told = (str(line["phase"]) for line in lines if isinstance(line, dict) and line.get("type") == "event")
    return list(dict.fromkeys(told))
