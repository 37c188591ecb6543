# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What machines cost, net and gross, in the account's currency, counted as Hetzner counts.

An hour that has begun counts whole, whether a machine runs or is off; of one calendar month no more is charged than the
month's price. Server and public IPv4 address are counted each by itself.

Source: https://docs.hetzner.com/cloud/billing/faq, as of autumn 2026.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

from attrs import frozen

_HOUR_S = 3600
_SHOWN = Decimal("0.0001")


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

    def over(self, hours: int) -> Price:
        """What hours within one month cost.

        Args:
            hours: Their number.
        """
        return Price(
            net=min(self.hourly.net * hours, self.monthly.net),
            gross=min(self.hourly.gross * hours, self.monthly.gross),
        )


NOTHING = Price(net=Decimal(0), gross=Decimal(0))


@frozen(kw_only=True)
class Bill:
    """What a cluster costs while it exists.

    Args:
        hourly: All machines with their public IPv4 addresses, per hour.
        currency: ISO 4217 code of the account's currency.
        at_most: All of it until the end of its time to live, or None where that has no end.
    """

    hourly: Price
    currency: str
    at_most: Price | None


def read_price(row: Mapping[str, str]) -> Price:
    """Read a pair of net and gross.

    Raises:
        ValueError: One of them is no amount of money.
        ArithmeticError: One of them is no number.
    """
    price = Price(net=Decimal(row["net"]), gross=Decimal(row["gross"]))
    if not (price.net.is_finite() and price.gross.is_finite() and min(price.net, price.gross) >= 0):
        raise ValueError(f"{price.net} and {price.gross} are no amounts of money")
    return price


def write_price(price: Price) -> dict[str, str]:
    """A price as JSON values: decimal text, never a binary fraction."""
    return {"net": f"{price.net:f}", "gross": f"{price.gross:f}"}


def enough(amount: Decimal) -> Decimal:
    """An amount as people write it that is not below a given one, which rounding could be.

    Args:
        amount: That one.
    """
    return amount.quantize(_SHOWN, rounding=ROUND_CEILING)


def total(prices: Iterable[Price]) -> Price:
    """Add up prices.

    Args:
        prices: Of one currency.
    """
    return sum(prices, start=NOTHING)


def bill(machines: Iterable[tuple[int, Sequence[Tariff]]], *, currency: str, end_s: int | None) -> Bill:
    """Add up the machines of a cluster.

    Args:
        machines: Of each, when it is rented, as epoch seconds, and what is charged for it: server, IPv4 address.
        currency: ISO 4217 code.
        end_s: When they are given back at the latest, or None for never.
    """
    rented = list(machines)
    at_most = None
    if end_s is not None:
        each = (charges_by_month(tariffs, begin_s=begin_s, end_s=end_s).values() for begin_s, tariffs in rented)
        at_most = total(price for months in each for price in months)
    hourly = total(tariff.hourly for _, tariffs in rented for tariff in tariffs)
    return Bill(hourly=hourly, currency=currency, at_most=at_most)


def charges_by_month(tariffs: Iterable[Tariff], *, begin_s: float, end_s: float) -> dict[str, Price]:
    """What is charged for things that exist from one time to another.

    Args:
        tariffs: Theirs.
        begin_s: When they were made, as epoch seconds.
        end_s: When they were deleted, or now.

    Returns:
        Calendar month, such as ``2026-11``, to price. An hour belongs to the month in which it begins.
    """
    hours = begun_hours(begin_s=begin_s, end_s=end_s)
    each = list(tariffs)
    return {month: total(tariff.over(count) for tariff in each) for month, count in hours.items()}


def begun_hours(*, begin_s: float, end_s: float) -> dict[str, int]:
    """Count the hours that begin within a time, by calendar month of UTC; the first one always does.

    Args:
        begin_s: Epoch seconds, with which the first hour begins.
        end_s: Epoch seconds.
    """
    begin = math.floor(begin_s)
    hours = max(1, math.ceil((end_s - begin) / _HOUR_S))
    counts: dict[str, int] = {}
    done = 0
    while done < hours:
        month = datetime.fromtimestamp(begin + done * _HOUR_S, UTC)
        until = min(hours, math.ceil((_next_month_s(month) - begin) / _HOUR_S))
        counts[f"{month:%Y-%m}"] = until - done
        done = until
    return counts


def _next_month_s(month: datetime) -> int:
    years, number = divmod(month.month, 12)
    return int(datetime(month.year + years, number + 1, 1, tzinfo=UTC).timestamp())
