# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What was tried in vain for the nodes of a cluster, as documents and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import asdict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scherbelberg.errors import Tried

_WORDS = {"sold_out": "no capacity", "quota": "limit reached", "failed": "failed"}


def tries_document(tried: Iterable[Tried]) -> list[dict[str, str]]:
    """Describe what was tried."""
    return [asdict(row) for row in tried]


def print_tries(tried: Iterable[Mapping[str, str]], console: Console, *, message: str = "") -> None:
    """Print what was tried, a row for all nodes of which the same was said, but for their names.

    Args:
        tried: As `tries_document` makes it; nothing is printed if nothing was tried in vain.
        console: Where.
        message: What is told below of the failure: its words are not told here as well.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    said: dict[str, str] = {}

    def is_below(row: Mapping[str, str]) -> bool:
        return row["outcome"] == "failed" and row["said"] in message

    for row in sorted(tried, key=lambda row: not is_below(row)):
        alike = row["said"].replace(row["node"], "NODE")
        words = "see below" if is_below(row) else row["said"]
        key = (row["server_type"], row["location"], _WORDS[row["outcome"]], said.setdefault(alike, words))
        rows.setdefault(key, []).append(row["node"])
    if not rows:
        return
    table = Table(title="Tried in vain", title_justify="left", pad_edge=False, box=None)
    for column in ("node", "type", "location", "outcome", "what was said"):
        table.add_column(column, overflow="fold")
    for cells, nodes in rows.items():
        table.add_row(_nodes(nodes), *(Text(cell) for cell in cells))
    console.print(table)


def _nodes(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
