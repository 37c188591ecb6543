# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``bill``: what this computer gave back, by month and by cluster, each currency by itself, and nothing made up."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from catalogues import NOW_S
from priced import PRICES, SCHEDULER, WORKER
from schemas import read, unpromised
from shells import Shell

from scherbelberg.cli.documents import bill_document
from scherbelberg.cli.tables import bill_lines
from scherbelberg.cloud.resources import PriceList
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.history import Damage, History
from scherbelberg.inventory.ledger import Entry, entry, entry_document

pytestmark = pytest.mark.hosts("scripted")

DAY_S = 86400


def of(uid: str, days: float, prices: PriceList | None = PRICES, *, endpoint: str = "https://api") -> Entry:
    """An entry of two machines that lived for some days, from 18 November 2026 on."""
    rows = [evolve(one, labels=dict(one.labels) | {"uid": uid, "prefix": f"p-{uid}"}) for one in (SCHEDULER, WORKER)]
    (gone,) = group_clusters(rows)
    return entry(gone, prices, endpoint=endpoint, ended_s=NOW_S + days * DAY_S)


#: Two months, another currency, no price, and somewhere else.
ENTRIES = (
    of("a", 1),
    of("b", 30),
    of("c", 1, evolve(PRICES, currency="USD")),
    of("d", 30, None),
    of("e", 1, endpoint="http://sandbox"),
)


def test_sums() -> None:
    """Months and currencies are summed apart, what is unknown or elsewhere is in no sum."""
    found = bill_document(ENTRIES, (), endpoint="https://api", month=None)
    assert [one["uid"] for one in found["clusters"]] == ["a", "b", "c", "d"]
    sums = [(row["month"], row["cost"]["currency"], row["clusters"], row["cost"]["net"]) for row in found["sums"]]
    # Two machines at 0.0096 an hour: 24 hours, 720 hours of which 301 begin in November, and 24 hours again.
    assert sums == [
        ("2026-11", "EUR", 2, "6.2400"),
        ("2026-11", "USD", 1, "0.4608"),
        ("2026-12", "EUR", 1, "8.0448"),
    ]
    assert [(one["currency"], one["net"]) for one in found["totals"]] == [("EUR", "14.2848"), ("USD", "0.4608")]
    assert found["unknown"] == ["d"]


@pytest.mark.parametrize(
    ("month", "uids", "totals"),
    [
        ("2026-11", ["a", "b", "c", "d"], ["6.2400", "0.4608"]),
        ("2026-12", ["b", "d"], ["8.0448"]),
        ("2027-01", [], []),
    ],
)
def test_month(month: str, uids: list[str], totals: list[str]) -> None:
    """Of a month there is what is charged for it, or may be, and no other month's share."""
    found = bill_document(ENTRIES, (), endpoint="https://api", month=month)
    assert [one["uid"] for one in found["clusters"]] == uids
    assert [one["net"] for one in found["totals"]] == totals
    assert {row["month"] for row in found["sums"]} <= {month}


def test_schema() -> None:
    """The document is as its schema says, also with what is unknown and damaged."""
    damages = (Damage(line=3, reason="KeyError: 'uid'"),)
    found = bill_document(ENTRIES[:1], damages, endpoint="https://api", month="2026-11")
    assert unpromised("bill", read("bill", json.dumps(found))) == []
    assert read("bill", json.dumps(bill_document(ENTRIES, damages, endpoint="https://api", month=None)))


def test_command(shell: Shell) -> None:
    """The table has a row for each month, or each cluster of one; damaged lines are named, and nobody is asked."""
    assert shell("bill")[:2] == (0, "Nothing was given back.\n")
    history = History(shell.settings.home)
    for one in ENTRIES:
        history.append(evolve(one, endpoint=shell.settings.access.endpoint))
    with history.path.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    shell.monkeypatch.delenv("HCLOUD_TOKEN")
    code, output, complaints = shell("bill")
    rows = [line.split() for line in output.splitlines()]
    assert code == 0
    assert rows[1][:5] == ["2026-11", "3", "6.7008", "8.0410", "EUR"]
    assert ["all", "14.7456", "17.6947", "EUR"] in rows
    assert "Not in it, since their price is unknown: d" in output
    assert "traffic beyond the included is not counted" in output
    assert "Line 6 of" in complaints
    code, output, _ = shell("bill", "--month", "2026-12")
    rows = [line.split() for line in output.splitlines()]
    assert [(row[0], row[-3:]) for row in rows[1:4]] == [
        ("p-b", ["8.0448", "9.6538", "EUR"]),
        ("p-d", ["2", "unknown", "unknown"]),
        ("all", ["8.0448", "9.6538", "EUR"]),
    ]
    assert shell("bill", "--month", "2027-01")[1] == "Nothing is charged for this month.\n"
    code, _, complaints = shell("bill", "--month", "2026-13")
    assert (code, "Invalid month '2026-13'. Use a month such as 2026-11." in complaints) == (2, True)


def test_lines() -> None:
    """The bill of what was given back in two steps is one, and unknown if a part of it is."""
    first, second = of("a", 1), of("a", 2)
    (line,) = bill_lines({"bills": [entry_document(first), entry_document(second)]})
    assert line == (
        "Cluster p-a (4 machines, 2 d) has cost 1.3824 EUR net, 1.6589 gross; traffic beyond the included is not"
        " counted."
    )
    assert "has cost unknown;" in bill_lines({"bills": [entry_document(first), entry_document(of("a", 2, None))]})[0]
    assert len(bill_lines({"bills": [entry_document(one) for one in ENTRIES]})) == len(ENTRIES)
    assert bill_lines({"bills": []}) == []
