# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What machines cost, net and gross, in the account's currency."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from attrs import frozen


@frozen(kw_only=True)
class Price:
    """A price.

    Args:
        net: Without VAT.
        gross: With VAT.
    """

    net: Decimal
    gross: Decimal

    def __add__(self, other: Price) -> Price:
        """Add net to net and gross to gross."""
        return Price(net=self.net + other.net, gross=self.gross + other.gross)


@frozen(kw_only=True)
class Tariff:
    """What something costs while it exists.

    Args:
        hourly: Price per hour.
        monthly: Price per month, the most that is charged for one.
    """

    hourly: Price
    monthly: Price


NOTHING = Price(net=Decimal(0), gross=Decimal(0))


@frozen(kw_only=True)
class Bill:
    """What a cluster costs while it exists.

    Args:
        hourly: All machines with their public IPv4 addresses, per hour.
        currency: ISO 4217 code of the account's currency.
    """

    hourly: Price
    currency: str


def bill(prices: Iterable[Price], *, currency: str) -> Bill:
    """Add up the machines of a cluster.

    Args:
        prices: One price an hour for each machine, its IPv4 address included.
        currency: ISO 4217 code.
    """
    return Bill(hourly=sum(prices, start=NOTHING), currency=currency)
