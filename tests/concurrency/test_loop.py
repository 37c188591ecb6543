# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The private loop: works that are begun, waited for and cancelled from other loops and threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator

import pytest
from joining import joining

from scherbelberg.concurrency.loop import Job, ThreadLoop, private_loop
from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.events import guarded_listener

#: For whatever a test waits for, in seconds.
WITHIN_S = 20.0


class _Broken(Exception):
    pass


class _Grave(BaseException):
    pass


class _Work:
    """A work that runs until it is cancelled, and cleans up only when it may."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.stopping = threading.Event()
        self.may_end = threading.Event()
        self.cleaned = False

    async def run(self) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopping.set()
            await asyncio.to_thread(self.may_end.wait, WITHIN_S)
            self.cleaned = True
        return "never"


async def _where() -> str:
    return threading.current_thread().name


@pytest.fixture
def loop() -> Iterator[ThreadLoop]:
    """A loop of the test's own."""
    made = ThreadLoop()
    yield made
    made.stop()


@pytest.fixture
def work() -> Iterator[_Work]:
    """A work that holds nobody up when the test is over."""
    made = _Work()
    yield made
    made.may_end.set()


def test_runs_on_its_own_thread(loop: ThreadLoop) -> None:
    """A coroutine runs on the loop's thread, not the caller's."""
    assert loop.submit(_where()).result() == "scherbelberg"


def test_raises_the_error_itself(loop: ThreadLoop) -> None:
    """The coroutine's error is raised, not a copy of it."""
    error = _Broken()

    async def fail() -> None:
        raise error

    with pytest.raises(_Broken) as caught:
        loop.submit(fail()).result()
    assert caught.value is error


async def test_join_from_another_loop(loop: ThreadLoop) -> None:
    """Another loop waits for it without being blocked, and gets the result or the error."""

    async def fail() -> None:
        raise _Broken

    assert await loop.submit(_where()).join() == "scherbelberg"
    with pytest.raises(_Broken):
        await loop.submit(fail()).join()


async def test_loop_is_not_blocked_while_joining(loop: ThreadLoop) -> None:
    """While one coroutine waits for a job, the caller's loop runs others."""
    gate = threading.Event()

    async def wait() -> str:
        await asyncio.to_thread(gate.wait, WITHIN_S)
        return "done"

    task = await joining(loop.submit(wait()))
    await asyncio.to_thread(gate.set)
    assert await task == "done"


async def test_job_runs_while_the_callers_loop_is_blocked(loop: ThreadLoop) -> None:
    """A caller that blocks its own loop does not stop the job: that is what the private loop is for."""
    assert loop.submit(_where()).wait(WITHIN_S)


def test_join_on_the_private_loop_itself(loop: ThreadLoop) -> None:
    """A coroutine that is on the loop already may start and await another one."""

    async def outer() -> str:
        return await loop.submit(_where()).join()

    assert loop.submit(outer()).result() == "scherbelberg"


def test_many_threads(loop: ThreadLoop) -> None:
    """Threads with loops of their own and threads without one use it at the same time."""

    async def double(number: int) -> int:
        return 2 * number

    def ask(number: int) -> int:
        job = loop.submit(double(number))
        return asyncio.run(job.join()) if number % 2 else job.result()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [2 * number for number in range(40)]


def test_wait_tells_whether_it_ended(loop: ThreadLoop, work: _Work) -> None:
    """Waiting for a time says whether the outcome is there."""
    job = loop.submit(work.run())
    assert not job.wait(0.01)
    work.may_end.set()
    job.cancel()
    assert job.wait(WITHIN_S)


def test_cancel_waits_for_the_clean_up(loop: ThreadLoop, work: _Work) -> None:
    """The outcome of a cancelled job comes when it has cleaned up, and is the cancellation."""
    job = loop.submit(work.run())
    assert work.begun.wait(WITHIN_S)
    job.cancel()
    assert work.stopping.wait(WITHIN_S)
    assert not job.wait(0.01)
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        job.result()
    assert work.cleaned


def test_cancel_at_once(loop: ThreadLoop) -> None:
    """A job that is cancelled before it began ends as cancelled."""
    busy, gate = threading.Event(), threading.Event()

    async def hold_up() -> None:
        busy.set()
        gate.wait(WITHIN_S)  # blocks on purpose: what follows is to find the loop busy

    loop.submit(hold_up())
    assert busy.wait(WITHIN_S)
    job = loop.submit(_where())
    job.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        job.result()


def test_cancel_too_late(loop: ThreadLoop) -> None:
    """Cancelling a job that has ended changes nothing."""
    job = loop.submit(_where())
    assert job.wait(WITHIN_S)
    job.cancel()
    assert job.result() == "scherbelberg"


def test_error_during_the_clean_up(loop: ThreadLoop) -> None:
    """An error while cleaning up is what a waiting thread gets."""
    begun = threading.Event()

    async def fail() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise _Broken from None

    job = loop.submit(fail())
    assert begun.wait(WITHIN_S)
    job.cancel()
    with pytest.raises(_Broken):
        job.result()


async def test_cancelled_join_waits_for_the_clean_up(loop: ThreadLoop, work: _Work) -> None:
    """Cancelling who awaits a job cancels the job, and is raised only when that has cleaned up."""
    task = await joining(loop.submit(work.run()))
    assert await asyncio.to_thread(work.begun.wait, WITHIN_S)
    for _ in range(3):  # more impatience does not shorten it
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
        assert not work.cleaned
    assert await asyncio.to_thread(work.stopping.wait, WITHIN_S)
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.cleaned


async def test_timeout_around_join(loop: ThreadLoop, work: _Work) -> None:
    """A timeout of the caller's gives back what was begun before it is raised."""
    job = loop.submit(work.run())
    await asyncio.to_thread(work.begun.wait, WITHIN_S)
    work.may_end.set()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await job.join()
    assert work.cleaned


async def test_join_of_a_job_that_others_cancelled(loop: ThreadLoop, work: _Work) -> None:
    """Who awaits a job that somebody else cancels gets the cancellation too."""
    job = loop.submit(work.run())
    await asyncio.to_thread(work.begun.wait, WITHIN_S)
    task = await joining(job)
    work.may_end.set()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _interrupted_once(wait: Callable[[float], bool]) -> Callable[[float], bool]:
    calls: list[float] = []

    def interrupted(within_s: float) -> bool:
        calls.append(within_s)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return wait(within_s)

    return interrupted


def test_interrupt_of_a_waiting_thread(loop: ThreadLoop, work: _Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a thread that waits cancels the job, and goes on when that has cleaned up."""
    job: Job[str] = loop.submit(work.run())
    assert work.begun.wait(WITHIN_S)
    monkeypatch.setattr(job, "wait", _interrupted_once(job.wait))
    work.may_end.set()
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert work.cleaned


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), _Grave()])
def test_function_that_ends_programs(loop: ThreadLoop, error: BaseException) -> None:
    """What a caller's function raises and is no Exception reaches the caller as it is, and the loop lives on."""

    def listener(event: str) -> None:
        raise error

    async def tell() -> None:
        guarded_listener(guarded_listener(listener))("event")  # twice does no harm

    async def tell_among_others() -> None:
        await gather_or_cancel(tell(), asyncio.Event().wait())

    for work in (tell, tell_among_others):
        with pytest.raises(type(error)) as caught:
            loop.submit(work()).result()
        assert caught.value is error
    assert loop.submit(_where()).result() == "scherbelberg"


def test_function_that_does_its_work() -> None:
    """A caller's function gets what it is told."""
    heard: list[str] = []
    guarded_listener(heard.append)("event")
    assert heard == ["event"]


def test_function_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An Exception of a caller's function is dropped and logged, the first one alone, and it goes on being called."""
    heard: list[str] = []

    def listener(event: str) -> None:
        heard.append(event)
        raise _Broken(event)

    tell = guarded_listener(guarded_listener(listener))
    for event in ("first", "second"):
        tell(event)
    assert heard == ["first", "second"]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("scherbelberg", "ERROR")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "first"


def test_stop_ends_the_thread() -> None:
    """A stopped loop leaves no thread."""
    loop = ThreadLoop()
    assert loop._thread.daemon
    loop.stop()
    assert not loop._thread.is_alive()


def test_private_loop_is_one() -> None:
    """Whoever asks gets the same loop."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = private_loop()
        assert set(pool.map(lambda _: private_loop(), range(8))) == {first}
