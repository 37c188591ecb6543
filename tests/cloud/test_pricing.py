# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Prices are added exactly, and time is charged as Hetzner does: started hours, and no more than a month's price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from catalogues import CALM, price, tariff
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.pricing import NOTHING, Bill, Price, Tariff, begun_hours, bill, charges_by_month, total

_AMOUNT = st.decimals(min_value=0, max_value=1000, places=10)
_TIMES = st.integers(1_600_000_000, 2_000_000_000)
_SPANS = st.integers(-3600, 400 * 86400)


@st.composite
def _tariffs(draw: st.DrawFn) -> Tariff:
    """A month costs as much as some number of hours, as in any price list."""
    hourly, hours = draw(_AMOUNT), draw(st.integers(1, 800))
    return Tariff(
        hourly=Price(net=hourly, gross=hourly * 2), monthly=Price(net=hourly * hours, gross=hourly * hours * 2)
    )


def at(text: str) -> float:
    """A moment as epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_addition() -> None:
    """Net is added to net and gross to gross, without rounding."""
    assert price("0.1") + price("0.2") == Price(net=Decimal("0.3"), gross=Decimal("0.36"))


def test_bill() -> None:
    """A bill is the sum of its machines and of all that is charged for each, in started hours."""
    machines = [(0, [tariff("0.0088"), tariff("0.0008")]), (0, [tariff("0.0136"), tariff("0.0008")])]
    assert bill(machines, currency="EUR", end_s=3601) == Bill(
        hourly=price("0.0240"), currency="EUR", at_most=price("0.0480")
    )
    assert bill(machines, currency="USD", end_s=None).at_most is None
    assert bill([(-3600, machines[0][1]), machines[1]], currency="EUR", end_s=3601).at_most == price("0.0576")


def test_bill_of_nothing() -> None:
    """Nothing costs nothing."""
    assert bill([], currency="USD", end_s=1) == Bill(hourly=NOTHING, currency="USD", at_most=NOTHING)


@CALM
@given(st.lists(st.tuples(_AMOUNT, _AMOUNT), max_size=100))
def test_sums_are_exact(amounts: list[tuple[Decimal, Decimal]]) -> None:
    """Whatever the prices, their order changes nothing and not a cent is lost."""
    prices = [Price(net=net, gross=gross) for net, gross in amounts]
    assert total(prices) == total(reversed(prices))
    assert total(prices).net * 10**10 == sum(int(net * 10**10) for net, _ in amounts)


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [
        ("2026-11-28T10:00:00", "2026-11-28T10:00:00", {"2026-11": 1}),
        ("2026-11-28T10:00:00", "2026-11-28T09:00:00", {"2026-11": 1}),  # clocks differ
        ("2026-11-28T10:00:00", "2026-11-28T11:00:00", {"2026-11": 1}),
        ("2026-11-28T10:00:00", "2026-11-28T11:00:01", {"2026-11": 2}),
        ("2026-11-30T23:30:00", "2026-12-01T00:30:00", {"2026-11": 1}),
        ("2026-11-30T23:30:00", "2026-12-01T00:31:00", {"2026-11": 1, "2026-12": 1}),
        ("2026-11-30T23:00:00", "2026-12-01T01:00:00", {"2026-11": 1, "2026-12": 1}),
        ("2026-12-31T00:00:00", "2027-02-01T00:00:00", {"2026-12": 24, "2027-01": 31 * 24}),
        ("2028-02-01T00:00:00", "2028-03-01T00:00:00", {"2028-02": 29 * 24}),
    ],
)
def test_begun_hours(begin: str, end: str, hours: dict[str, int]) -> None:
    """An hour that has begun counts whole, in the month in which it begins."""
    assert begun_hours(begin_s=at(begin), end_s=at(end)) == hours


def test_the_month_is_a_cap() -> None:
    """Of a whole month its price is charged, of the rest the hours, each thing by itself."""
    server, address = tariff("0.01"), Tariff(hourly=price("0.0008"), monthly=price("0.50"))
    found = charges_by_month([server, address], begin_s=at("2026-11-01T00:00:00"), end_s=at("2026-12-02T00:00:00"))
    # 720 hours are more than 624, so the server is capped; at 0.576 the address is, too.
    assert found == {"2026-11": price("6.24") + price("0.50"), "2026-12": price("0.24") + price("0.0192")}


@CALM
@given(_tariffs(), _TIMES, _SPANS)
def test_never_above_the_cap(one: Tariff, begin_s: int, span_s: int) -> None:
    """No calendar month costs more than its price, nothing less than an hour, and no hour is lost."""
    end_s = begin_s + span_s
    months = charges_by_month([one], begin_s=begin_s, end_s=end_s)
    assert all(cost.net <= one.monthly.net and cost.gross <= one.monthly.gross for cost in months.values())
    assert total(months.values()).net >= min(one.hourly.net, one.monthly.net)
    hours = begun_hours(begin_s=begin_s, end_s=end_s)
    assert sum(hours.values()) == max(1, -(-span_s // 3600))
    assert list(hours) == sorted(hours)
    assert max(hours.values()) <= 31 * 24


@CALM
@given(_tariffs(), _TIMES, _SPANS, st.integers(0, 40 * 86400))
def test_longer_never_costs_less(one: Tariff, begin_s: int, span_s: int, more_s: int) -> None:
    """A machine that is kept longer costs at least as much, in every month."""
    short = charges_by_month([one], begin_s=begin_s, end_s=begin_s + span_s)
    long = charges_by_month([one], begin_s=begin_s, end_s=begin_s + span_s + more_s)
    assert all(long[month].net >= cost.net for month, cost in short.items())
    assert total(long.values()).gross >= total(short.values()).gross
