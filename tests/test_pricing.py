# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Prices are added exactly."""

from __future__ import annotations

from decimal import Decimal

from catalogues import CALM, price
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.pricing import NOTHING, Bill, Price, bill

_AMOUNT = st.decimals(min_value=0, max_value=1000, places=10)


def test_addition() -> None:
    """Net is added to net and gross to gross, without rounding."""
    assert price("0.1") + price("0.2") == Price(net=Decimal("0.3"), gross=Decimal("0.36"))


def test_bill() -> None:
    """A bill is the sum of its machines."""
    assert bill([price("0.0096"), price("0.0144"), price("0.0144")], currency="EUR") == Bill(
        hourly=Price(net=Decimal("0.0384"), gross=Decimal("0.04608")), currency="EUR"
    )


def test_bill_of_nothing() -> None:
    """Nothing costs nothing."""
    assert bill([], currency="USD") == Bill(hourly=NOTHING, currency="USD")


@CALM
@given(st.lists(st.tuples(_AMOUNT, _AMOUNT), max_size=100))
def test_bill_is_exact(amounts: list[tuple[Decimal, Decimal]]) -> None:
    """Whatever the prices, their order changes nothing and not a cent is lost."""
    prices = [Price(net=net, gross=gross) for net, gross in amounts]
    forth, back = bill(prices, currency="EUR"), bill(reversed(prices), currency="EUR")
    assert forth == back
    assert forth.hourly.net * 10**10 == sum(int(net * 10**10) for net, _ in amounts)
