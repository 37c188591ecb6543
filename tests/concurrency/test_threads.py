# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The threads for calls that block: as many as are needed, also when Python starts no more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from scherbelberg.concurrency.threads import Threads

_WITHIN_S = 20


@contextmanager
def made(most: int) -> Iterator[Threads]:
    """Some that are closed in the end."""
    threads = Threads(most, "test-threads")
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def count() -> int:
    """How many there are."""
    return sum(thread.name.startswith("test-threads") for thread in threading.enumerate())


def test_one_stands_ready() -> None:
    """The first thread is there before it is needed, and is used again."""
    with made(4) as threads:
        assert count() == 1
        names = {threads.submit(threading.current_thread).result(_WITHIN_S).name for _ in range(9)}
        assert names == {"test-threads_0"}
    assert count() == 0


def test_as_many_as_allowed() -> None:
    """What blocks does not hold up the rest until the allowed number blocks; the rest comes later."""
    with made(3) as threads:
        met = threading.Barrier(3)
        futures = [threads.submit(met.wait, _WITHIN_S) for _ in range(6)]
        assert sorted(future.result(_WITHIN_S) for future in futures) == [0, 0, 1, 1, 2, 2]
        assert count() == 3


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Python starts no thread any more, those that are there do all the work; without one, that is an error."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with made(3) as threads:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        futures = [threads.submit(pow, 2, number) for number in range(9)]
        assert [future.result(_WITHIN_S) for future in futures] == [2**number for number in range(9)]
        with made(1) as borrowing:  # those of others
            assert borrowing.submit(threading.current_thread).result(_WITHIN_S).name != threading.current_thread().name
        monkeypatch.setattr("scherbelberg.concurrency.threads._STANDING", [])
        with pytest.raises(RuntimeError, match="new thread"):
            Threads(1, "test-threads")


def test_outcomes() -> None:
    """What a call raises goes to who waits for it, also what is no Exception, and the thread works on."""
    with made(1) as threads:
        for error in (ValueError, SystemExit, KeyboardInterrupt):
            with pytest.raises(error):
                threads.submit(_raise, error).result(_WITHIN_S)
        assert threads.submit(int, "7", base=8).result(_WITHIN_S) == 7


def _raise(error: type[BaseException]) -> None:
    raise error


def test_end() -> None:
    """What has not begun is cancelled in the end if that is wanted, and done otherwise; then nothing more is taken."""
    for is_cancelled in (True, False):
        threads = Threads(1, "test-threads")
        begun, go = threading.Event(), threading.Event()

        def block(begun: threading.Event = begun, go: threading.Event = go) -> bool:
            begun.set()
            return go.wait(_WITHIN_S)

        first = threads.submit(block)
        assert begun.wait(_WITHIN_S)
        second = threads.submit(int)
        threads.shutdown(wait=False, cancel_futures=is_cancelled)
        go.set()
        threads.shutdown()
        assert (first.result(_WITHIN_S), second.cancelled()) == (True, is_cancelled)
        with pytest.raises(RuntimeError, match="closed"):
            threads.submit(int)
    assert count() == 0


def test_for_asyncio() -> None:
    """An event loop takes them for its calls that block."""
    with closing(asyncio.new_event_loop()) as loop, made(2) as threads:
        loop.set_default_executor(threads)

        async def name() -> str:
            return (await asyncio.to_thread(threading.current_thread)).name

        assert loop.run_until_complete(name()).startswith("test-threads")
