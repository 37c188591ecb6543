# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Events and the stopwatch that makes phase timings of them."""

from __future__ import annotations

import logging
import time

import pytest
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.events import Event, Phase, State, Stopwatch, ignore_events, line, with_log


def _event(phase: Phase, state: State, at_s: float) -> Event:
    return Event(phase=phase, state=state, at_s=at_s)


def test_phases_are_stable() -> None:
    """The words are these, in the order in which a cluster lives; displays and programs rely on them."""
    assert [phase.value for phase in Phase] == [
        "plan",
        "solve",
        "credentials",
        "network",
        "rent",
        "reach",
        "push",
        "hostkey",
        "download",
        "miniforge",
        "environment",
        "tls",
        "service",
        "proof",
        "logs",
        "disk",
        "delete",
        "empty",
    ]


def test_event_defaults() -> None:
    """An event is of the whole cluster and of now unless it says otherwise."""
    before = time.monotonic()
    event = Event(phase=Phase.PLAN, state="start")
    assert (event.node, event.detail, event.done, event.total) == (None, "", None, None)
    assert before <= event.at_s <= time.monotonic()
    ignore_events(event)


def test_stopwatch_passes_events_on() -> None:
    """Every event reaches the listener behind the stopwatch, unchanged and in order."""
    heard: list[Event] = []
    watch = Stopwatch(heard.append)
    states: tuple[State, ...] = ("start", "progress", "done", "skipped", "failed")
    events = [_event(Phase.TLS, state, at_s) for at_s, state in enumerate(states)]
    for event in events:
        watch(event)
    assert heard == events


def test_stopwatch_spans_all_nodes() -> None:
    """A phase takes from its first start on any node to its last end on any node, in the order of beginning."""
    watch = Stopwatch(ignore_events)
    for event in (
        _event(Phase.REACH, "start", 10),
        _event(Phase.TLS, "start", 11),
        _event(Phase.REACH, "start", 12),
        _event(Phase.REACH, "done", 13),
        _event(Phase.TLS, "failed", 14),
        _event(Phase.REACH, "progress", 20),
        _event(Phase.REACH, "done", 15.12345),
        _event(Phase.SERVICE, "skipped", 16),
        _event(Phase.PROOF, "start", 17),
    ):
        watch(event)
    assert list(watch.seconds.items()) == [("reach", 5.123), ("tls", 3), ("service", 0)]


@CALM
@given(st.lists(st.tuples(st.sampled_from(Phase), st.sampled_from(["start", "progress", "done", "skipped", "failed"]))))
def test_stopwatch_takes_any_order(rows: list[tuple[Phase, State]]) -> None:
    """No sequence of events confuses it, and no phase takes less than nothing."""
    watch = Stopwatch(ignore_events)
    for at_s, (phase, state) in enumerate(rows):
        watch(_event(phase, state, at_s))
    ended = {phase.value for phase, state in rows if state in {"done", "skipped", "failed"}}
    assert set(watch.seconds) == ended
    assert all(seconds >= 0 for seconds in watch.seconds.values())


_DONE = Event(phase=Phase.RENT, state="done", node="worker000", detail="100 % of it")
_FAILED = Event(phase=Phase.DELETE, state="failed", done=1, total=7)


def test_lines() -> None:
    """A line says where, which phase, what happened, how much and what else."""
    assert line(_DONE) == "worker000: rent done (100 % of it)"
    assert line(_FAILED) == "delete failed 1/7"


def test_a_function_and_a_listener() -> None:
    """Both hear of everything."""
    heard: list[Event] = []
    lines: list[str] = []
    tell = with_log(heard.append, lines.append)
    tell(_DONE)
    assert (heard, lines) == ([_DONE], [line(_DONE)])
    assert with_log(ignore_events, None) is ignore_events


def test_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """A logger gets what happens as information and failures as warnings, with no formatting of ours undone."""
    logger = logging.getLogger("test.told")
    with caplog.at_level(logging.INFO, logger.name):
        for event in (_DONE, _FAILED):
            with_log(ignore_events, logger)(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, line(_DONE)),
        (logging.WARNING, line(_FAILED)),
    ]


def test_errors_of_one_do_not_silence_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails does not keep its line from the log, nor a log that fails the event from the listener."""
    heard: list[object] = []

    def fail(_: object) -> None:
        raise ValueError

    with_log(fail, heard.append)(_DONE)
    with_log(heard.append, fail)(_DONE)
    assert heard == [line(_DONE), _DONE]
    assert len(caplog.records) == 2
