# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clock of deadlines: it stands still while this program does, since its computer was suspended or it was stopped.

What waits is not late then, and what was lost meanwhile, mostly connections, is no failure of the other end's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
#: Between two beats, in seconds.
BEAT_S = 1.0
#: So many seconds without a beat are a standstill, not a busy computer.
_STANDSTILL_S = 5.0
#: A program that is stopped again and again shall not try a broken node for ever.
_MOST_TRIES = 4
_LOG = logging.getLogger("scherbelberg")


class Clock:
    """Counts the seconds in which this program ran, as long as something makes it beat; otherwise all of them.

    The monotonic clock alone does not do: it goes on while a program is stopped, and on Windows while the computer is
    suspended. Elsewhere it stands still then, so that only the time of day tells of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops = 0
        self._lost_s = 0.0
        self._standstills = 0
        self._seen_s = self._seen_at_s = 0.0

    @property
    def now_s(self) -> float:
        """The time, in seconds since some moment."""
        with self._lock:
            return self._look() - self._lost_s

    @property
    def standstills(self) -> int:
        """How often the program stood still so far."""
        with self._lock:
            self._look()
            return self._standstills

    def begin(self) -> None:
        """Rely on `beat` from now on."""
        with self._lock:
            self._look()
            self._loops += 1

    def beat(self) -> None:
        """Show that the program runs; to be called every `BEAT_S` seconds."""
        with self._lock:
            self._look()

    def end(self) -> None:
        """Rely on it no more, as soon as all have ended that have begun."""
        with self._lock:
            self._loops -= 1

    def forget(self) -> None:
        """Rely on nobody: a forked child has none of the threads that have begun."""
        self._lock = threading.Lock()
        self._loops = 0

    def _look(self) -> float:
        now_s, at_s = time.monotonic(), time.time()
        gone_s = now_s - self._seen_s
        if self._loops and max(gone_s, at_s - self._seen_at_s) > _STANDSTILL_S:
            self._standstills += 1
            self._lost_s += max(0.0, gone_s - BEAT_S)
        self._seen_s, self._seen_at_s = now_s, at_s
        return now_s


#: This program's.
CLOCK = Clock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CLOCK.forget)


async def despite_standstills(work: Callable[[], Awaitable[T]], *errors: type[Exception]) -> T:
    """Do something, and do it again when it failed and the program stood still meanwhile, a few times at most.

    Args:
        work: Does it; it can be done again at any time.
        errors: How it fails when connections are lost, or when the other end has waited too long.

    Returns:
        What it returns.
    """
    tries = 0
    while True:
        before = CLOCK.standstills
        tries += 1
        try:
            return await work()
        except errors as error:
            if CLOCK.standstills == before or tries == _MOST_TRIES:
                raise
            _LOG.info("Done again, since this program stood still meanwhile: %s", error)
