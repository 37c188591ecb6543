# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What happens while it happens: events for progress displays, logs and programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Literal, TypeVar

from attrs import field, frozen

E = TypeVar("E")
_LOG = logging.getLogger("scherbelberg")


class Phase(StrEnum):
    """Phases of a cluster's life; the words are stable."""

    PLAN = "plan"
    SOLVE = "solve"
    CREDENTIALS = "credentials"
    NETWORK = "network"
    RENT = "rent"
    REACH = "reach"
    PUSH = "push"
    HOSTKEY = "hostkey"
    DOWNLOAD = "download"
    MINIFORGE = "miniforge"
    ENVIRONMENT = "environment"
    TLS = "tls"
    SERVICE = "service"
    PROOF = "proof"
    LOGS = "logs"
    DISK = "disk"
    DELETE = "delete"
    EMPTY = "empty"


State = Literal["start", "progress", "done", "skipped", "failed"]


@frozen(kw_only=True)
class Event:
    """Something that happened.

    Args:
        node: Name of the node concerned, or None for the cluster.
        phase: In which phase.
        state: What happened to the phase.
        detail: A few words for people.
        done: How much is done, in the phase's own unit, or None.
        total: Of how much, or None.
        at_s: Seconds on the monotonic clock.
    """

    phase: Phase
    state: State
    node: str | None = None
    detail: str = ""
    done: int | None = None
    total: int | None = None
    at_s: float = field(factory=time.monotonic)


Listener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Listen to nothing."""
    del event


class Stopwatch:
    """Collects how long each phase took over all nodes: first start to last end.

    Args:
        listener: Where events go on to.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._starts: dict[Phase, float] = {}
        self._ends: dict[Phase, float] = {}

    def __call__(self, event: Event) -> None:
        """Note the time of an event and pass it on."""
        if event.state == "start":
            self._starts.setdefault(event.phase, event.at_s)
        elif event.state in {"done", "skipped", "failed"}:
            self._starts.setdefault(event.phase, event.at_s)
            self._ends[event.phase] = event.at_s
        self._listener(event)

    @property
    def seconds(self) -> dict[str, float]:
        """Phase to seconds, in the order in which phases began."""
        return {
            phase.value: round(self._ends[phase] - start, 3)
            for phase, start in self._starts.items()
            if phase in self._ends
        }


#: Name of the log of what users should know although they did not ask, which the command line shows.
NOTICES = "scherbelberg.notices"
_NOTICE_LOG = logging.getLogger(NOTICES)


def notice(text: str, *, about: str) -> None:
    """Tell users something.

    Args:
        text: A sentence.
        about: What it is about; whoever shows it may leave out the second one about the same.
    """
    _NOTICE_LOG.warning("%s", text, extra={"about": about})


class CarriedExit(Exception):
    """Carries an exception that would end the private loop: asyncio lets SystemExit and KeyboardInterrupt through."""


def guarded_listener(listener: Callable[[E], None]) -> Callable[[E], None]:
    """Make a caller's function safe to be called on the private loop, whatever it raises.

    An Exception is dropped, and the first one logged. What is no Exception, such as SystemExit, goes on to whoever
    waits for the work.

    Args:
        listener: The caller's function.
    """
    has_failed = False

    def call(event: E) -> None:
        nonlocal has_failed
        try:
            listener(event)
        except (SystemExit, KeyboardInterrupt) as error:
            raise CarriedExit from error
        except CarriedExit:
            raise  # from a function that was made safe before
        except Exception:  # noqa: BLE001 - a caller's function
            if not has_failed:
                has_failed = True
                _LOG.exception("A listener failed; the work goes on, and its further errors are not shown.")

    return call


#: What takes lines: a function of one text, or a logger, which gets failures as warnings.
Log = Callable[[str], object] | logging.Logger


def line(event: Event) -> str:
    """Write an event as one line, such as ``worker000: rent done (cx23 in fsn1)``."""
    place = f"{event.node}: " if event.node else ""
    count = f" {event.done}/{event.total}" if event.done is not None and event.total is not None else ""
    detail = f" ({event.detail})" if event.detail else ""
    return f"{place}{event.phase.value} {event.state}{count}{detail}"


def with_log(listen: Listener, log: Log | None) -> Listener:
    """Make one listener of two.

    Args:
        listen: Is given events.
        log: Is given lines of text; None for nobody.
    """
    if log is None:
        return listen
    write = log

    def write_line(event: Event) -> None:
        if not isinstance(write, logging.Logger):
            write(line(event))
        else:
            write.log(logging.WARNING if event.state == "failed" else logging.INFO, "%s", line(event))

    # Each on its own: the one's error does not silence the other.
    each = (guarded_listener(listen), guarded_listener(write_line))

    def tell(event: Event) -> None:
        for one in each:
            one(event)

    return tell
