# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Works that end otherwise than planned: abandoned too late, while their clean-up fails, or with the whole program."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import threading
from collections.abc import Callable, Iterator

import pytest
from joining import joining

from scherbelberg.concurrency import loop as loop_module
from scherbelberg.concurrency.loop import Job, ThreadLoop, private_loop
from scherbelberg.errors import LeftOver

#: For whatever a test waits for, in seconds.
WITHIN_S = 20.0


class _Rental:
    """A work that rents something, and how it is given back."""

    def __init__(self, *, ends: bool, error: Exception | None = None) -> None:
        self.begun = threading.Event()
        self.given_back: list[str] = []
        self._ends = ends
        self._error = error

    async def rent(self) -> str:
        """Succeed, at once or despite a cancellation."""
        self.begun.set()
        try:
            if not self._ends:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "rented"
        return "rented"

    async def give_back(self, what: str) -> None:
        """Undo it."""
        # In a task, which takes a while for sure: a thread's answer may be there at once since Python 3.14.
        await asyncio.create_task(asyncio.to_thread(int))
        if self._error is not None:
            raise self._error
        self.given_back.append(what)

    def begin(self, loop: ThreadLoop) -> Job[str]:
        """Begin it, and wait until it is over where it ends by itself."""
        job = loop.submit(self.rent(), too_late=self.give_back)
        assert self.begun.wait(WITHIN_S)
        if self._ends:
            assert job.wait(WITHIN_S)
        return job


class _Failing:
    """A work whose clean-up fails."""

    def __init__(self, error: BaseException) -> None:
        self.begun = threading.Event()
        self._error = error

    async def run(self) -> None:
        """Run until it is cancelled."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise self._error from None


LEFT_OVER = LeftOver("One server is left.", left_over=("server cluster-scheduler",))


@pytest.fixture
def loop() -> Iterator[ThreadLoop]:
    """A loop of the test's own."""
    made = ThreadLoop()
    yield made
    made.stop()


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job[str] | Job[None]], None]:
    """Lets Ctrl-C come to the thread that waits for a job, once."""

    def arrange(job: Job[str] | Job[None]) -> None:
        def wait(within_s: float) -> bool:
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(job, "wait", wait)

    return arrange


_Interrupt = Callable[[Job[str] | Job[None]], None]
_ends = pytest.mark.parametrize("ends", [True, False], ids=["just before", "despite it"])


@_ends
def test_abandoned_success_is_undone(loop: ThreadLoop, ends: bool) -> None:
    """What succeeded just before it was abandoned, or all the same, is given back before anybody goes on."""
    rental = _Rental(ends=ends)
    rental.begin(loop).abandon().result(WITHIN_S)
    assert rental.given_back == ["rented"]


@_ends
async def test_success_of_a_cancelled_caller_is_undone(loop: ThreadLoop, ends: bool) -> None:
    """Who is cancelled while awaiting a success never hears of it, so it is given back before the cancellation."""
    rental = _Rental(ends=False)
    job = loop.submit(rental.rent(), too_late=rental.give_back)
    task = await joining(job)
    assert await asyncio.to_thread(rental.begun.wait, WITHIN_S)
    if ends:
        job.cancel()  # ends it, and this loop is too busy to hear of it before the cancellation
        assert job.wait(WITHIN_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rental.given_back == ["rented"]


async def test_success_is_undone_for_who_was_cancelled_before(loop: ThreadLoop) -> None:
    """Who is cancelled already when it comes to a success that is there never hears of it, so it is given back."""
    rental = _Rental(ends=True)
    job = rental.begin(loop)

    async def come_cancelled() -> None:
        me = asyncio.current_task()
        assert me is not None
        me.cancel()
        await job.join()
        raise AssertionError("It went on.")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(come_cancelled())
    assert rental.given_back == ["rented"]


@_ends
def test_success_of_an_interrupted_caller_is_undone(loop: ThreadLoop, ends: bool, interrupted: _Interrupt) -> None:
    """Ctrl-C in a thread that waits gives back what succeeded, and is raised only then."""
    rental = _Rental(ends=ends)
    job = rental.begin(loop)
    interrupted(job)
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert rental.given_back == ["rented"]


def test_success_without_an_undoing_stays(loop: ThreadLoop) -> None:
    """Where nothing has to be undone, abandoning what has ended harms nothing."""
    rental = _Rental(ends=True)
    job = loop.submit(rental.rent())
    assert job.wait(WITHIN_S)
    job.abandon().result(WITHIN_S)
    assert (job.result(), rental.given_back) == ("rented", [])


def test_kept_success_is_not_undone(loop: ThreadLoop) -> None:
    """What nobody abandoned is kept."""
    rental = _Rental(ends=True)
    assert rental.begin(loop).result() == "rented"
    assert rental.given_back == []


def test_abandoned_failure_is_told(loop: ThreadLoop) -> None:
    """Abandoning ends with the error of the clean-up, and with none where it was clean."""
    failing = _Failing(LEFT_OVER)
    job = loop.submit(failing.run())
    assert failing.begun.wait(WITHIN_S)
    assert job.abandon().exception(WITHIN_S) is LEFT_OVER


def test_abandoned_before_it_began(loop: ThreadLoop) -> None:
    """What never began needs no undoing, and Python does not complain that nobody awaited it."""
    busy, gate = threading.Event(), threading.Event()

    async def hold_up() -> None:
        busy.set()
        gate.wait(WITHIN_S)  # blocks on purpose: what follows is to find the loop busy

    loop.submit(hold_up())
    assert busy.wait(WITHIN_S)
    rental = _Rental(ends=True)
    end = loop.submit(rental.rent(), too_late=rental.give_back).abandon()
    gate.set()
    assert end.exception(WITHIN_S) is None
    assert (rental.begun.is_set(), rental.given_back) == (False, [])
    gc.collect()


async def test_failed_clean_up_wins_over_the_cancellation(loop: ThreadLoop) -> None:
    """What could not be given back is told to who was cancelled: they pay for it."""
    failing = _Failing(LEFT_OVER)
    task = await joining(loop.submit(failing.run()))
    assert await asyncio.to_thread(failing.begun.wait, WITHIN_S)
    task.cancel()
    with pytest.raises(LeftOver) as caught:
        await task
    assert caught.value is LEFT_OVER
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


def test_failed_clean_up_wins_over_the_interrupt(loop: ThreadLoop, interrupted: _Interrupt) -> None:
    """What could not be given back is told to who pressed Ctrl-C."""
    failing = _Failing(LEFT_OVER)
    job = loop.submit(failing.run())
    assert failing.begun.wait(WITHIN_S)
    interrupted(job)
    with pytest.raises(LeftOver) as caught:
        job.result()
    assert caught.value is LEFT_OVER
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)


async def test_failed_undoing_wins(loop: ThreadLoop, interrupted: _Interrupt) -> None:
    """A success that comes too late and cannot be given back is told as well, to tasks and to threads."""
    rental = _Rental(ends=False, error=LEFT_OVER)
    task = await joining(loop.submit(rental.rent(), too_late=rental.give_back))
    assert await asyncio.to_thread(rental.begun.wait, WITHIN_S)
    task.cancel()
    with pytest.raises(LeftOver):
        await task
    job = _Rental(ends=True, error=LEFT_OVER).begin(loop)
    interrupted(job)
    with pytest.raises(LeftOver):
        job.result()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_coroutine_that_ends_programs(loop: ThreadLoop, error: BaseException) -> None:
    """Whatever a coroutine raises reaches who waits for it, and the loop lives on."""

    async def fail() -> None:
        raise error

    job = loop.submit(fail())
    assert job.wait(WITHIN_S)
    with pytest.raises(type(error)) as caught:
        job.result()
    assert caught.value is error
    assert _Rental(ends=True).begin(loop).result() == "rented"


def test_error_that_counts_as_nothing(loop: ThreadLoop) -> None:
    """An error that is false where it is asked for its truth ends the work all the same."""

    class Empty(Exception):
        def __len__(self) -> int:
            return 0

    async def fail() -> None:
        raise Empty

    job = loop.submit(fail())
    assert job.wait(WITHIN_S)
    assert isinstance(job._outcome.exception(), Empty)


def test_blocking_on_the_loops_own_thread(loop: ThreadLoop) -> None:
    """A listener that blocks on the loop that it is called on is told so, instead of standing still for ever."""
    inner: list[Job[str]] = []

    async def block(wait: Callable[[Job[str]], object]) -> None:
        inner.append(loop.submit(_Rental(ends=True).rent()))
        wait(inner[-1])

    waits: list[Callable[[Job[str]], object]] = [lambda job: job.wait(WITHIN_S), lambda job: job.result()]
    for wait in waits:
        with pytest.raises(RuntimeError, match="a listener must not block"):
            loop.submit(block(wait)).result()
    assert [job.result() for job in inner] == ["rented", "rented"]


@pytest.mark.parametrize("kind", [LookupError, asyncio.CancelledError], ids=["failed", "clean"])
def test_nothing_is_complained_of(caplog: pytest.LogCaptureFixture, kind: type[BaseException]) -> None:
    """A cancellation leaves no word in the log about futures that nobody looked at, whatever the clean-up brought."""

    async def cancel(loop: ThreadLoop) -> None:
        failing = _Failing(kind())
        task = await joining(loop.submit(failing.run()))
        assert await asyncio.to_thread(failing.begun.wait, WITHIN_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    gc.collect()
    caplog.clear()  # what came of other tests
    loop = ThreadLoop()
    asyncio.run(cancel(loop))
    loop.stop()
    gc.collect()
    assert caplog.messages == []


def test_stop_twice() -> None:
    """Stopping a loop that has stopped does no harm."""
    loop = ThreadLoop()
    loop.stop()
    loop.stop()
    assert not loop._thread.is_alive()


def test_private_loop_is_one_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that ask for it at the same first moment get the same loop."""
    made: list[ThreadLoop] = []
    both = threading.Barrier(2)

    class Slow(ThreadLoop):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            # Where two were being made at once, both would come here; one alone waits for nobody for long.
            concurrent.futures.wait([waiting.submit(both.wait, 0.2)])

    monkeypatch.setattr(loop_module, "ThreadLoop", Slow)
    monkeypatch.setattr(loop_module, "_the_loop", functools.cache(loop_module._the_loop.__wrapped__))
    with concurrent.futures.ThreadPoolExecutor(2) as waiting, concurrent.futures.ThreadPoolExecutor(2) as asking:
        found = list(asking.map(lambda _: private_loop(), range(2)))
    for loop in made:
        loop.stop()
    assert made == [found[0]] == [found[1]]
