# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads what the cloud offers and charges from the API's JSON. Pure.

A row that is not understood is left out: nobody rents what nobody understands, and the others are as good as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from scherbelberg.cloud.pricing import Price, Tariff, read_price
from scherbelberg.cloud.resources import Catalog, Image, Json, Location, Offer, PriceList, ServerType
from scherbelberg.errors import CloudError

Value = TypeVar("Value")
#: What a row raises that is not as it should be.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_ARCHITECTURES = ("x86", "arm")
_CPU_TYPES = ("shared", "dedicated")
_IMAGE_TYPES = ("system", "snapshot", "backup", "app", "temporary")


def read_catalog(*, server_types: Any, images: Any, locations: Any, pricing: Any, now_s: float) -> Catalog:
    """Read what can be rented.

    Args:
        server_types: Rows of ``server_types``.
        images: Rows of ``images``.
        locations: Rows of ``locations``.
        pricing: The object ``pricing``.
        now_s: The API's clock, epoch seconds.

    Raises:
        CloudError: There are rows of a kind, and none of them is understood, or the prices have no currency.
    """
    unread: list[str] = []
    places = _understood("locations", locations, read_location, unread)
    types = _understood("server types", server_types, read_server_type, unread)
    found = _understood("images", images, read_image, unread)
    currency = pricing.get("currency") if isinstance(pricing, Mapping) else None
    if not isinstance(currency, str) or not currency:
        raise _not_understood("The cloud does not tell in which currency its prices are, so nothing is rented")
    return Catalog(
        locations=places,
        server_types=types,
        images=found,
        ipv4=read_ipv4_prices(pricing),
        currency=currency,
        now_s=now_s,
        unread=tuple(unread),
    )


def read_images(rows: Any) -> tuple[Image, ...]:
    """Read those of ``images`` that are understood.

    Raises:
        CloudError: There are some, and none of them is.
    """
    return _understood("images", rows, read_image, [])


def _understood(kind: str, rows: Any, read: Callable[[Json], Value], unread: list[str]) -> tuple[Value, ...]:
    """Read the rows of a kind; those that are not understood are noted by all that they may be called."""
    found = []
    for row in _rows(rows):
        try:
            found.append(read(row))
        except _NONSENSE:
            names = (row.get("name"), row.get("id")) if isinstance(row, Mapping) else ()
            unread += [f"{kind.removesuffix('s')} '{name}'" for name in names if name is not None]
    if rows and not found:
        count = len(_rows(rows))
        raise _not_understood(f"None of the {count} {kind} that the cloud lists is understood, so nothing is rented")
    return tuple(found)


def _not_understood(what: str) -> CloudError:
    return CloudError(f"{what}: the API has changed, and a newer scherbelberg is needed.", api_code="not_understood")


def read_server_type(row: Json) -> ServerType:
    """Read one of ``server_types``; a place or price in it that is not understood is left out."""
    places = _rows(row["locations"])
    prices = dict(_by_location(row))
    offers = tuple(_each(places, lambda place: _read_offer(place, prices)))
    if places and not offers:
        raise ValueError("in none of its places it has a price")
    return ServerType(
        name=_text(row, "name"),
        cores=int(_amount(row, "cores")),
        memory_bytes=int(_amount(row, "memory") * 2**30),
        disk_gb=int(_amount(row, "disk")),
        architecture=_one_of(_ARCHITECTURES, row, "architecture"),
        dedicated=_one_of(_CPU_TYPES, row, "cpu_type") == "dedicated",
        offers=offers,
    )


def _read_offer(place: Json, prices: Mapping[str, Tariff]) -> Offer:
    deprecation, available = place.get("deprecation"), place.get("available", True)
    if not isinstance(available, bool):
        raise TypeError("what is in stock is true or false")
    return Offer(
        location=_text(place, "name"),
        tariff=prices[place["name"]],
        available=available,
        ends_s=None if deprecation is None else datetime.fromisoformat(deprecation["unavailable_after"]).timestamp(),
    )


def read_tariff(row: Json) -> Tariff:
    """Read the prices of an hour and a month."""
    return Tariff(hourly=read_price(row["price_hourly"]), monthly=read_price(row["price_monthly"]))


def read_location(row: Json) -> Location:
    """Read one of ``locations``."""
    return Location(
        name=_text(row, "name"),
        city=_text(row, "city"),
        country=_text(row, "country"),
        network_zone=_text(row, "network_zone"),
    )


def read_image(row: Json) -> Image:
    """Read one of ``images``; labels that are not understood say nothing."""
    labels = row.get("labels")
    labels = labels if isinstance(labels, Mapping) else {}
    return Image(
        id=_number(row["id"]),
        name=None if row["name"] is None else _text(row, "name"),
        kind=_one_of(_IMAGE_TYPES, row, "type"),
        architecture=_one_of(_ARCHITECTURES, row, "architecture"),
        flavor=_text(row, "os_flavor"),
        version=None if row["os_version"] is None else _text(row, "os_version"),
        deprecated=bool(row.get("deprecation") or row.get("deprecated")),
        disk_gb=_amount(row, "disk_size"),
        labels={name: text for name, text in labels.items() if isinstance(text, str)},
    )


def read_ipv4_prices(pricing: Json) -> dict[str, Tariff]:
    """Read the prices of a public IPv4 address in each location from ``pricing``."""
    kinds = (row for row in _objects(pricing.get("primary_ips")) if row.get("type") == "ipv4")
    return {location: tariff for kind in kinds for location, tariff in _by_location(kind)}


def read_price_list(pricing: Json) -> PriceList:
    """Read what is charged for what exists from ``pricing``; a price that is not understood is unknown.

    Raises:
        TypeError: That is no object, or has no currency.
    """
    if not isinstance(pricing, Mapping) or not isinstance(pricing.get("currency"), str):
        raise TypeError("prices are an object with a currency")
    return PriceList(
        servers={
            (_text(kind, "name"), location): tariff
            for kind in _objects(pricing.get("server_types"))
            if isinstance(kind.get("name"), str)
            for location, tariff in _by_location(kind)
        },
        ipv4=read_ipv4_prices(pricing),
        currency=pricing["currency"],
        floating={
            (kind["type"], location): price
            for kind in _objects(pricing.get("floating_ips"))
            if isinstance(kind.get("type"), str)
            for location, price in _each(
                _rows(kind.get("prices")), lambda price: (_text(price, "location"), read_price(price["price_monthly"]))
            )
        },
        image_gb=_read_monthly(pricing, "image"),
        volume_gb=_read_monthly(pricing, "volume"),
    )


def _read_monthly(pricing: Json, kind: str) -> Price | None:
    return next(_each([pricing.get(kind)], lambda row: read_price(row["price_per_gb_month"])), None)


def _by_location(kind: Json) -> Iterator[tuple[str, Tariff]]:
    return _each(_rows(kind.get("prices")), lambda price: (_text(price, "location"), read_tariff(price)))


def _each(rows: Sequence[Any], read: Callable[[Any], Value]) -> Iterator[Value]:
    """Read those rows that are understood."""
    for row in rows:
        try:
            yield read(row)
        except _NONSENSE:
            continue


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> list[Json]:
    return [row for row in _rows(value) if isinstance(row, Mapping)]


def _text(row: Json, name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is text")
    return value


def _one_of(known: tuple[str, ...], row: Json, name: str) -> str:
    value = _text(row, name)
    if value not in known:
        raise ValueError(f"{name} is one of {known}")
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number is no text, and not true or false")
    return value


def _amount(row: Json, name: str) -> float:
    value = row[name]
    amount = float(value) if not isinstance(value, bool) else math.nan
    if not (math.isfinite(amount) and amount > 0):
        raise ValueError(f"{name} is more than nothing")
    return amount
