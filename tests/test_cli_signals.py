# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals in the first and the last moment of a command's work."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from scherbelberg.cli.interrupts import Interrupted, run
from scherbelberg.threadloop import Job, private_loop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows sends itself no SIGTERM")


async def _rent() -> str:
    return "rented"


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_last_moment(monkeypatch: pytest.MonkeyPatch, is_cancelled: bool) -> None:
    """A signal that comes when the work is over, before that is noticed, undoes it, unless it was to be finished."""
    undone: list[str] = []
    result = Job.result

    async def undo(what: str) -> None:
        undone.append(what)

    def late(job: Job[Any]) -> Any:
        monkeypatch.setattr(Job, "result", result)
        os.kill(os.getpid(), signal.SIGTERM)
        return result(job)

    monkeypatch.setattr(Job, "result", late)
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
