# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clock of deadlines, while the program runs, is stopped, or sleeps with its computer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from scherbelberg.concurrency import suspend
from scherbelberg.concurrency.loop import ThreadLoop
from scherbelberg.concurrency.suspend import BEAT_S, CLOCK, Clock, despite_standstills
from scherbelberg.concurrency.waiting import limited, until
from scherbelberg.errors import NodeUnreachable, WaitTimeout

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
    monkeypatch.setattr(suspend, "time", module)
    return found


@pytest.fixture
def clock(times: Times) -> Clock:
    """A clock that relies on beats."""
    found = Clock()
    found.begin()
    return found


def test_without_beats(times: Times) -> None:
    """Where nothing shows that the program runs, all time counts."""
    clock = Clock()
    before_s = clock.now_s
    times.move(3600)
    assert (clock.now_s - before_s, clock.standstills) == (3600, 0)


def test_running(clock: Clock, times: Times) -> None:
    """While the program runs, be it slowly, all time counts."""
    before_s = clock.now_s
    for seconds in (BEAT_S, 4.5, BEAT_S):
        times.move(seconds)
        clock.beat()
    assert (clock.now_s - before_s, clock.standstills) == (4.5 + 2 * BEAT_S, 0)


def test_stopped(clock: Clock, times: Times) -> None:
    """Of the time for which a program was stopped, no more than a beat counts; who looks first sees it."""
    before_s = clock.now_s
    times.move(3600)
    assert (clock.now_s - before_s, clock.standstills) == (BEAT_S, 1)
    times.move(2)
    clock.beat()
    assert (clock.now_s - before_s, clock.standstills) == (BEAT_S + 2, 1)


def test_suspended(clock: Clock, times: Times) -> None:
    """Where the monotonic clock stands while the computer is suspended, the time of day tells of it."""
    before_s = clock.now_s
    times.move(0.5, suspended=3600)
    assert (clock.now_s - before_s, clock.standstills) == (0.5, 1)


def test_set_back(clock: Clock, times: Times) -> None:
    """That the time of day is set back is no standstill."""
    times.move(BEAT_S, suspended=-7200)
    assert clock.standstills == 0


def test_end(clock: Clock, times: Times) -> None:
    """When all that made it beat has ended, all time counts again, and so it does in a forked child."""
    clock.begin()
    clock.end()
    clock.end()
    times.move(60)
    assert clock.standstills == 0
    clock.begin()
    clock.forget()
    times.move(60)
    assert clock.standstills == 0


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
    async with limited(3) as limit:
        times.move(3600)
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with limited(0) as limit:
            await asyncio.Event().wait()
    assert limit.expired()


async def test_again(clock: Clock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed while the program stood still is done again; other failures stay."""
    monkeypatch.setattr(suspend, "CLOCK", clock)
    standstills = iter([7.0, 3600.0, 0.0])

    async def work() -> None:
        times.move(next(standstills))
        raise NodeUnreachable("The connection was lost.", node="worker000")

    with pytest.raises(NodeUnreachable):
        await despite_standstills(work, NodeUnreachable)
    assert list(standstills) == []


async def test_again_and_again(clock: Clock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at every try is not tried for ever, however often the program is stopped."""
    monkeypatch.setattr(suspend, "CLOCK", clock)
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        times.move(3600)
        raise NodeUnreachable("The connection was lost.", node="worker000")

    with pytest.raises(NodeUnreachable):
        await despite_standstills(work, NodeUnreachable)
    assert tries == 4


async def test_other_errors(clock: Clock, times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no loss is raised, also after a standstill."""
    monkeypatch.setattr(suspend, "CLOCK", clock)

    async def work() -> None:
        times.move(3600)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await despite_standstills(work, NodeUnreachable)
