# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Events as lines, for functions and for loggers."""

from __future__ import annotations

import logging

import pytest

from scherbelberg.events import Event, Phase, ignore
from scherbelberg.told import line, told

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
    tell = told(heard.append, lines.append)
    tell(_DONE)
    assert (heard, lines) == ([_DONE], [line(_DONE)])
    assert told(ignore, None) is ignore


def test_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """A logger gets what happens as information and failures as warnings, with no formatting of ours undone."""
    logger = logging.getLogger("test.told")
    with caplog.at_level(logging.INFO, logger.name):
        for event in (_DONE, _FAILED):
            told(ignore, logger)(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, line(_DONE)),
        (logging.WARNING, line(_FAILED)),
    ]


def test_errors_of_one_do_not_silence_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails does not keep its line from the log, nor a log that fails the event from the listener."""
    heard: list[object] = []

    def fail(_: object) -> None:
        raise ValueError

    told(fail, heard.append)(_DONE)
    told(heard.append, fail)(_DONE)
    assert heard == [line(_DONE), _DONE]
    assert len(caplog.records) == 2
