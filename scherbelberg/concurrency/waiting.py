# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The only sleep and the only deadline there is, on a clock that stands still while this program does."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from scherbelberg.errors import WaitTimeout

#: Between two beats, in seconds.
BEAT_S = 1.0
#: So many seconds without a beat are a standstill, not a busy computer.
_SUSPENDED_S = 5.0
#: A program that is stopped again and again shall not try a broken node for ever.
_MOST_TRIES = 4
_LOG = logging.getLogger("scherbelberg")


T = TypeVar("T")
#: How long a cancelled coroutine may clean up before it is reminded.
_AGAIN_S = 10.0


class SuspendAwareClock:
    """Counts the seconds in which this program ran, as long as something makes it beat; otherwise all of them.

    The monotonic clock alone does not do: it goes on while a program is stopped, and on Windows while the computer is
    suspended. Elsewhere it stands still then, so that only the time of day tells of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops = 0
        self._lost_s = 0.0
        self._suspensions = 0
        self._seen_s = self._seen_at_s = 0.0

    @property
    def now_s(self) -> float:
        """The time, in seconds since some moment."""
        with self._lock:
            return self._look() - self._lost_s

    @property
    def suspensions(self) -> int:
        """How often the program stood still so far."""
        with self._lock:
            self._look()
            return self._suspensions

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
        if self._loops and max(gone_s, at_s - self._seen_at_s) > _SUSPENDED_S:
            self._suspensions += 1
            self._lost_s += max(0.0, gone_s - BEAT_S)
        self._seen_s, self._seen_at_s = now_s, at_s
        return now_s


#: This program's.
CLOCK = SuspendAwareClock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CLOCK.forget)


async def retry_after_suspend(work: Callable[[], Awaitable[T]], *errors: type[Exception]) -> T:
    """Do something, and do it again when it failed and the program stood still meanwhile, a few times at most.

    Args:
        work: Does it; it can be done again at any time.
        errors: How it fails when connections are lost, or when the other end has waited too long.

    Returns:
        What it returns.
    """
    tries = 0
    while True:
        before = CLOCK.suspensions
        tries += 1
        try:
            return await work()
        except errors as error:
            if CLOCK.suspensions == before or tries == _MOST_TRIES:
                raise
            _LOG.info("Done again, since this program stood still meanwhile: %s", error)


class Deadline:
    """A moment in the future.

    Args:
        within_s: Seconds from now.
    """

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._end = CLOCK.now_s + within_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 when it has passed."""
        return max(0.0, self._end - CLOCK.now_s)


async def pause(seconds: float) -> None:
    """Do nothing for a time.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)


@asynccontextmanager
async def timeout_after(within_s: float) -> AsyncIterator[asyncio.Timeout]:
    """Cancel what stands inside when a deadline passes, as asyncio.timeout does.

    Args:
        within_s: Deadline in seconds.

    Raises:
        TimeoutError: It has passed; what was given says so too.
    """
    loop, deadline = asyncio.get_running_loop(), Deadline(within_s)
    due: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal due
        if left_s := deadline.left_s:
            due = loop.call_later(left_s, look)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        look()
        try:
            yield limit
        finally:
            if due is not None:
                due.cancel()


async def wait_event(event: asyncio.Event, *, within_s: float) -> bool:
    """Wait for an event for a while.

    Args:
        event: It.
        within_s: How long, in seconds.

    Returns:
        Whether it came.
    """
    try:
        async with timeout_after(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def until(
    probe: Callable[[], Awaitable[T | None]],
    *,
    every_s: float,
    within_s: float,
    what: str,
    node: str | None = None,
    growth: float = 1.0,
    longest_s: float = 10.0,
    last: Callable[[], str] = str,
) -> T:
    """Probe until there is an answer.

    A probe that is under way when the deadline passes is cancelled.

    Args:
        probe: Answers a value, or None for "not yet".
        every_s: Seconds to pause after the first try.
        within_s: Deadline in seconds.
        what: What is waited for, as the subject of the error's sentence.
        node: Name of the node that is waited for.
        growth: Factor by which the pause grows from try to try.
        longest_s: Longest pause in seconds.
        last: Tells what was seen last, for the error.

    Returns:
        The probe's first answer that is not None.

    Raises:
        WaitTimeout: The deadline passed.
    """
    deadline = Deadline(within_s)
    wait_s = every_s
    while True:
        try:
            async with timeout_after(deadline.left_s) as limit:
                answer = await probe()
        except TimeoutError:
            if not limit.expired():
                raise
            answer = None
        _raise_if_cancelled()
        if answer is not None:
            return answer
        if not deadline.left_s:
            raise WaitTimeout(what=what, within_s=within_s, last=last(), node=node)
        await pause(min(wait_s, deadline.left_s))
        wait_s = min(wait_s * growth, longest_s)


def _raise_if_cancelled() -> None:
    """Raise a cancellation that the probe has swallowed, as asyncio.wait_for does now and then before Python 3.12."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def gather_or_cancel(*works: Coroutine[Any, Any, T]) -> list[T]:
    """Run coroutines side by side; when one fails, stop the others, wait for them, and raise its error alone.

    Args:
        works: The coroutines.

    Returns:
        Their results, in order.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        if tasks:
            # Not gather: cancelled twice, it would also interrupt the others' clean-up.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        return [task.result() for task in tasks]
    finally:
        cancelled = await _wait_for_all(tasks, cancel_every_s=_AGAIN_S)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at: one error is enough
        if cancelled is not None:
            raise cancelled


async def _wait_for_all(
    tasks: Iterable[asyncio.Task[Any]], *, cancel_every_s: float | None = None
) -> asyncio.CancelledError | None:
    """Wait for the end of tasks, whatever happens to the caller; returns its cancellation if there was one.

    Args:
        tasks: Which.
        cancel_every_s: Cancel them, at once and again after so many seconds, in case something swallows that.
    """
    cancelled: asyncio.CancelledError | None = None
    left = set(tasks)
    due = Deadline(0)
    while left:
        if cancel_every_s is not None and not due.left_s:
            due = Deadline(cancel_every_s)
            for task in left:
                task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=None if cancel_every_s is None else due.left_s)
        except asyncio.CancelledError as error:
            cancelled = error
            left = {task for task in left if not task.done()}
    return cancelled


async def shield_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end even when the caller is cancelled, which it then is afterwards.

    Args:
        work: The coroutine; it has deadlines of its own.
    """
    task = asyncio.create_task(work)
    cancelled = await _wait_for_all([task])
    if cancelled is not None and not task.cancelled() and task.exception() is None:
        raise cancelled
    return task.result()
