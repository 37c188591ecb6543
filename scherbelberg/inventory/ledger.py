# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the servers of clusters cost and have cost: of those that live, and as entries of those that are gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from scherbelberg.cloud.pricing import (
    NOTHING,
    Price,
    Tariff,
    begun_hours,
    charges_by_month,
    read_price,
    total,
    write_price,
)
from scherbelberg.cloud.resources import PriceList, Server
from scherbelberg.inventory.clusters import CloudCluster

SCHEMA = 1
#: What a bill leaves out, since the cloud tells it of each server and not of the account.
NOT_COUNTED = "traffic beyond the included"


@frozen(kw_only=True)
class Cost:
    """What a server costs, or several together.

    Args:
        hourly: Price per hour, IPv4 addresses included.
        months: What is charged for each calendar month, such as ``2026-11``.
    """

    hourly: Price
    months: Mapping[str, Price] = field(hash=False)

    @property
    def price(self) -> Price:
        """What is charged for all months."""
        return total(self.months.values())


@frozen(kw_only=True)
class Machine:
    """A server that is gone; None stands for what the cloud did not tell of it.

    Args:
        name: As users know it.
        server_type: What it was, by name.
        location: Where it was.
        created_s: When it was made, as epoch seconds.
        has_ipv4: Whether it had a public IPv4 address.
        price: What it has cost, or None if the cloud names no price.
    """

    name: str
    server_type: str | None
    location: str | None
    created_s: int | None
    has_ipv4: bool | None
    price: Price | None


@frozen(kw_only=True)
class Entry:
    """What was given back of a cluster at one time.

    Args:
        endpoint: The API where it lived.
        prefix: The cluster's name.
        uid: Its uid.
        owner: Who created it.
        created_s: When the first of its machines was made, as epoch seconds.
        ended_s: When they were proven gone.
        machines: Those.
        currency: ISO 4217 code, or None if the cloud did not tell.
        months: What is charged for each calendar month, or None if the price of a machine is unknown.
    """

    endpoint: str
    prefix: str
    uid: str
    owner: str
    created_s: int
    ended_s: int
    machines: tuple[Machine, ...]
    currency: str | None
    months: Mapping[str, Price] | None = field(hash=False)

    @property
    def price(self) -> Price | None:
        """What is charged for all months, or None if the price of a machine is unknown."""
        return None if self.months is None else total(self.months.values())


@frozen(kw_only=True)
class Sum:
    """What clusters that are gone have cost in a month.

    Args:
        month: Calendar month, such as ``2026-11``.
        currency: ISO 4217 code.
        clusters: How many clusters that was, by uid.
        price: All of them.
    """

    month: str
    currency: str
    clusters: int
    price: Price


def cost(server: Server, prices: PriceList, *, now_s: float) -> Cost | None:
    """What a server costs and has cost, whether it runs or is off.

    Args:
        server: It.
        prices: The present ones.
        now_s: Until when, as epoch seconds of the API's clock.

    Returns:
        None if the cloud names no price, or not what it is of.
    """
    tariffs = _tariffs(server, prices)
    if tariffs is None or server.created_s is None:
        return None
    return Cost(
        hourly=total(tariff.hourly for tariff in tariffs),
        months=charges_by_month(tariffs, begin_s=server.created_s, end_s=now_s),
    )


def _tariffs(server: Server, prices: PriceList) -> tuple[Tariff, ...] | None:
    if server.server_type is None or server.location is None or server.has_ipv4 is None:
        return None
    own = prices.servers.get((server.server_type, server.location))
    if not server.has_ipv4:
        return None if own is None else (own,)
    address = prices.ipv4.get(server.location)
    return None if own is None or address is None else (own, address)


def add_costs(costs: Iterable[Cost | None]) -> Cost | None:
    """Add up costs.

    Args:
        costs: Of one currency.

    Returns:
        None if one of them is unknown.
    """
    known: list[Cost] = []
    for one in costs:
        if one is None:
            return None
        known.append(one)
    return Cost(
        hourly=total(one.hourly for one in known),
        months=_add_by_key((month, price) for one in known for month, price in one.months.items()),
    )


def _add_by_key(rows: Iterable[tuple[str, Price]]) -> dict[str, Price]:
    """Add up prices by a word that stands before each."""
    found: dict[str, list[Price]] = {}
    for word, price in rows:
        found.setdefault(word, []).append(price)
    return {word: total(found[word]) for word in sorted(found)}


def entry_cost(one: Entry, currency: str) -> Cost | None:
    """What was given back has cost, and costs no more.

    Args:
        one: It.
        currency: In which one counts.

    Returns:
        None if the price is unknown, or in another currency.
    """
    if one.months is None or one.currency != currency:
        return None
    return Cost(hourly=NOTHING, months=one.months)


def entry(gone: CloudCluster, prices: PriceList | None, *, endpoint: str, ended_s: float) -> Entry:
    """Write down what a cluster has cost.

    Args:
        gone: What of it was deleted, with at least one server.
        prices: The present ones, or None if the cloud did not tell.
        endpoint: The API where it lived.
        ended_s: When it was proven gone, as epoch seconds of the API's clock.
    """
    costs = [cost(server, prices, now_s=ended_s) if prices else None for server in gone.servers]
    all_of_it = add_costs(costs)
    return Entry(
        endpoint=endpoint,
        prefix=gone.prefix,
        uid=gone.uid,
        owner=gone.owner,
        created_s=min(
            _without_none(server.created_s for server in gone.servers), default=gone.created_s or int(ended_s)
        ),
        ended_s=int(ended_s),
        machines=tuple(
            Machine(
                name=node_name(server),
                server_type=server.server_type,
                location=server.location,
                created_s=server.created_s,
                has_ipv4=server.has_ipv4,
                price=one.price if one else None,
            )
            for server, one in zip(gone.servers, costs, strict=True)
        ),
        currency=prices.currency if prices else None,
        months=all_of_it.months if all_of_it else None,
    )


def _without_none(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def node_name(server: Server) -> str:
    """A server's name as users know it."""
    return server.labels.get("node", server.name)


def merge_entries(parts: Sequence[Entry]) -> Entry:
    """Put together what was given back of a cluster in several steps.

    Args:
        parts: At least one, in order.
    """
    currency = parts[-1].currency
    cost = add_costs(entry_cost(part, currency) for part in parts) if currency else None
    return evolve(
        parts[-1],
        created_s=min(part.created_s for part in parts),
        ended_s=max(part.ended_s for part in parts),
        machines=tuple(machine for part in parts for machine in part.machines),
        months=cost.months if cost else None,
    )


def by_month(entries: Iterable[Entry]) -> tuple[Sum, ...]:
    """Add up entries by month and currency.

    Args:
        entries: Those without a price are left out.
    """
    found: dict[tuple[str, str], list[tuple[str, Price]]] = {}
    for one in entries:
        for month, price in (one.months or {}).items():
            found.setdefault((month, one.currency or ""), []).append((one.uid, price))
    return tuple(
        Sum(
            month=month,
            currency=currency,
            clusters=len({uid for uid, _ in rows}),
            price=total(price for _, price in rows),
        )
        for (month, currency), rows in sorted(found.items())
    )


def by_currency(found: Iterable[Sum]) -> dict[str, Price]:
    """Add up sums of several months, each currency by itself.

    Args:
        found: The sums.
    """
    return _add_by_key((one.currency, one.price) for one in found)


def falls_in_month(one: Entry, month: str) -> bool:
    """Whether something is charged for a month, or may be where the price is unknown.

    Args:
        one: What was given back.
        month: Calendar month, such as ``2026-11``.
    """
    return month in (begun_hours(begin_s=one.created_s, end_s=one.ended_s) if one.months is None else one.months)


def entry_document(one: Entry) -> dict[str, Any]:
    """An entry as JSON values; money is decimal text."""
    return {
        "schema": SCHEMA,
        "endpoint": one.endpoint,
        "prefix": one.prefix,
        "uid": one.uid,
        "owner": one.owner,
        "created_s": one.created_s,
        "ended_s": one.ended_s,
        "nodes": [
            {
                "name": machine.name,
                "server_type": machine.server_type,
                "location": machine.location,
                "created_s": machine.created_s,
                "ipv4": machine.has_ipv4,
                "cost": write_price(machine.price) if machine.price else None,
            }
            for machine in one.machines
        ],
        "currency": one.currency,
        "cost": write_price(one.price) if one.price else None,
        "months": None if one.months is None else {month: write_price(price) for month, price in one.months.items()},
    }


def read_entry(document: dict[str, Any]) -> Entry:
    """Make an entry of JSON values; they may make no sense, which raises exceptions of any kind."""
    if document["schema"] != SCHEMA:
        raise ValueError("it was written by another version of scherbelberg")
    texts = {name: _text(document[name]) for name in ("endpoint", "prefix", "uid", "owner")}
    months, currency = document["months"], document["currency"]
    return Entry(
        **texts,
        created_s=int(document["created_s"]),
        ended_s=int(document["ended_s"]),
        machines=tuple(
            Machine(
                name=_text(node["name"]),
                server_type=_text_or_none(node["server_type"]),
                location=_text_or_none(node["location"]),
                created_s=None if node["created_s"] is None else int(node["created_s"]),
                has_ipv4=None if node["ipv4"] is None else bool(node["ipv4"]),
                price=read_price(node["cost"]) if node["cost"] else None,
            )
            for node in document["nodes"]
        ),
        currency=_text_or_none(currency),
        months=None if months is None else {_text(month): read_price(price) for month, price in months.items()},
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
