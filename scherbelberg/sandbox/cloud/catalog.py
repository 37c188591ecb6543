# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud sells: Hetzner's line-up of August 2026 as tables, as values, and as the API shows it.

Prices are net in EUR and without the IPv4 address. A fixture: a client must read prices from the API. Those of the
older cpx types outside Europe are estimates.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from attrs import frozen

Json = dict[str, Any]
LocationRow = tuple[int, str, str, str, float, float, str]
TypeRow = tuple[int, str, int, int, int, str, str, tuple[str, ...]]
ImageRow = tuple[int, str, str, str, str, str]

#: id, name, country, city, latitude, longitude, network zone
LOCATIONS: tuple[LocationRow, ...] = (
    (1, "fsn1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    (2, "nbg1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    (3, "hel1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    (4, "ash", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    (5, "hil", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    (6, "sin", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)

EUROPE = ("fsn1", "nbg1", "hel1")
OVERSEAS = ("ash", "hil", "sin")
#: id, name, cores, memory in GB, disk in GB, price per hour, price per month, locations
SERVER_TYPES: tuple[TypeRow, ...] = (
    (104, "cx22", 2, 4, 40, "0.0060", "3.79", EUROPE),
    (114, "cx23", 2, 4, 40, "0.0088", "5.49", EUROPE),
    (115, "cx33", 4, 8, 80, "0.0136", "8.49", EUROPE),
    (116, "cx43", 8, 16, 160, "0.0256", "15.99", EUROPE),
    (117, "cx53", 16, 32, 320, "0.0473", "29.49", EUROPE),
    (45, "cax11", 2, 4, 40, "0.0096", "5.99", EUROPE),
    (93, "cax21", 4, 8, 80, "0.0168", "10.49", EUROPE),
    (94, "cax31", 8, 16, 160, "0.0336", "20.99", EUROPE),
    (95, "cax41", 16, 32, 320, "0.0657", "40.99", EUROPE),
    (108, "cpx12", 1, 2, 40, "0.0184", "11.49", EUROPE),
    (109, "cpx22", 2, 4, 80, "0.0312", "19.49", EUROPE),
    (110, "cpx32", 4, 8, 160, "0.0569", "35.49", EUROPE),
    (111, "cpx42", 8, 16, 320, "0.1114", "69.49", EUROPE),
    (112, "cpx52", 12, 24, 480, "0.1610", "100.49", EUROPE),
    (113, "cpx62", 16, 32, 640, "0.2083", "129.99", EUROPE),
    (22, "cpx11", 2, 2, 40, "0.0280", "17.49", OVERSEAS),
    (23, "cpx21", 3, 4, 80, "0.0505", "31.49", OVERSEAS),
    (24, "cpx31", 4, 8, 160, "0.0929", "57.99", OVERSEAS),
    (25, "cpx41", 8, 16, 240, "0.1715", "106.99", OVERSEAS),
    (26, "cpx51", 16, 32, 360, "0.3398", "211.99", OVERSEAS),
    (96, "ccx13", 2, 8, 80, "0.0689", "42.99", EUROPE + OVERSEAS),
    (97, "ccx23", 4, 16, 160, "0.1378", "85.99", EUROPE + OVERSEAS),
    (98, "ccx33", 8, 32, 240, "0.2219", "138.49", EUROPE + OVERSEAS),
    (99, "ccx43", 16, 64, 360, "0.4423", "275.99", EUROPE + OVERSEAS),
    (100, "ccx53", 32, 128, 600, "0.8550", "533.49", EUROPE + OVERSEAS),
    (101, "ccx63", 48, 192, 960, "1.3678", "853.49", EUROPE + OVERSEAS),
)

#: Server types that can no longer be ordered: announced, unavailable after.
RETIRED = {"cx22": ("2025-10-16T06:00:00Z", "2026-01-15T05:59:59Z")}

#: Where the advice on stock says no; it is advice only, and orders are taken all the same.
SCARCE = {("cx53", "nbg1"), ("cax41", "fsn1"), ("ccx63", "hel1")}

#: id, architecture, flavour, version, description, created
IMAGES: tuple[ImageRow, ...] = (
    (67794396, "x86", "ubuntu", "22.04", "Ubuntu 22.04", "2022-04-21T13:32:38Z"),
    (103908130, "arm", "ubuntu", "22.04", "Ubuntu 22.04", "2023-03-20T06:06:55Z"),
    (161547269, "x86", "ubuntu", "24.04", "Ubuntu 24.04", "2024-04-25T13:26:27Z"),
    (161547270, "arm", "ubuntu", "24.04", "Ubuntu 24.04", "2024-04-25T13:26:51Z"),
    (372018441, "x86", "ubuntu", "26.04", "Ubuntu 26.04", "2026-04-23T12:11:06Z"),
    (372018442, "arm", "ubuntu", "26.04", "Ubuntu 26.04", "2026-04-23T12:11:31Z"),
    (114690387, "x86", "debian", "12", "Debian 12", "2023-06-13T06:00:02Z"),
    (114690389, "arm", "debian", "12", "Debian 12", "2023-06-13T06:00:36Z"),
)

CURRENCY = "EUR"
VAT_PERCENT = "19"
IPV4_HOURLY = "0.0008"
IPV4_MONTHLY = "0.50"
SNAPSHOT_PER_GB_MONTH = "0.0143"
#: Price of a TB beyond the included traffic, and TB included.
TRAFFIC = {
    "fsn1": ("1.20", 20),
    "nbg1": ("1.20", 20),
    "hel1": ("1.20", 20),
    "ash": ("1.20", 1),
    "hil": ("1.20", 1),
    "sin": ("8.30", 1),
}


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
class Catalog:
    """All that can be had."""

    locations: tuple[Location, ...]
    server_types: tuple[ServerType, ...]
    pricing: Json

    @property
    def zones(self) -> frozenset[str]:
        """The network zones."""
        return frozenset(location.network_zone for location in self.locations)


def make_catalog() -> Catalog:
    """Make the catalog from the tables."""
    types = tuple(_server_type(row) for row in SERVER_TYPES)
    return Catalog(
        locations=tuple(_location(row) for row in LOCATIONS),
        server_types=types,
        pricing=_pricing(types),
    )


def _price(net: str) -> Json:
    gross = Decimal(net) * (100 + Decimal(VAT_PERCENT)) / 100
    return {"net": f"{Decimal(net):.10f}", "gross": f"{gross:.16f}"}


def _location(values: LocationRow) -> Location:
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


def _server_type(values: TypeRow) -> ServerType:
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
    if name not in RETIRED:
        return None
    announced, unavailable_after = RETIRED[name]
    return {"announced": announced, "unavailable_after": unavailable_after}


def _offer(name: str, place: str, deprecation: Json | None) -> Json:
    number = next(row[0] for row in LOCATIONS if row[1] == place)
    in_stock = (name, place) not in SCARCE and deprecation is None
    return {
        "id": number,
        "name": place,
        "available": in_stock,
        "recommended": in_stock,
        "deprecation": deprecation,
    }


def _place_price(place: str, hourly: str, monthly: str) -> Json:
    per_tb, included = TRAFFIC[place]
    return {
        "location": place,
        "price_hourly": _price(hourly),
        "price_monthly": _price(monthly),
        "included_traffic": included * 2**40,
        "price_per_tb_traffic": _price(per_tb),
    }


def _pricing(types: tuple[ServerType, ...]) -> Json:
    places = [row[1] for row in LOCATIONS]
    ipv4 = {"price_hourly": _price(IPV4_HOURLY), "price_monthly": _price(IPV4_MONTHLY)}
    free = {"price_hourly": _price("0"), "price_monthly": _price("0")}
    return {
        "currency": CURRENCY,
        "vat_rate": f"{Decimal(VAT_PERCENT):.6f}",
        "image": {"price_per_gb_month": _price(SNAPSHOT_PER_GB_MONTH)},
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
