# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Waiting: deadlines, pauses, works side by side, works that must end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace

import pytest

from scherbelberg.concurrency import waiting
from scherbelberg.concurrency.loop import ThreadLoop
from scherbelberg.concurrency.waiting import (
    BEAT_S,
    CLOCK,
    Deadline,
    SuspendAwareClock,
    gather_or_cancel,
    pause,
    retry_after_suspend,
    shield_to_end,
    timeout_after,
    until,
)
from scherbelberg.errors import NodeUnreachable, ScherbelbergError, WaitTimeout


class _Broken(Exception):
    pass


class _Clock:
    def __init__(self, times: Iterator[float]) -> None:
        self._times = times

    @property
    def now_s(self) -> float:
        return next(self._times)


def _answers(*values: object) -> Callable[[], Awaitable[object]]:
    """A probe that answers one value after the other, and the last one for ever."""
    left = list(values)

    async def probe() -> object:
        return left.pop(0) if len(left) > 1 else left[0]

    return probe


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were asked for; they take no time."""
    asked: list[float] = []

    async def note(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(waiting, "pause", note)
    return asked


def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline counts down on the program's clock and stays at nothing."""
    times = iter([100.0, 100.0, 104.5, 105.0, 200.0])
    monkeypatch.setattr(waiting, "CLOCK", _Clock(times))
    deadline = Deadline(5)
    assert deadline.within_s == 5
    assert [deadline.left_s for _ in range(4)] == [5, 0.5, 0, 0]


async def test_pause_ends() -> None:
    """A pause of no time ends."""
    await pause(0)


@pytest.mark.parametrize("answer", ["there", 0, False, "", ()])
async def test_first_answer(answer: object, pauses: list[float]) -> None:
    """The first answer that is not None ends the wait, false ones too, without any pause."""
    assert await until(_answers(answer, "later"), every_s=1, within_s=60, what="It") == answer
    assert pauses == []


async def test_pauses_grow(pauses: list[float]) -> None:
    """Pauses grow from try to try up to the longest."""
    probe = _answers(None, None, None, None, None, "there")
    assert await until(probe, every_s=0.1, growth=2, longest_s=0.5, within_s=1000, what="It") == "there"
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


async def test_pauses_are_equal_unless_asked(pauses: list[float]) -> None:
    """Without a growth all pauses are the same."""
    assert await until(_answers(None, None, None, 1), every_s=3, within_s=1000, what="It") == 1
    assert pauses == [3, 3, 3]


async def test_timeout() -> None:
    """At the deadline the error says what did not happen, within how long, where, and what was seen last."""
    with pytest.raises(WaitTimeout) as caught:
        await until(_answers(None), every_s=0.001, within_s=0.02, what="Spring", node="worker000", last=lambda: "snow")
    assert caught.value.message == "Spring did not happen within 0.02 s (last seen: snow)."
    assert (caught.value.node, caught.value.within_s) == ("worker000", 0.02)


async def test_pause_ends_at_deadline() -> None:
    """A pause is no longer than what is left, and one more look is taken at the end."""
    looks = 0

    async def probe() -> None:
        nonlocal looks
        looks += 1

    async with asyncio.timeout(10):
        with pytest.raises(WaitTimeout):
            await until(probe, every_s=3600, within_s=0.02, what="It")
    assert looks == 2


async def test_no_time_is_enough_for_one_look() -> None:
    """With a deadline of nothing the probe is asked once, and its answer counts."""
    assert await until(_answers("there"), every_s=1, within_s=0, what="It") == "there"
    with pytest.raises(WaitTimeout):
        await until(_answers(None), every_s=1, within_s=0, what="It")


async def test_probe_that_hangs() -> None:
    """A probe that is under way at the deadline is cancelled and cleans up before the error is raised."""
    cleaned = False

    async def probe() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            # In a task, which takes a while for sure: a thread's answer may be there at once since Python 3.14.
            await asyncio.create_task(asyncio.to_thread(int))
            cleaned = True

    async with asyncio.timeout(10):
        with pytest.raises(WaitTimeout):
            await until(probe, every_s=1, within_s=0.02, what="It")
    assert cleaned


@pytest.mark.parametrize("error", [_Broken("no"), TimeoutError("its own"), ScherbelbergError("no")])
async def test_probe_that_fails(error: Exception) -> None:
    """A probe's own error ends the wait as it is, a timeout of its own too."""

    async def probe() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await until(probe, every_s=1, within_s=60, what="It")
    assert caught.value is error


async def test_until_can_be_cancelled() -> None:
    """Cancelling the wait cancels the probe and is raised."""
    begun = asyncio.Event()

    async def probe() -> str | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    task = asyncio.create_task(until(probe, every_s=1, within_s=60, what="It"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_together_keeps_the_order() -> None:
    """Results stand in the order of the works, whichever ends first."""
    second_done = asyncio.Event()

    async def first() -> str:
        await second_done.wait()
        return "first"

    async def second() -> str:
        second_done.set()
        return "second"

    assert await gather_or_cancel(first(), second()) == ["first", "second"]


async def test_together_of_nothing() -> None:
    """No works have no results."""
    assert await gather_or_cancel() == []


class _Slow:
    """A work that runs until it is cancelled and then takes a moment to clean up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.stopping = asyncio.Event()
        self.cleaned = False

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopping.set()
            await self.may_end.wait()
            self.cleaned = True


async def test_together_stops_the_others() -> None:
    """When one fails, the others are stopped and waited for, and its error alone is raised."""
    slow = _Slow()

    async def broken() -> None:
        await slow.begun.wait()
        raise _Broken

    task = asyncio.create_task(gather_or_cancel(slow.run(), broken()))
    await slow.stopping.wait()
    assert not task.done()
    slow.may_end.set()
    with pytest.raises(_Broken):
        await task
    assert slow.cleaned


async def test_together_is_cancelled_as_a_whole() -> None:
    """Cancelling it, once or again, cancels all and waits for them."""
    works = [_Slow(), _Slow()]
    task = asyncio.create_task(gather_or_cancel(*(work.run() for work in works)))
    for work in works:
        await work.begun.wait()
    task.cancel()
    for work in works:
        await work.stopping.wait()
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
        assert not work.cleaned
        work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(work.cleaned for work in works)


async def test_together_with_two_errors() -> None:
    """Of several errors the first is raised, and the others disturb nobody."""

    async def broken(text: str) -> None:
        raise _Broken(text)

    with pytest.raises(_Broken, match="one"):
        await gather_or_cancel(broken("one"), broken("two"))


class _Long:
    """A work that must end, and is told when it may."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False
        self._error = error

    async def run(self) -> str:
        self.begun.set()
        await self.may_end.wait()
        self.ended = True
        if self._error is not None:
            raise self._error
        return "done"


async def test_finish_returns() -> None:
    """Undisturbed it returns the work's result."""
    work = _Long()
    work.may_end.set()
    assert await shield_to_end(work.run()) == "done"


async def test_finish_raises() -> None:
    """Undisturbed it raises the work's error."""
    work = _Long(_Broken())
    work.may_end.set()
    with pytest.raises(_Broken):
        await shield_to_end(work.run())


async def _cancelled_thrice(work: _Long) -> asyncio.Task[str]:
    task = asyncio.create_task(shield_to_end(work.run()))
    await work.begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
        assert not work.ended
    work.may_end.set()
    return task


async def test_finish_is_not_stopped() -> None:
    """However often the caller is cancelled, the work ends; then the caller is."""
    work = _Long()
    task = await _cancelled_thrice(work)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


async def test_finish_prefers_the_error() -> None:
    """When the work failed, its error tells more than the cancellation."""
    work = _Long(_Broken("left over"))
    task = await _cancelled_thrice(work)
    with pytest.raises(_Broken, match="left over"):
        await task


async def test_finish_under_a_timeout() -> None:
    """A timeout around it comes when the work has ended."""
    work = _Long()
    asyncio.get_running_loop().call_later(0.05, work.may_end.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await shield_to_end(work.run())
    assert work.ended


WITHIN_S = 20


class Times:
    """The computer's two clocks, which stand until they are moved."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.time_s = 1.7e9

    def move(self, seconds: float, *, suspended: float = 0.0) -> None:
        """Let time pass.

        Args:
            seconds: How much on both.
            suspended: How much more on the time of day.
        """
        self.monotonic_s += seconds
        self.time_s += seconds + suspended


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    """Clocks in place of the computer's."""
    found = Times()
    module = SimpleNamespace(monotonic=lambda: found.monotonic_s, time=lambda: found.time_s)
    monkeypatch.setattr(waiting, "time", module)
    return found


@pytest.fixture
def clock(times: Times) -> SuspendAwareClock:
    """A clock that relies on beats."""
    found = SuspendAwareClock()
    found.begin()
    return found


def test_without_beats(times: Times) -> None:
    """Where nothing shows that the program runs, all time counts."""
    clock = SuspendAwareClock()
    before_s = clock.now_s
    times.move(3600)
    assert (clock.now_s - before_s, clock.suspensions) == (3600, 0)


def test_running(clock: SuspendAwareClock, times: Times) -> None:
    """While the program runs, be it slowly, all time counts."""
    before_s = clock.now_s
    for seconds in (BEAT_S, 4.5, BEAT_S):
        times.move(seconds)
        clock.beat()
    assert (clock.now_s - before_s, clock.suspensions) == (4.5 + 2 * BEAT_S, 0)


def test_stopped(clock: SuspendAwareClock, times: Times) -> None:
    """Of the time for which a program was stopped, no more than a beat counts; who looks first sees it."""
    before_s = clock.now_s
    times.move(3600)
    assert (clock.now_s - before_s, clock.suspensions) == (BEAT_S, 1)
    times.move(2)
    clock.beat()
    assert (clock.now_s - before_s, clock.suspensions) == (BEAT_S + 2, 1)


def test_suspended(clock: SuspendAwareClock, times: Times) -> None:
    """Where the monotonic clock stands while the computer is suspended, the time of day tells of it."""
    before_s = clock.now_s
    times.move(0.5, suspended=3600)
    assert (clock.now_s - before_s, clock.suspensions) == (0.5, 1)


def test_set_back(clock: SuspendAwareClock, times: Times) -> None:
    """That the time of day is set back is no standstill."""
    times.move(BEAT_S, suspended=-7200)
    assert clock.suspensions == 0


def test_end(clock: SuspendAwareClock, times: Times) -> None:
    """When all that made it beat has ended, all time counts again, and so it does in a forked child."""
    clock.begin()
    clock.end()
    clock.end()
    times.move(60)
    assert clock.suspensions == 0
    clock.begin()
    clock.forget()
    times.move(60)
    assert clock.suspensions == 0


def test_private_loop() -> None:
    """The private loop makes the program's clock beat as long as it runs."""
    beats = threading.Semaphore(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CLOCK, "beat", beats.release)
        loop = ThreadLoop()
        try:
            assert [beats.acquire(timeout=WITHIN_S) for _ in range(3)] == [True, True, True]
        finally:
            loop.stop()


async def test_deadlines(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that wakes long after its deadline is not over: what it waits for gets its full time."""
    monkeypatch.setattr(CLOCK, "_loops", 1)
    answers = iter([None, "there"])

    async def probe() -> str | None:
        times.move(3600)
        return next(answers)

    assert await until(probe, every_s=0, within_s=10, what="The answer") == "there"
    with pytest.raises(WaitTimeout):
        await until(_never(times), every_s=0, within_s=10, what="The answer")


def _never(times: Times) -> Callable[[], Awaitable[None]]:
    async def probe() -> None:
        times.move(4)
        CLOCK.beat()

    return probe


async def test_limited(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands inside a limit is cancelled when its time has passed, and not before that."""
    monkeypatch.setattr(CLOCK, "_loops", 1)
    async with timeout_after(3) as limit:
        times.move(3600)
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with timeout_after(0) as limit:
            await asyncio.Event().wait()
    assert limit.expired()


async def test_again(clock: SuspendAwareClock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed while the program stood still is done again; other failures stay."""
    monkeypatch.setattr(waiting, "CLOCK", clock)
    standstills = iter([7.0, 3600.0, 0.0])

    async def work() -> None:
        times.move(next(standstills))
        raise NodeUnreachable("The connection was lost.", node="worker000")

    with pytest.raises(NodeUnreachable):
        await retry_after_suspend(work, NodeUnreachable)
    assert list(standstills) == []


async def test_again_and_again(clock: SuspendAwareClock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at every try is not tried for ever, however often the program is stopped."""
    monkeypatch.setattr(waiting, "CLOCK", clock)
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        times.move(3600)
        raise NodeUnreachable("The connection was lost.", node="worker000")

    with pytest.raises(NodeUnreachable):
        await retry_after_suspend(work, NodeUnreachable)
    assert tries == 4


async def test_other_errors(clock: SuspendAwareClock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no loss is raised, also after a standstill."""
    monkeypatch.setattr(waiting, "CLOCK", clock)

    async def work() -> None:
        times.move(3600)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await retry_after_suspend(work, NodeUnreachable)
