# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The library's one private event loop, on a thread of its own.

Every SSH connection and tunnel lives there. On the caller's loop, a tunnel would stand still whenever the caller blocks
in that loop's thread, for example in a notebook cell that calls ``future.result()``.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from scherbelberg.concurrency.threads import Threads
from scherbelberg.concurrency.waiting import BEAT_S, CLOCK, Deadline
from scherbelberg.events import CarriedExit

T = TypeVar("T")


#: How long a thread waits before it looks for an interrupt.
_GLANCE_S = 1.0
_STOP_S = 5.0
#: How long the end of the program waits for the undoing of what is under way, in seconds; each has a deadline as well.
_UNDO_S = 1800.0
_THREADS = 16
_STARTING = threading.Lock()
_LOG = logging.getLogger("scherbelberg")
#: How long threads that were waiting have to answer, in seconds.
_ANSWER_S = 0.3
_AT_END: list[Callable[[], object]] = []


async def _carry_exit(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise CarriedExit from error


class Job(Generic[T]):
    """A coroutine that runs on the private loop.

    Args:
        loop: The private loop.
        work: The coroutine.
        too_late: Undoes the work, given its result, when it is abandoned but has succeeded already.
        goes_on: Whether it is brought to its end, and not undone, when the program ends.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        too_late: Callable[[T], Coroutine[Any, Any, object]] | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        self.goes_on = goes_on
        self._loop = loop
        self._work = work
        self._too_late = too_late
        self._outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._task: asyncio.Task[T] | None = None
        self.is_begun = False

    def begin(self) -> None:
        """Have it run."""
        self.is_begun = True
        self._loop.call_soon_threadsafe(self._start, self._work)

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(_carry_exit(work))
        self._task.add_done_callback(self._finish)
        # Cancelled before its first step, a task leaves what it was to await unfinished.
        self._task.add_done_callback(lambda task: work.close())

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            inner = error.__cause__ if isinstance(error, CarriedExit) else None
            self._outcome.set_exception(inner or error)
        else:
            self._outcome.set_result(task.result())

    def cancel(self) -> None:
        """Ask the coroutine to stop; its outcome comes when it has cleaned up. For any thread and signal handler."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> concurrent.futures.Future[None]:
        """Stop the coroutine, or undo what it did if it has succeeded all the same.

        Returns:
            Done when nothing of it is left; holds the error of a clean-up that failed.
        """
        self.cancel()
        return asyncio.run_coroutine_threadsafe(self._undo(), self._loop)

    def end(self) -> concurrent.futures.Future[Any]:
        """Abandon it, or let it go on if it is meant to; returns what is done when nothing is left to wait for."""
        return self._outcome if self.goes_on else self.abandon()

    async def _undo(self) -> None:
        try:
            result = await asyncio.wrap_future(self._outcome)
        except asyncio.CancelledError:
            return
        if self._too_late is not None:
            await self._too_late(result)

    @property
    def is_done(self) -> bool:
        """Whether the outcome is there."""
        return self._outcome.done()

    def outcome(self) -> T:
        """Return or raise the outcome, which is there."""
        return self._outcome.result(timeout=0)

    def call_when_done(self, callback: Callable[[], object]) -> None:
        """Have a function called on the private loop's thread when the outcome is there, or soon if it is already.

        Args:
            callback: It; raises nothing.
        """
        self._loop.call_soon_threadsafe(self._outcome.add_done_callback, lambda _: callback())

    def wait(self, within_s: float) -> bool:
        """Block this thread until the outcome is there or the time is over.

        Args:
            within_s: Seconds.

        Returns:
            Whether the outcome is there.

        Raises:
            RuntimeError: This is the private loop's own thread, which would wait for itself.
        """
        return _wait(self._loop, self._outcome, within_s)

    def result(self) -> T:
        """Block this thread until the outcome is there, and return or raise it.

        An interrupt of this thread abandons the work; an error of the clean-up wins over the interrupt.

        The wait is made of short ones, since Windows delivers no Ctrl-C to a thread that waits for a lock.
        """
        try:
            while not self.wait(_GLANCE_S):
                pass
        except (KeyboardInterrupt, SystemExit) as interrupt:
            end = self.abandon()
            while not end.done():
                # The clean-up has its own deadline; more impatience does not shorten it.
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    _wait(self._loop, end, _GLANCE_S)
            if error := end.exception():
                raise error from interrupt
            raise
        return self._outcome.result()

    async def join(self) -> T:
        """Wait on the caller's loop for the outcome, and return or raise it.

        Cancelling this abandons the work and waits until nothing of it is left; an error of the clean-up wins over the
        cancellation. Await it where the work is begun, not in a task of its own: one that is cancelled before its first
        step never comes here.
        """
        outcome = asyncio.wrap_future(self._outcome)
        outcome.add_done_callback(_look_at)
        try:
            # Always lets the loop on, so that who is cancelled already hears of that first. Since Python 3.14, awaiting
            # an outcome that is there would not, and the task would end as cancelled with the outcome lost in it.
            await asyncio.wait([outcome])
            return outcome.result()
        except asyncio.CancelledError as cancelled:
            if self._outcome.done() and isinstance(self._outcome.exception(), asyncio.CancelledError):
                raise
            end = asyncio.wrap_future(self.abandon())
            while not end.done():
                # The clean-up has its own deadline; more impatience does not shorten it.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([end])
            if error := end.exception():
                raise error from cancelled
            raise


def _ignore_signals() -> None:
    """Have no handler of signals break off what goes on at the end; a signal that kills the process still does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and callable(signal.getsignal(number)):
            with contextlib.suppress(ValueError):  # it is the main thread's to do so, and that is where atexit is
                signal.signal(number, lambda *_: None)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from complaining of an outcome that nobody waits for any more."""
    if not future.cancelled():
        future.exception()


def _wait(loop: asyncio.AbstractEventLoop, future: concurrent.futures.Future[Any], within_s: float) -> bool:
    if _running_loop() is loop:
        raise RuntimeError("Blocking on the library's own thread would wait for itself: a listener must not block.")
    return bool(concurrent.futures.wait([future], timeout=within_s).done)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class ThreadLoop:
    """An event loop on a thread of its own, started at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # For asyncio.to_thread and names of hosts; asyncio's own stops working before the last clean-up does.
        self._loop.set_default_executor(Threads(_THREADS, "scherbelberg-loop"))
        self._jobs: set[Job[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="scherbelberg", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        CLOCK.begin()
        self._beat()
        self._loop.run_forever()
        CLOCK.end()
        self._loop.close()

    def _beat(self) -> None:
        CLOCK.beat()
        self._loop.call_later(BEAT_S, self._beat)

    def submit(
        self,
        work: Coroutine[Any, Any, T],
        *,
        too_late: Callable[[T], Coroutine[Any, Any, object]] | None = None,
        goes_on: bool = False,
    ) -> Job[T]:
        """Start a coroutine on this loop; for any thread.

        Args:
            work: The coroutine.
            too_late: Undoes the work, given its result, when it is abandoned but has succeeded already.
            goes_on: Whether it is brought to its end, and not undone, when the program ends: a deletion.
        """
        job = Job(self._loop, work, too_late, goes_on=goes_on)
        self._jobs.add(job)  # before it begins: what is under way is known at any moment
        job.begin()
        job.call_when_done(lambda: self._jobs.discard(job))
        return job

    def undo_all(self) -> None:
        """Abandon whatever is under way and wait until nothing of it is left; for the end of the program.

        Deletions go on to their end. Threads that were waiting may answer with another one, which is waited for, too.
        """
        deadline, ends = Deadline(_UNDO_S), dict[Job[Any], "concurrent.futures.Future[Any]"]()
        while deadline.left_s and not self._are_over(ends):
            pass
        for end in ends.values():
            error = end.exception() if end.done() else None
            if error is not None and not isinstance(error, asyncio.CancelledError):
                _LOG.error("What was under way when the program ended: %s", error)

    def _are_over(self, ends: dict[Job[Any], concurrent.futures.Future[Any]]) -> bool:
        """Take a step towards the end of all that is under way; whether it is reached."""
        for job in tuple(self._jobs):
            if job.is_begun and not job.is_done and job not in ends:
                if not ends:
                    _ignore_signals()
                    _LOG.warning("The program ends while something is under way: it is undone, or ended, first.")
                ends[job] = job.end()
        waiting = [end for end in ends.values() if not end.done()]
        if waiting:
            concurrent.futures.wait(waiting, timeout=_GLANCE_S)
            return False
        if ends:
            threading.Event().wait(_ANSWER_S)
        return all(job.is_done or job in ends or not job.is_begun for job in tuple(self._jobs))

    def stop(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=_STOP_S)


@functools.cache
def _the_loop() -> ThreadLoop:
    return ThreadLoop()


def at_end(call: Callable[[], object]) -> None:
    """Have a function called when the program ends, after all that is under way and before the private loop ends.

    Args:
        call: It; raises nothing.
    """
    _AT_END.append(call)


def _stop_the_loop() -> None:
    if _the_loop.cache_info().currsize:
        _the_loop().undo_all()
        for call in _AT_END:
            call()
        _the_loop().stop()


# Registered when this is imported, so that it runs after what the user registers to clean up.
atexit.register(_stop_the_loop)
if hasattr(os, "register_at_fork"):
    # A forked child inherits the loop without its thread: it gets one of its own when it needs one.
    os.register_at_fork(after_in_child=_the_loop.cache_clear)


def private_loop() -> ThreadLoop:
    """The one private loop of this process, started when it is first needed."""
    with _STARTING:
        return _the_loop()
