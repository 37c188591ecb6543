# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What happens while it happens: events for progress displays, logs and programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Literal

from attrs import field, frozen


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


def ignore(event: Event) -> None:
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
