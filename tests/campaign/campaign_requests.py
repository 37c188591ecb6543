# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests as moments: something can be done right before the work of one, or right after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from description import Witness
from tornado.httputil import HTTPServerRequest

from scherbelberg.sandbox.api.http import ApiGateway
from scherbelberg.sandbox.api.rate_limit import Bucket
from scherbelberg.sandbox.server import SandboxThread

Side = Literal["before", "after"]


class _Arrivals(list[tuple[str, str]]):
    """The sandbox's own list of requests, which tells of each one that arrives."""

    def __init__(self, told: Callable[[str, str], None]) -> None:
        super().__init__()
        self._told = told

    def append(self, request: tuple[str, str]) -> None:
        super().append(request)
        self._told(*request)


class Counter:
    """Counts the requests of a sandbox, and acts at one of them."""

    def __init__(self) -> None:
        #: When requests arrived since the last reset, on the monotonic clock, and what they were.
        self.arrivals: list[tuple[float, str, str]] = []
        self.description = Witness()
        self._worked = 0
        self._act: tuple[Side, int, Callable[[], None]] | None = None
        self._gateway: ApiGateway | None = None

    def watch(self, sandbox: SandboxThread) -> None:
        """Begin to count."""
        gateway = sandbox.sandbox._gateway
        if gateway is None:
            raise AssertionError("the sandbox runs")
        gateway.requests = _Arrivals(self._arrived)
        self._gateway = gateway

    def reset(self) -> None:
        """Begin anew with all the requests that a project may send in an hour, and act at none."""
        if self._gateway is not None:
            self._gateway.bucket = Bucket()
        self.arrivals.clear()
        self._worked = 0
        self._act = None

    def at(self, side: Side, number: int, act: Callable[[], None]) -> None:
        """Act once, at a request to come.

        Args:
            side: Before its work or after it; there is no answer yet in either case.
            number: Which, counted from 1 since the last reset.
            act: Is called on the sandbox's thread.
        """
        self._act = (side, number, act)

    def witness(self, request: HTTPServerRequest, status: int, body: Any) -> None:
        """See a request whose work is done."""
        self.description(request, status, body)
        self._worked += 1
        self._look("after", self._worked)

    @property
    def count(self) -> int:
        """How many requests arrived since the last reset."""
        return len(self.arrivals)

    def _arrived(self, method: str, path: str) -> None:
        self.arrivals.append((time.monotonic(), method, path))
        self._look("before", self.count)

    def _look(self, side: Side, number: int) -> None:
        if self._act is not None and self._act[:2] == (side, number):
            act, self._act = self._act[2], None
            act()
