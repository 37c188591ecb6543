# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is paid for and does not go with its server: addresses, volumes, snapshots, backups. Pure.

Nothing of it is ever deleted by us: somebody has asked for it, and it may hold the only copy of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

from attrs import frozen

from scherbelberg.cloud.pricing import Price, read_price, write_price
from scherbelberg.cloud.resources import Json, PriceList, Server

Kind = Literal["primary_ip", "floating_ip", "volume", "snapshot", "backup"]
#: The API's collections in which such things are.
Collection = Literal["primary_ips", "floating_ips", "volumes", "images"]
_COLLECTIONS: dict[Kind, Collection] = {
    "primary_ip": "primary_ips",
    "floating_ip": "floating_ips",
    "volume": "volumes",
    "snapshot": "images",
    "backup": "images",
}
_WORDS: dict[Kind, str] = {"primary_ip": "primary IP", "floating_ip": "floating IP"}
#: Collection to its rows, or to None if the cloud did not tell.
Lists = Mapping[Collection, list[Json] | None]


@frozen(kw_only=True)
class Orphan:
    """Something that outlives its server.

    Args:
        kind: What it is.
        id: The cloud's number for it.
        server: Name of the server.
        monthly: What it costs per month, or None if that is unknown.
        currency: ISO 4217 code, or None likewise.
    """

    kind: Kind
    id: int
    server: str
    monthly: Price | None = None
    currency: str | None = None

    @property
    def collection(self) -> Collection:
        """Where the API lists it."""
        return _COLLECTIONS[self.kind]

    @property
    def description(self) -> str:
        """Kind and number in words, such as ``primary IP 4711``."""
        return f"{_WORDS.get(self.kind, self.kind)} {self.id}"

    @property
    def cost(self) -> str:
        """Its price in words."""
        if self.monthly is None:
            return "at an unknown price"
        return f"{self.monthly.net:.4f} {self.currency} net, {self.monthly.gross:.4f} gross per month"


def where_to_look(servers: Iterable[Server]) -> tuple[Collection, ...]:
    """Which collections may hold what outlives some servers.

    Args:
        servers: Those, before they are deleted.
    """
    found = tuple(servers)
    reasons: dict[Collection, bool] = {
        "primary_ips": any(server.primary_ip is not None for server in found),
        "floating_ips": any(server.floating_ips for server in found),
        "volumes": any(server.volumes for server in found),
        "images": bool(found),  # no server tells of its snapshots
    }
    return tuple(name for name, is_one in reasons.items() if is_one)


def find_orphans(servers: Iterable[Server], lists: Lists, prices: PriceList | None) -> tuple[Orphan, ...]:
    """Find what outlives some servers.

    An address of which the cloud does not say that it goes with its server may stay.

    Args:
        servers: Those, before they are deleted.
        lists: What the cloud holds, of the collections in `where_to_look`.
        prices: The present ones, or None if the cloud did not tell.
    """
    rows = {name: _by_number(found) for name, found in lists.items()}
    known: list[Orphan] = []
    for server in servers:
        parts: list[tuple[Kind, int]] = [("volume", number) for number in server.volumes]
        parts += [("floating_ip", number) for number in server.floating_ips]
        if server.primary_ip is not None and _may_stay(rows.get("primary_ips", {}).get(server.primary_ip)):
            parts.append(("primary_ip", server.primary_ip))
        parts += _images(server, rows.get("images", {}).values())
        for kind, number in parts:
            price = _monthly(kind, rows.get(_COLLECTIONS[kind], {}).get(number), prices)
            currency = prices.currency if prices and price else None
            known.append(Orphan(kind=kind, id=number, server=server.name, monthly=price, currency=currency))
    return tuple(known)


def _by_number(rows: list[Json] | None) -> dict[int, Json]:
    return {row["id"]: row for row in rows or () if isinstance(row, Mapping) and type(row.get("id")) is int}


def _may_stay(row: Json | None) -> bool:
    return row is None or row.get("auto_delete") is not True


def _images(server: Server, rows: Iterable[Json]) -> list[tuple[Kind, int]]:
    found: list[tuple[Kind, int]] = []
    for row in rows:
        origin = row.get("created_from")
        is_its = server.id in (row.get("bound_to"), origin.get("id") if isinstance(origin, Mapping) else None)
        if is_its and row.get("type") in ("snapshot", "backup"):
            found.append((row["type"], row["id"]))
    return found


def _monthly(kind: Kind, row: Json | None, prices: PriceList | None) -> Price | None:
    if row is None or prices is None:
        return None
    if kind == "volume":
        return _times(prices.volume_gb, row.get("size"))
    if kind == "snapshot":
        return _times(prices.image_gb, row.get("image_size"))
    place = row.get("location") or row.get("home_location")
    name = place.get("name") if isinstance(place, Mapping) else None
    if kind == "floating_ip":
        return prices.floating.get((str(row.get("type")), str(name)))
    tariff = prices.ipv4.get(str(name))
    return tariff.monthly if kind == "primary_ip" and tariff else None  # a backup is part of its server's price


def _times(price: Price | None, gb: Any) -> Price | None:
    if price is None or type(gb) not in (int, float):
        return None
    size = Decimal(str(gb))
    return Price(net=price.net * size, gross=price.gross * size)


def still_listed(known: Iterable[Orphan], lists: Lists) -> tuple[Orphan, ...]:
    """Leave out what is gone.

    Args:
        known: What was found before.
        lists: What the cloud holds; what is in a collection of which it does not tell counts as there.
    """
    numbers = {name: None if rows is None else set(_by_number(rows)) for name, rows in lists.items()}

    def is_there(one: Orphan) -> bool:
        found = numbers.get(one.collection)
        return found is None or one.id in found

    return tuple(one for one in known if is_there(one))


def merge_orphans(*parts: Iterable[Orphan]) -> tuple[Orphan, ...]:
    """Put together what was found at several times; a price that is known counts for more than one that is not.

    Args:
        parts: The oldest first.
    """
    found: dict[tuple[Kind, int], Orphan] = {}
    for part in parts:
        for one in part:
            key = (one.kind, one.id)
            if key not in found or one.monthly is not None:
                found[key] = one
    return tuple(found.values())


def sentence(known: Iterable[Orphan], prefix: str) -> str:
    """Say what outlives a cluster, and what to do about it.

    Args:
        known: At least one.
        prefix: The cluster's name.
    """
    rows = "; ".join(f"{one.description} of {one.server}, {one.cost}" for one in known)
    return (
        f"The servers of cluster '{prefix}' are gone, but what does not go with a server is still paid for, and is"
        f" never deleted by scherbelberg: {rows}. Delete it in Hetzner's console if nobody needs it;"
        f" 'scherbelberg destroy -p {prefix}' looks again, and with --forget never again."
    )


def write_orphan(one: Orphan) -> dict[str, Any]:
    """As JSON values; money is decimal text."""
    monthly = None if one.monthly is None else {**write_price(one.monthly), "currency": one.currency}
    return {"kind": one.kind, "id": one.id, "server": one.server, "monthly": monthly}


def read_orphan(row: Mapping[str, Any]) -> Orphan:
    """Make it of JSON values; they may make no sense, which raises exceptions of any kind."""
    if row["kind"] not in _COLLECTIONS:
        raise ValueError(f"{row['kind']} is no kind")
    monthly = row["monthly"]
    return Orphan(
        kind=row["kind"],
        id=int(row["id"]),
        server=str(row["server"]),
        monthly=read_price(monthly) if monthly else None,
        currency=str(monthly["currency"]) if monthly else None,
    )
