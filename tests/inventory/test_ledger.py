# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What servers cost by the cloud's present prices, and entries that are added up without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from catalogues import CALM, NOW_S, OWNER, UID, identity, network, price, tariff
from hypothesis import given
from hypothesis import strategies as st
from priced import PRICES, SCHEDULER, WORKER

from scherbelberg.cloud.pricing import Price
from scherbelberg.cloud.resources import PriceList
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.ledger import (
    Entry,
    Machine,
    add_costs,
    by_currency,
    by_month,
    cost,
    entry,
    entry_document,
    falls_in_month,
    merge_entries,
    read_entry,
)

HOUR_S = 3600

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_AMOUNTS = st.decimals(min_value=0, max_value=1000, places=10)
_PRICES = st.builds(Price, net=_AMOUNTS, gross=_AMOUNTS)
_MONTHS = st.dictionaries(st.sampled_from(["2026-10", "2026-11", "2026-12"]), _PRICES, max_size=3)
_MACHINES = st.builds(
    Machine,
    name=_WORDS,
    server_type=_WORDS,
    location=_WORDS,
    created_s=st.integers(0, 2**33),
    has_ipv4=st.booleans(),
    price=st.none() | _PRICES,
)
ENTRIES = st.builds(
    Entry,
    endpoint=_WORDS,
    prefix=_WORDS,
    uid=st.sampled_from(["a", "b", "c"]),
    owner=_WORDS,
    created_s=st.integers(0, 2**33),
    ended_s=st.integers(0, 2**33),
    machines=st.lists(_MACHINES, max_size=3).map(tuple),
    currency=st.none() | st.sampled_from(["EUR", "USD"]),
    months=st.none() | _MONTHS,
)


@pytest.mark.parametrize("status", ["running", "off", "initializing"])
def test_cost(status: str) -> None:
    """A server costs its started hours with its address, whether it runs or is off."""
    found = cost(evolve(WORKER, status=status), PRICES, now_s=NOW_S + HOUR_S + 1)
    assert found is not None
    assert (found.hourly, found.price, list(found.months)) == (price("0.0096"), price("0.0192"), ["2026-11"])


def test_cost_without_address() -> None:
    """What has no public IPv4 address pays for none, also where the cloud names no price of one."""
    found = cost(evolve(WORKER, has_ipv4=False, public_ip=None), evolve(PRICES, ipv4={}), now_s=NOW_S)
    assert found is not None
    assert found.price == price("0.0088")


@pytest.mark.parametrize(
    "prices",
    [evolve(PRICES, servers={}), evolve(PRICES, servers={("cx23", "nbg1"): tariff("0.01")}), evolve(PRICES, ipv4={})],
)
def test_unknown_price(prices: PriceList) -> None:
    """Where the cloud names no price for type and place, the cost is unknown and not nothing, also of all together."""
    assert cost(WORKER, prices, now_s=NOW_S) is None
    assert add_costs([cost(SCHEDULER, PRICES, now_s=NOW_S), None]) is None


def test_sum_of_months() -> None:
    """Costs are added month by month."""
    both = [cost(one, PRICES, now_s=NOW_S + 400 * HOUR_S) for one in (SCHEDULER, WORKER)]
    found, first = add_costs(both), both[0]
    assert found is not None
    assert first is not None
    assert list(found.months) == ["2026-11", "2026-12"]
    assert found.price == first.price + first.price == price("7.68")
    assert found.hourly == price("0.0192")


def test_whole() -> None:
    """What was given back in steps is one bill, without a price if a part has none or another currency."""
    (gone,) = group_clusters([SCHEDULER, WORKER])
    first, second = (entry(gone, PRICES, endpoint="https://api", ended_s=NOW_S + days * 86400) for days in (1, 2))
    one = merge_entries([first, second])
    assert one.machines == first.machines + second.machines
    assert (one.created_s, one.ended_s, one.currency) == (first.created_s, second.ended_s, "EUR")
    assert first.price is not None
    assert second.price is not None
    assert one.price == Price(net=first.price.net + second.price.net, gross=first.price.gross + second.price.gross)
    assert merge_entries([first]) == first
    for odd in (evolve(second, months=None), evolve(second, currency="USD"), evolve(second, currency=None)):
        assert merge_entries([first, odd]).price is None


def test_entry() -> None:
    """An entry says whose it was, since when, until when, and what each machine has cost."""
    younger = evolve(WORKER, created_s=int(NOW_S) + HOUR_S, has_ipv4=False, public_ip=None)
    (gone,) = group_clusters([network("cluster", identity().labels("network")), younger, SCHEDULER])
    found = entry(gone, PRICES, endpoint="https://api", ended_s=NOW_S + 2 * HOUR_S + 0.5)
    assert found == Entry(
        endpoint="https://api",
        prefix="cluster",
        uid=UID,
        owner=OWNER,
        created_s=int(NOW_S),
        ended_s=int(NOW_S) + 2 * HOUR_S,
        machines=(
            Machine(
                name="scheduler",
                server_type="cx23",
                location="fsn1",
                created_s=int(NOW_S),
                has_ipv4=True,
                price=price("0.0288"),
            ),
            Machine(
                name="worker000",
                server_type="cx23",
                location="fsn1",
                created_s=int(NOW_S) + HOUR_S,
                has_ipv4=False,
                price=price("0.0176"),
            ),
        ),
        currency="EUR",
        months={"2026-11": price("0.0464")},
    )


@pytest.mark.parametrize(("prices", "currency"), [(None, None), (evolve(PRICES, servers={}), "EUR")])
def test_entry_without_price(prices: PriceList | None, currency: str | None) -> None:
    """Where the cloud does not tell, an entry says so, and counts for the months in which it may have cost."""
    (gone,) = group_clusters([SCHEDULER])
    found = entry(gone, prices, endpoint="https://api", ended_s=NOW_S + 400 * HOUR_S)
    assert (found.price, found.months, found.currency, found.machines[0].price) == (None, None, currency, None)
    assert [month for month in ("2026-10", "2026-11", "2026-12", "2027-01") if falls_in_month(found, month)] == [
        "2026-11",
        "2026-12",
    ]
    assert by_month([found]) == ()
    assert entry_document(found)["cost"] is None


@CALM
@given(ENTRIES)
def test_entries_survive(one: Entry) -> None:
    """Whatever is in an entry is the same when it is read, to the last digit."""
    assert read_entry(json.loads(json.dumps(entry_document(one)))) == one


@CALM
@given(st.lists(ENTRIES, max_size=6))
def test_sums_lose_nothing(entries: list[Entry]) -> None:
    """Currencies are summed apart, each entry counts once, and what is unknown counts nowhere."""
    for currency in ("EUR", "USD"):
        known = [one.price for one in entries if one.currency == currency and one.price is not None and one.months]
        expected = sum(one.net for one in known), sum(one.gross for one in known)
        found = by_currency(by_month(entries)).get(currency)
        assert (expected == (0, 0)) if found is None else ((found.net, found.gross) == expected)
    for total in by_month(entries):
        own = [one for one in entries if one.currency == (total.currency or None) and total.month in (one.months or {})]
        assert total.clusters == len({one.uid for one in own})


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"prefix": 7},
        {"owner": None},
        {"created_s": "yesterday"},
        {"nodes": [{}]},
        {"nodes": None},
        {"months": {"2026-11": {"net": "much", "gross": "1"}}},
        {"months": []},
        {"currency": 1},
    ],
)
def test_nonsense(change: dict[str, Any]) -> None:
    """What makes no sense is not read as something that does."""
    (gone,) = group_clusters([SCHEDULER])
    document = entry_document(entry(gone, PRICES, endpoint="https://api", ended_s=NOW_S))
    with pytest.raises(Exception):  # noqa: B017, PT011 - of whatever kind
        read_entry(document | change)
