# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals, in one place: what Ctrl-C and SIGTERM do while something is being done or undone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from scherbelberg.threadloop import Job, private_loop

T = TypeVar("T")
#: How long the main thread waits before it looks for a signal, in seconds: on Windows, a lock is deaf to Ctrl-C.
_GLANCE_S = 0.5
#: What a terminal or a CI system sends; SIGHUP is a terminal that was closed, and Windows has none.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(Exception):
    """A signal ended what was being done.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.exit_code = 128 + number


class _Watch:
    """Turns the first signal into a cancellation and counts the others."""

    def __init__(self, job: Job[Any], on_first: str, if_abandoned: str) -> None:
        self.first: int | None = None
        self._job = job
        self._on_first = on_first
        self._if_abandoned = if_abandoned

    def __call__(self, number: int, frame: object) -> None:
        if self.first is None:
            self.first = number
            _say(self._on_first)
            self._job.cancel()
        elif number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty():
            # Only a person at a terminal may leave before the end is proven. CI systems send SIGINT, then SIGTERM.
            _say(self._if_abandoned)
            os._exit(128 + signal.SIGINT)


def _say(text: str) -> None:
    # Not print: a signal may arrive in the middle of one.
    os.write(2, f"\n{text}\n".encode())


def run(
    work: Coroutine[Any, Any, T],
    *,
    on_first: str = "Interrupted, stopping ...",
    if_abandoned: str = "Left before the end was proven.",
    too_late: Callable[[T], Coroutine[Any, Any, None]] | None = None,
) -> T:
    """Run a coroutine on the private loop; signals cancel it and wait until it has cleaned up.

    Args:
        work: The coroutine.
        on_first: What is said at the first signal.
        if_abandoned: What is said when a second Ctrl-C at a terminal ends the program at once.
        too_late: Undoes the work when the signal came after its end.

    Raises:
        Interrupted: A signal came.
    """
    job = private_loop().submit(work, too_late=too_late)
    watch = _Watch(job, on_first, if_abandoned)
    with _handled_by(watch):
        while not job.wait(_GLANCE_S):
            pass
        if watch.first is None:
            return job.result()
        job.abandon().result()
    raise Interrupted(watch.first)


@contextmanager
def raised() -> Iterator[None]:
    """Outside of `run`: a signal becomes the exception `Interrupted` in this thread."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def left_to_child() -> Iterator[None]:
    """While a program of the user's runs in the foreground, Ctrl-C is its business."""
    # Not SIG_IGN, which the child would inherit.
    with _handled_by(lambda number, frame: None, (signal.SIGINT,)):
        yield


@contextmanager
def _handled_by(handler: Any, numbers: tuple[int, ...] = _SIGNALS) -> Iterator[None]:
    # What was to be ignored stays so, as nohup wants it.
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
