# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""An API that has changed: what the emulated cloud answers is held against its description, and changed after that."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from description import Witness
from tornado.httputil import HTTPServerRequest

from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread

Json = dict[str, Any]
#: Is given a kind, such as ``servers``, and one of its rows, which it may change.
Change = Callable[[str, Json], object]
#: What it takes to find and to delete something.
NEEDED = {"id", "name", "labels"}
_SINGLE = {"pricing": "pricing", "server": "servers", "network": "networks", "firewall": "firewalls"}
#: Stands for a field that is not there.
ABSENT = object()
#: What no field is ready for, each in its own way.
NONSENSE: tuple[Any, ...] = (ABSENT, None, "text", 7, -1.5, True, [], {}, [None], [{}], {"id": None})


def keep(_kind: str, _row: Json) -> None:
    """Change nothing."""


class Drift:
    """Sees all answers before they are sent, and changes rows.

    Attributes:
        change: Changes one.
        total: What lists say of their length, or ``...`` for the truth.
        next_page: What they say of the page after them, or ``...`` for the truth.
        witness: Sees them as the emulated cloud means them.
    """

    def __init__(self) -> None:
        self.change: Change = keep
        self.total: Any = ...
        self.next_page: Any = ...
        self.witness = Witness()

    def __call__(self, request: HTTPServerRequest, status: int, body: Any) -> None:
        """Change an answer."""
        self.witness(request, status, body)
        if not isinstance(body, dict):
            return
        if self.total is not ... and "meta" in body:
            with_nonsense(body["meta"], "pagination", "total_entries", value=self.total)
        if self.next_page is not ... and "meta" in body:
            with_nonsense(body["meta"], "pagination", "next_page", value=self.next_page)
        for kind, value in body.items():
            if isinstance(value, list):
                body[kind] = [self._changed(kind, row) for row in value]
            elif kind in _SINGLE:
                body[kind] = self._changed(_SINGLE[kind], value)

    def forget(self) -> None:
        """Answer as the cloud means it again."""
        self.change, self.total, self.next_page = keep, ..., ...

    def _changed(self, kind: str, row: Any) -> Any:
        changed = copy.deepcopy(row)  # the cloud's own state stays as it is
        self.change(kind, changed)
        return changed


@contextmanager
def drifting(folder: Path) -> Iterator[tuple[SandboxThread, Drift]]:
    """An emulated cloud with scripted hosts whose answers a test changes.

    Args:
        folder: Where it lives.
    """
    drift = Drift()
    with SandboxThread(folder, Options(hosts="scripted", time_scale=0.02), witness=drift) as running:
        yield running, drift
    assert drift.witness.complaints == []


def with_nonsense(row: Json, *path: str, value: Any) -> None:
    """Put a value where a row has a field, or take that away; a field within what is nonsense already stays so.

    Args:
        row: The row, which is changed.
        path: Names of the field and of those that it is in.
        value: The value, or `ABSENT`.
    """
    for name in path[:-1]:
        row = row.get(name, {}) if isinstance(row, dict) else {}
    if value is ABSENT:
        row.pop(path[-1], None)
    else:
        row[path[-1]] = copy.deepcopy(value)
