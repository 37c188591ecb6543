# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals, in one place: what Ctrl-C and SIGTERM do while something is being done or undone."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from attrs import evolve

from scherbelberg.cli import early_signals
from scherbelberg.cli.output import Failure, Reporter, get_reporter
from scherbelberg.cli.streams import output
from scherbelberg.concurrency.loop import Job, private_loop
from scherbelberg.concurrency.waiting import Deadline

T = TypeVar("T")
#: How long the main thread waits before it looks for a signal, in seconds: on Windows, a lock is deaf to Ctrl-C.
_GLANCE_S = 0.5
#: How long a program of the user's has to end when it was told to, in seconds: a cluster is to be given back then.
_PATIENCE_S = 10.0
#: How long a program of the user's waits for ours to have written what it had to say, in seconds.
_OUTPUT_S = 1.0


class Interrupted(Exception):
    """A signal ended what was being done.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.number = number
        self.exit_code = 128 + number


class _Watch:
    """Turns the first signal into a cancellation and counts the others."""

    def __init__(self, reporter: Reporter, on_first: str, unproven: str | None, *, cancels: bool) -> None:
        self.first: int | None = None
        #: What is cancelled, once it has begun.
        self.job: Job[Any] | None = None
        self._reporter = reporter
        self._cancels = cancels
        self._on_first = on_first
        self._unproven = unproven
        self._is_ended = False

    def begin(self, work: Coroutine[Any, Any, T], too_late: Callable[[T], Coroutine[Any, Any, object]] | None) -> None:
        """Begin the work; a signal may have come already."""
        self.job = private_loop().submit(work, too_late=too_late)
        if self.first is not None and self._cancels:
            self.job.cancel()

    @property
    def is_over(self) -> bool:
        """Whether the work is over, after a short wait for that."""
        return self.job is not None and self.job.wait(_GLANCE_S)

    def end(self) -> None:
        """After a signal, wait until nothing of the work is left, or for its own end if it is not cancelled."""
        if self.first is None or self.job is None or self._is_ended:
            return
        if self._cancels:
            self.job.abandon().result()
        else:
            while not self.is_over:
                pass
            self.job.outcome()
        self._is_ended = True

    def __call__(self, number: int, frame: object) -> None:
        if self.first is None:
            self.first = self._reporter.interrupted_by = number
            if self.job is not None and self._cancels:
                self.job.cancel()
            if self._on_first:
                self._reporter.info_from_signal(self._on_first)
        elif number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty():
            # Only a person at a terminal may leave before the end is proven. CI systems send SIGINT, then SIGTERM.
            failure = _abandoned(self._unproven)
            self._reporter.fail_from_signal(failure)
            os._exit(failure.exit_code)


def _abandoned(unproven: str | None) -> Failure:
    failure = Failure(code="cancelled", message="Left before the end was proven.", exit_code=128 + signal.SIGINT)
    if unproven is None:
        return failure
    message = f"Left before it was proven that nothing is left. Run: scherbelberg nuke -p {unproven}"
    return evolve(failure, message=message, left_over=(f"cluster {unproven}",))


def run(
    work: Coroutine[Any, Any, T],
    *,
    on_first: str = "Interrupted, stopping ...",
    unproven: str | None = None,
    too_late: Callable[[T], Coroutine[Any, Any, object]] | None = None,
    between: Callable[[], object] | None = None,
    is_cancelled: bool = True,
) -> T:
    """Run a coroutine on the private loop; signals cancel it and wait until it has cleaned up.

    Args:
        work: The coroutine.
        on_first: What is said at the first signal, if anything.
        unproven: The cluster of which something may be left when a second Ctrl-C at a terminal ends it at once.
        too_late: Undoes the work when the signal came after its end.
        between: Is called in this thread now and then; a signal ends it, too.
        is_cancelled: Whether a signal cancels it; otherwise it goes on to its end first.

    Raises:
        Interrupted: A signal came.
    """
    watch = _Watch(get_reporter(), on_first, unproven, cancels=is_cancelled)
    # No moment in between: a signal that comes before the work or after it is one that comes during it.
    try:
        with _handled_by(watch):
            watch.begin(work, too_late)
            while not watch.is_over:
                if between is not None and watch.first is None:
                    _do(between, watch)
            watch.end()
            result: T | None = watch.job.outcome() if watch.job and watch.first is None else None
        if watch.first is None:
            return cast(T, result)
    except Interrupted as end:  # of whoever hears signals around this, while one takes over from the other
        watch(end.number, None)
    with _handled_by(watch):
        watch.end()
    work.close()
    raise Interrupted(watch.first or signal.SIGINT)


def _do(between: Callable[[], object], watch: _Watch) -> None:
    try:
        with signals_as_exceptions():
            between()
    except Interrupted as end:
        watch(end.number, None)


def read_line() -> str:
    """Read a line that a person types, outside of `run` or in its `between`: a signal ends the wait at once.

    Returns:
        The line, or nothing at the end of the input.
    """
    # Not input(), which writes to stdout, where results go; and a signal right before a long wait would be lost on it.
    while sys.platform != "win32" and not select.select([sys.stdin], [], [], _GLANCE_S)[0]:
        pass
    return sys.stdin.readline()


def run_until_ctrl_c(work: Coroutine[Any, Any, Any], *, is_for_readers: bool = False) -> None:
    """Run what goes on until the user has had enough: Ctrl-C is its good end, and any other signal is not.

    Args:
        work: The coroutine.
        is_for_readers: Whether it also ends well when nobody can read its results any more.

    Raises:
        Interrupted: Another signal came.
    """

    def look_for_readers() -> None:
        if is_for_readers and not output().is_read:
            raise Interrupted(signal.SIGINT)

    try:
        run(work, on_first="", between=look_for_readers)
    except Interrupted as end:
        if end.exit_code != 128 + signal.SIGINT:
            raise


class SignalHandler:
    """Handles signals outside of `run`: each becomes an exception, until the handler is closed."""

    def __init__(self) -> None:
        self._closed = False

    def raise_early(self) -> None:
        """Raise the first of those that came while the program was being loaded.

        Raises:
            Interrupted: There was one.
        """
        for number in early_signals.CAME:
            self(number, None)

    def close(self) -> None:
        """Ignore all signals from now on: the last words are not to be interrupted."""
        self._closed = True

    def __call__(self, number: int, frame: object) -> None:
        """Handle one."""
        if not self._closed:
            raise Interrupted(number)


@contextmanager
def signals_as_exceptions() -> Iterator[SignalHandler]:
    """Outside of `run`: a signal becomes the exception `Interrupted` in this thread."""
    handler = SignalHandler()
    with _handled_by(handler):
        yield handler


@contextmanager
def postponed() -> Iterator[list[int]]:
    """Outside of `run`: a signal is noted, and becomes the exception `Interrupted` at the end of the block.

    Returns:
        The signals that came.
    """
    came: list[int] = []
    with _handled_by(lambda number, frame: came.append(number)):
        yield came
    if came:
        raise Interrupted(came[0])


def run_program(line: list[str], environ: dict[str, str], *, patience_s: float = _PATIENCE_S) -> int:
    """Run a program of the user's in the foreground; signals are its business.

    A terminal sends Ctrl-C to the program by itself; every other signal is passed on. A program that was told to end
    and does not is ended.

    Args:
        line: Its name and arguments.
        environ: Its environment variables.
        patience_s: How long it has to end after SIGTERM or SIGHUP, in seconds.

    Returns:
        Its exit code; 128 and the signal's number if a signal ended it.
    """
    process: subprocess.Popen[bytes] | None = None
    pending: list[int] = []
    end: Deadline | None = None

    def pass_on(number: int, frame: object = None) -> None:
        nonlocal end
        if process is None:
            pending.append(number)
            return
        if number != signal.SIGINT:
            end = end or Deadline(patience_s)
            process.terminate() if sys.platform == "win32" else process.send_signal(number)
        elif sys.platform != "win32" and not _is_at_terminal():
            process.send_signal(number)

    output().drain(_OUTPUT_S)  # it writes to the same terminal
    with _handled_by(pass_on):
        process = subprocess.Popen(line, env=environ)
        for number in pending:
            pass_on(number)
        while (code := _ended(process)) is None:
            if end is not None and not end.left_s:
                process.kill()
    return code if code >= 0 else 128 - code


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_GLANCE_S)
    except subprocess.TimeoutExpired:
        return None


def _is_at_terminal() -> bool:
    """Whether a Ctrl-C reaches the programs that we start without our help."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


@contextmanager
def left_to_child() -> Iterator[None]:
    """While a program of the user's runs in the foreground, Ctrl-C is its business."""
    output().drain(_OUTPUT_S)
    # Not SIG_IGN, which the child would inherit.
    with _handled_by(lambda number, frame: None, (signal.SIGINT,)):
        yield


@contextmanager
def _handled_by(handler: Any, numbers: tuple[int, ...] = early_signals.SIGNALS) -> Iterator[None]:
    # What was to be ignored stays so, as nohup wants it.
    heeded = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: early_signals.former(number, signal.getsignal(number)) for number in heeded}
    try:
        _hand_over(dict.fromkeys(heeded, handler))
        yield
    finally:
        try:
            _hand_over(before)
        finally:  # a handler may have raised half-way, the old one or the new one
            _hand_over(before)


def _hand_over(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
