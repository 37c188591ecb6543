# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The table of what was tried in vain."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from scherbelberg.cli.output import print_tries, tries_document
from scherbelberg.errors import FailedAttempt


def _row(node: str, **changes: Any) -> FailedAttempt:
    values = {"server_type": "cx23", "location": "fsn1", "outcome": "sold_out", "said": "error [during] placement"}
    return FailedAttempt(node=node, **(values | changes))


def _printed(*rows: FailedAttempt, message: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    print_tries(tries_document(rows), console, message=message)
    text: str = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO of above
    return [" ".join(line.split()) for line in text.splitlines()]


def test_table() -> None:
    """Nodes of which the same was said share a row; words are shown as they are."""
    failed = _row("worker001", outcome="failed", said="Bootstrap of node worker001 failed.", location="nbg1")
    assert _printed(
        _row("worker000"), _row("worker001"), failed, _row("worker002"), _row("worker000", outcome="quota")
    ) == [
        "Tried in vain",
        "node type location outcome what was said",
        "worker000 and 2 more cx23 fsn1 no capacity error [during] placement",
        "worker001 cx23 nbg1 failed Bootstrap of node worker001 failed.",
        "worker000 cx23 fsn1 limit reached error [during] placement",
    ]


def test_the_same_but_for_the_name() -> None:
    """What several nodes say alike is one row, and what the error's sentence says is not said twice."""
    rows = [_row(name, outcome="failed", said=f"Bootstrap of node {name} failed: no disk.") for name in ("w1", "w2")]
    last = _row("scheduler", outcome="failed", said="Bootstrap of node scheduler failed: no disk.")
    assert _printed(*rows) == [
        "Tried in vain",
        "node type location outcome what was said",
        "w1 and 1 more cx23 fsn1 failed Bootstrap of node w1 failed: no disk.",
    ]
    assert _printed(*rows, last, message=f"{last.said} What the nodes have logged is kept.") == [
        "Tried in vain",
        "node type location outcome what was said",
        "scheduler and 2 more cx23 fsn1 failed see below",
    ]


def test_nothing_was_tried_in_vain() -> None:
    """Then there is no table."""
    assert _printed() == []
