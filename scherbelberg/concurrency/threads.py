# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Threads for calls that block, which work on while Python is ending.

Python's own executors refuse all work from the moment at which the main thread ends, before functions that atexit has
registered are called and while other threads still run. Such a function or thread may be about to give servers back.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
_Item = tuple[concurrent.futures.Future[Any], Callable[[], Any]]


#: Those with threads; the first one is the private loop's, which lives as long as the program.
_STANDING: list[Threads] = []


class Threads(concurrent.futures.ThreadPoolExecutor):
    """An executor whose first thread stands ready at once, since Python 3.12 and later start none while they end.

    Where not even that can be started, since Python is ending already, another executor of this kind that has threads
    does the work. Its threads are daemons: Python waits for none of them, so whoever wants a result waits for it.

    Args:
        most: How many threads there are at most.
        name: What their names begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)  # asyncio takes no executor of another kind
        self._most = most
        self._name = name
        self._items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._under_way = 0  # or waiting
        self._started: list[threading.Thread] = []
        self._is_closed = False
        self._lender: Threads | None = None
        try:
            self._add()
        except RuntimeError:
            self._lender = next(iter(_STANDING), None)
            if self._lender is None:
                raise
        else:
            _STANDING.append(self)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Have a function called on one of the threads.

        Raises:
            RuntimeError: This executor is closed.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"The threads {self._name} are closed.")
            if self._lender is not None:
                return self._lender.submit(fn, *args, **kwargs)
            self._items.put((future, functools.partial(fn, *args, **kwargs)))
            self._under_way += 1
            if len(self._started) < min(self._under_way, self._most):
                self._add()
        return future

    def _add(self) -> None:
        """Start another thread; without it, the others have more to do."""
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._started)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python is ending, or this computer gives no more threads
            if not self._started:
                raise
        else:
            self._started.append(thread)

    def _work(self) -> None:
        while (item := self._items.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                _carry_out(call, future, self._note_end)
            else:
                self._note_end()
            del item, future, call  # until the next one comes, they would keep alive what they hold

    def _note_end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more, and let the threads end when they have done what there is.

        Args:
            wait: Whether to wait for that.
            cancel_futures: Whether what none of them has begun is cancelled.
        """
        with self._lock:
            self._is_closed = True
        if self in _STANDING:
            _STANDING.remove(self)
        while cancel_futures and not self._items.empty():
            with contextlib.suppress(queue.Empty):
                item = self._items.get_nowait()
                if item is not None:
                    item[0].cancel()
        for _ in self._started:
            self._items.put(None)
        for thread in self._started if wait else ():
            thread.join(timeout=None)


def _carry_out(call: Callable[[], Any], future: concurrent.futures.Future[Any], at_end: Callable[[], None]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever waits for the outcome gets it
        at_end()
        future.set_exception(error)
    else:
        at_end()
        future.set_result(result)
