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
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
E = TypeVar("E")


class _Carried(Exception):
    """Carries an exception that would end the private loop: asyncio lets SystemExit and KeyboardInterrupt through."""


def carried(listener: Callable[[E], None]) -> Callable[[E], None]:
    """Make a caller's function safe to be called on the private loop, whatever it raises.

    Args:
        listener: The caller's function.
    """

    def call(event: E) -> None:
        try:
            listener(event)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _Carried from error

    return call


class Job(Generic[T]):
    """A coroutine that runs on the private loop.

    Args:
        loop: The private loop.
        work: The coroutine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, work)

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._outcome.set_exception(asyncio.CancelledError())
        elif error := task.exception():
            inner = error.__cause__ if isinstance(error, _Carried) else None
            self._outcome.set_exception(inner or error)
        else:
            self._outcome.set_result(task.result())

    def cancel(self) -> None:
        """Ask the coroutine to stop; its outcome comes when it has cleaned up. For any thread and signal handler."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wait(self, within_s: float) -> bool:
        """Block this thread until the outcome is there or the time is over.

        Args:
            within_s: Seconds.

        Returns:
            Whether the outcome is there.
        """
        return bool(concurrent.futures.wait([self._outcome], timeout=within_s).done)

    def result(self) -> T:
        """Block this thread until the outcome is there, and return or raise it.

        The wait is made of short ones, since Windows delivers no Ctrl-C to a thread that waits for a lock.
        """
        try:
            while not self.wait(1.0):
                pass
        except BaseException:
            # An interrupt in the caller's thread: what was begun must be undone before it goes on.
            self.cancel()
            while not self.wait(1.0):
                pass
            raise
        return self._outcome.result()

    async def join(self) -> T:
        """Wait on the caller's loop. Cancelling this cancels the coroutine and waits until it has cleaned up."""
        outcome = asyncio.wrap_future(self._outcome)
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            if outcome.done():
                raise
            self.cancel()
            while not outcome.done():
                try:
                    await asyncio.wait([outcome])
                except asyncio.CancelledError:
                    continue  # the clean-up has its own deadline; more impatience does not shorten it
            if not outcome.cancelled():
                outcome.exception()  # looked at: the caller gets the cancellation
            raise


class ThreadLoop:
    """An event loop on a thread of its own, started at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scherbelberg", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Start a coroutine on this loop; for any thread."""
        return Job(self._loop, work)

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


@functools.cache
def private_loop() -> ThreadLoop:
    """The one private loop of this process, started when it is first needed."""
    loop = ThreadLoop()
    atexit.register(loop.stop)
    return loop
