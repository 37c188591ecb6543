# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals in the first and the last moment of a command's work."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from scherbelberg.cli.signals import Interrupted, run, signals_as_exceptions
from scherbelberg.concurrency.loop import Job, private_loop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows sends itself no SIGTERM")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def _rent() -> str:
    return "rented"


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_last_moment(monkeypatch: pytest.MonkeyPatch, is_cancelled: bool) -> None:
    """A signal that comes when the work is over, before that is noticed, undoes it, unless it was to be finished."""
    undone: list[str] = []
    outcome = Job.outcome

    async def undo(what: str) -> None:
        undone.append(what)

    def late(job: Job[Any]) -> Any:
        monkeypatch.setattr(Job, "outcome", outcome)
        os.kill(os.getpid(), signal.SIGTERM)
        return outcome(job)

    monkeypatch.setattr(Job, "outcome", late)
    with pytest.raises(Interrupted) as caught:
        run(_rent(), too_late=undo, on_first="", is_cancelled=is_cancelled)
    assert (caught.value.exit_code, undone) == (143, ["rented"] if is_cancelled else [])


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_first_moment(monkeypatch: pytest.MonkeyPatch, is_cancelled: bool) -> None:
    """A signal that comes right before the work begins leaves nothing of it behind, or all of it done."""
    done: list[str] = []
    submit = type(private_loop()).submit

    async def work() -> str:
        done.append("rented")
        return "rented"

    async def undo(what: str) -> None:
        done.remove(what)

    def early(*given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return submit(*given, **named)

    monkeypatch.setattr(type(private_loop()), "submit", early)
    with pytest.raises(Interrupted) as caught:
        run(work(), too_late=undo, on_first="", is_cancelled=is_cancelled)
    assert (caught.value.exit_code, done) == (143, [] if is_cancelled else ["rented"])


@pytest.mark.parametrize("at", range(1, 2 * len(SIGNALS) + 1))
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_while_it_is_handed_over(monkeypatch: pytest.MonkeyPatch, is_cancelled: bool, at: int) -> None:
    """A signal that comes while one handler takes over from another counts, and all handlers are put back."""
    left: list[str] = []
    calls: list[int] = []
    hand_over = signal.signal

    async def work() -> str:
        left.append("rented")
        return "rented"

    async def undo(what: str) -> None:
        left.remove(what)

    def hand(number: int, handler: Any) -> Any:
        before = hand_over(number, handler)
        calls.append(number)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return before

    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_as_exceptions():
        around = [signal.getsignal(number) for number in SIGNALS]
        monkeypatch.setattr(signal, "signal", hand)
        with pytest.raises(Interrupted):
            run(work(), too_late=undo, on_first="", is_cancelled=is_cancelled)
        monkeypatch.setattr(signal, "signal", hand_over)
        assert [signal.getsignal(number) for number in SIGNALS] == around
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert len(calls) >= at
    if is_cancelled:
        assert left == []
