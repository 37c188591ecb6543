# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The catalogue as values, and as the API shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.cloud import line_up

Json = dict[str, Any]


@frozen(kw_only=True)
class Location:
    """A place with servers."""

    id: int
    name: str
    network_zone: str
    row: Json


@frozen(kw_only=True)
class ServerType:
    """A kind of server."""

    id: int
    name: str
    architecture: str
    disk: int
    locations: tuple[str, ...]
    retired: bool
    row: Json


@frozen(kw_only=True)
class Catalogue:
    """All that can be had."""

    locations: tuple[Location, ...]
    server_types: tuple[ServerType, ...]
    pricing: Json

    @property
    def zones(self) -> frozenset[str]:
        """The network zones."""
        return frozenset(location.network_zone for location in self.locations)


def read_catalogue() -> Catalogue:
    """Make the catalogue from the tables."""
    types = tuple(_server_type(row) for row in line_up.SERVER_TYPES)
    return Catalogue(
        locations=tuple(_location(row) for row in line_up.LOCATIONS),
        server_types=types,
        pricing=_pricing(types),
    )


def _price(net: str) -> Json:
    gross = Decimal(net) * (100 + Decimal(line_up.VAT_PERCENT)) / 100
    return {"net": f"{Decimal(net):.10f}", "gross": f"{gross:.16f}"}


def _location(values: line_up.LocationRow) -> Location:
    number, name, country, city, latitude, longitude, zone = values
    row = {
        "id": number,
        "name": name,
        "description": f"{city} DC Park 1",
        "country": country,
        "city": city,
        "latitude": latitude,
        "longitude": longitude,
        "network_zone": zone,
    }
    return Location(id=number, name=name, network_zone=zone, row=row)


def _server_type(values: line_up.TypeRow) -> ServerType:
    number, name, cores, memory, disk, hourly, monthly, places = values
    dedicated = name.startswith("ccx")
    architecture = "arm" if name.startswith("cax") else "x86"
    deprecation = _deprecation(name)
    row = {
        "id": number,
        "name": name,
        "description": name.upper(),
        "category": _category(name),
        "cores": cores,
        "memory": float(memory),
        "disk": disk,
        "architecture": architecture,
        "cpu_type": "dedicated" if dedicated else "shared",
        "storage_type": "local",
        "deprecated": deprecation is not None,
        "deprecation": deprecation,
        "prices": [_place_price(place, hourly, monthly) for place in places],
        "locations": [_offer(name, place, deprecation) for place in places],
    }
    return ServerType(
        id=number,
        name=name,
        architecture=architecture,
        disk=disk,
        locations=places,
        retired=deprecation is not None and datetime.fromisoformat(deprecation["unavailable_after"]) < _now(),
        row=row,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _category(name: str) -> str:
    if name.startswith("ccx"):
        return "General Purpose"
    return "Regular Performance" if name.startswith("cpx") else "Cost-Optimized"


def _deprecation(name: str) -> Json | None:
    if name not in line_up.RETIRED:
        return None
    announced, unavailable_after = line_up.RETIRED[name]
    return {"announced": announced, "unavailable_after": unavailable_after}


def _offer(name: str, place: str, deprecation: Json | None) -> Json:
    number = next(row[0] for row in line_up.LOCATIONS if row[1] == place)
    in_stock = (name, place) not in line_up.SCARCE and deprecation is None
    return {
        "id": number,
        "name": place,
        "available": in_stock,
        "recommended": in_stock,
        "deprecation": deprecation,
    }


def _place_price(place: str, hourly: str, monthly: str) -> Json:
    per_tb, included = line_up.TRAFFIC[place]
    return {
        "location": place,
        "price_hourly": _price(hourly),
        "price_monthly": _price(monthly),
        "included_traffic": included * 2**40,
        "price_per_tb_traffic": _price(per_tb),
    }


def _pricing(types: tuple[ServerType, ...]) -> Json:
    places = [row[1] for row in line_up.LOCATIONS]
    ipv4 = {"price_hourly": _price(line_up.IPV4_HOURLY), "price_monthly": _price(line_up.IPV4_MONTHLY)}
    free = {"price_hourly": _price("0"), "price_monthly": _price("0")}
    return {
        "currency": line_up.CURRENCY,
        "vat_rate": f"{Decimal(line_up.VAT_PERCENT):.6f}",
        "image": {"price_per_gb_month": _price(line_up.SNAPSHOT_PER_GB_MONTH)},
        "floating_ip": {"price_monthly": _price("3.00")},
        "floating_ips": [
            {"type": kind, "prices": [{"location": place, "price_monthly": _price("3.00")} for place in places]}
            for kind in ("ipv4", "ipv6")
        ],
        "primary_ips": [
            {"type": kind, "prices": [{"location": place, **price} for place in places]}
            for kind, price in (("ipv4", ipv4), ("ipv6", free))
        ],
        "server_backup": {"percentage": "20.0000000000"},
        "server_types": [{"id": row.id, "name": row.name, "prices": row.row["prices"]} for row in types],
        "load_balancer_types": [],
        "volume": {"price_per_gb_month": _price("0.0572")},
    }
