# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A handle on work that takes minutes, for programs whose threads must not wait so long, such as those with windows."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from scherbelberg.concurrency.loop import private_loop
from scherbelberg.concurrency.waiting import Deadline, shield_to_end

S = TypeVar("S")
T = TypeVar("T")
#: How long a thread waits before it looks for an interrupt, in seconds.
_GLANCE_S = 1.0
_LOG = logging.getLogger("scherbelberg")


class Operation(Generic[T]):
    """Work that was begun and can be undone until it has succeeded; every method is for any thread.

    It runs on the library's own thread. The names are those of `concurrent.futures.Future`.

    Args:
        work: The work; cancelled, it undoes what it did.
        convert: Makes of the work's result what the caller gets.
        undo: Undoes the work, given its result, where it succeeds although it was cancelled.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, S],
        *,
        convert: Callable[[S], T],
        undo: Callable[[S], Coroutine[Any, Any, object]],
    ) -> None:
        self._turn = threading.Lock()
        self._is_cancelled = False
        self._is_settled = False
        self._job = private_loop().submit(self._run(work, convert, undo))
        # Cancelled before its first step, it has never awaited the work.
        self._job.call_when_done(work.close)

    async def _run(
        self,
        work: Coroutine[Any, Any, S],
        convert: Callable[[S], T],
        undo: Callable[[S], Coroutine[Any, Any, object]],
    ) -> T:
        try:
            result = await work
        except BaseException:
            self._settle()
            raise
        if self._settle():
            return convert(result)
        await shield_to_end(undo(result))
        raise asyncio.CancelledError

    def _settle(self) -> bool:
        """Take no more cancellations; returns whether there was none."""
        with self._turn:
            self._is_settled = True
            return not self._is_cancelled

    def done(self) -> bool:
        """Whether it has ended, an undoing included."""
        return self._job.is_done

    def cancel(self, *, wait: bool = True) -> bool:
        """Undo it, which it tells the listener, and return when it is proven that nothing is left.

        More impatience does not shorten it: the undoing has a deadline of its own.

        Args:
            wait: Whether to block this thread until then. A window's thread and a listener must not.

        Returns:
            Whether this came in time; if not, it had ended before, and stays as it is.

        Raises:
            LeftOver: The deadline has passed, and something is left.
            ScherbelbergError: It failed for a reason of its own meanwhile; everything was given back.
            RuntimeError: This is the library's own thread, which would wait for itself; it is cancelled all the same.
        """
        with self._turn:
            if self._is_settled and not self._is_cancelled:
                return False
            is_first, self._is_cancelled = not self._is_cancelled, True
        if is_first:
            self._job.cancel()
        if wait:
            self._await_end()
            with contextlib.suppress(asyncio.CancelledError):
                self._job.outcome()
        return True

    def _await_end(self) -> None:
        while not self._job.is_done:
            # Short waits, since Windows delivers no Ctrl-C to a thread that waits for a lock.
            self._job.wait(_GLANCE_S)

    def result(self, timeout: float | None = None) -> T:
        """Block this thread until it has ended, and return or raise what came of it.

        An interrupt of this thread cancels it, and is raised when nothing is left.

        Args:
            timeout: Seconds, or None for as long as it takes.

        Raises:
            TimeoutError: It has not ended yet; it goes on.
            concurrent.futures.CancelledError: It was cancelled, and nothing is left.
            LeftOver: It failed or was cancelled, and something is left.
            ScherbelbergError: It failed; everything was given back.
        """
        deadline = None if timeout is None else Deadline(timeout)
        try:
            while not self._job.is_done:
                left_s = _GLANCE_S if deadline is None else min(_GLANCE_S, deadline.left_s)
                if not self._job.wait(left_s) and deadline is not None and not deadline.left_s:
                    raise TimeoutError(f"It has not ended within {timeout} s.")
        except (KeyboardInterrupt, SystemExit):
            self._undo_despite_interrupts()
            raise
        try:
            return self._job.outcome()
        except asyncio.CancelledError:
            raise concurrent.futures.CancelledError from None

    def _undo_despite_interrupts(self) -> None:
        while True:
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self.cancel()
                return

    def add_done_callback(self, callback: Callable[[Operation[T]], object]) -> None:
        """Have a function called when it has ended, or soon if it has already; after the last Event.

        Args:
            callback: Is given this operation, on the library's own thread: it must not block, but `result` returns at
                once there. What it raises is logged and dropped.
        """

        def call() -> None:
            try:
                callback(self)
            except BaseException:  # noqa: BLE001 - a caller's function, and SystemExit would end the library's thread
                _LOG.exception("A callback at the end of an operation failed.")

        self._job.call_when_done(call)
