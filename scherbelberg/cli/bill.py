# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg bill``, and in which words bills are told."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.options import json_option, voice_options
from scherbelberg.cli.output import SCHEMA, Json, out, say, speaker
from scherbelberg.errors import BadInput
from scherbelberg.settings import endpoint_in, home_folder

if TYPE_CHECKING:
    from rich.console import Console

    from scherbelberg.history import Damage
    from scherbelberg.ledger import Entry

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z")
UNKNOWN = "unknown"


@click.command()
@click.option("--month", metavar="YYYY-MM", help="Only this calendar month of UTC, cluster by cluster.")
@json_option
@voice_options
def bill(month: str | None, as_json: bool) -> None:
    """Sum up what clusters have cost that were given back from this computer; asks nobody."""
    if month is not None and not _MONTH.match(month):
        raise BadInput(f"A month of '{month}' cannot be: write it as 2026-11.")
    from scherbelberg.history import History  # noqa: PLC0415 - heavy

    history = History(home_folder())
    entries, damages = history.read()
    document = bill_document(entries, damages, endpoint=endpoint_in(), month=month)
    for damage in damages:
        say(f"Line {damage.line} of {history.path} makes no sense and is left out: {damage.reason}")
    if as_json:
        speaker().answer(document)
    else:
        _print(document, out())
        say("Clusters that live are not in it: scherbelberg ls")


def bill_document(entries: tuple[Entry, ...], damages: tuple[Damage, ...], *, endpoint: str, month: str | None) -> Json:
    """Describe what clusters have cost.

    Args:
        entries: Of all clusters that are gone.
        damages: Lines of the history that make no sense.
        endpoint: Only of this API.
        month: Only what is charged for this calendar month, or None for all.

    Returns:
        JSON values; money is decimal text, times are epoch seconds.
    """
    from scherbelberg.ledger import NOT_COUNTED, by_currency, by_month, entry_document, is_of  # noqa: PLC0415 - heavy
    from scherbelberg.pricing import write_price  # noqa: PLC0415

    found = [entry for entry in entries if entry.endpoint == endpoint and (month is None or is_of(entry, month))]
    sums = [one for one in by_month(found) if month in {None, one.month}]
    return {
        "schema": SCHEMA,
        "endpoint": endpoint,
        "month": month,
        "clusters": [entry_document(entry) for entry in found],
        "sums": [
            {"month": one.month, "clusters": one.clusters, "cost": write_price(one.price) | {"currency": one.currency}}
            for one in sums
        ],
        "totals": [write_price(price) | {"currency": currency} for currency, price in by_currency(sums).items()],
        "unknown": [entry.uid for entry in found if entry.price is None],
        "not_counted": [NOT_COUNTED],
        "damaged": [{"line": damage.line, "reason": damage.reason} for damage in damages],
    }


def _print(document: Json, console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415 - heavy

    if not document["clusters"]:
        console.print("Nothing was given back." if document["month"] is None else "Nothing is charged for this month.")
        return
    table = Table(pad_edge=False, box=None)
    head, rows = _by_month(document) if document["month"] is None else _by_cluster(document)
    for column in head:
        table.add_column(column, no_wrap=True, justify="right" if column in {"net", "gross"} else "left")
    for row in rows:
        table.add_row(*row)
    for total in document["totals"]:
        table.add_row("all", *[""] * (len(head) - 4), *_cells(total), style="bold")
    console.print(table)
    if document["unknown"] and document["month"] is None:
        console.print(f"\nNot in it, since their price is unknown: {', '.join(document['unknown'])}", highlight=False)
    words = ", ".join(document["not_counted"])
    console.print(f"\nStarted hours count whole, IPv4 is in it; {words} is not counted.", highlight=False)


def _by_month(document: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("month", "clusters", "net", "gross", "currency")
    return head, [(row["month"], str(row["clusters"]), *_cells(row["cost"])) for row in document["sums"]]


def _by_cluster(document: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("cluster", "owner", "uid", "given back", "machines", "net", "gross", "currency")
    rows: list[tuple[str, ...]] = []
    for row in document["clusters"]:
        end = f"{datetime.fromtimestamp(row['ended_s'], UTC):%Y-%m-%d %H:%M}"
        share = {"currency": row["currency"]} | row["months"][document["month"]] if row["months"] else None
        names = (row["prefix"], row["owner"], row["uid"], end, str(len(row["nodes"])))
        rows.append((*names, *_cells(share)))
    return head, rows


def _cells(price: Json | None) -> tuple[str, str, str]:
    if price is None:
        return UNKNOWN, UNKNOWN, ""
    return _money(price["net"]), _money(price["gross"]), price["currency"]


def _money(text: str) -> str:
    return f"{Decimal(text):.4f}"


def in_words(price: Json | None) -> str:
    """A price of a document for people.

    Args:
        price: Net, gross and currency, or None.
    """
    return f"{_money(price['net'])} {price['currency']} net, {_money(price['gross'])} gross" if price else UNKNOWN


def bill_lines(document: Json) -> list[str]:
    """Tell what clusters have cost that were just given back, a line for each.

    Args:
        document: As `story.returned` makes it.
    """
    entries: dict[str, list[Json]] = {}
    for entry in document["bills"]:
        entries.setdefault(entry["uid"], []).append(entry)
    return [_line(parts) for parts in entries.values()]


def _line(parts: list[Json]) -> str:
    from scherbelberg.holdings import words_for  # noqa: PLC0415 - heavy
    from scherbelberg.ledger import NOT_COUNTED, entry_document, read_entry, whole  # noqa: PLC0415

    one = whole([read_entry(part) for part in parts])
    machines = "1 machine" if len(one.machines) == 1 else f"{len(one.machines)} machines"
    cost = entry_document(one)["cost"]
    price = in_words(cost | {"currency": one.currency} if cost else None)
    life = words_for(one.ended_s - one.created_s)
    return f"Cluster {one.prefix} ({machines}, {life}) has cost {price}; {NOT_COUNTED} is not counted."
