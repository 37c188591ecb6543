# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg catalog``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scherbelberg.cli.options import json_option, token_option, voice_options, where
from scherbelberg.cli.output import out, speaker

if TYPE_CHECKING:
    from rich.console import Console

    from scherbelberg.catalog import Catalog, Location, Offer, ServerType
    from scherbelberg.pricing import Tariff
    from scherbelberg.settings import Settings

Json = dict[str, Any]


@click.command()
@click.argument("location", required=False)
@click.option("--watch", "watches", is_flag=True, help="Look again every minute, and tell what changes, until Ctrl-C.")
@token_option
@json_option
@voice_options
def catalog(location: str | None, watches: bool, token_file: Path | None, as_json: bool) -> None:
    """Show what can be rented at present, and where: server types with prices and stock, and locations.

    With LOCATION, such as fsn1, only what is sold there.
    """
    settings = where(token_file)
    if watches:
        _watch(settings, location, as_json=as_json)
        return
    from scherbelberg.cli.signals import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.story import print_json  # noqa: PLC0415
    from scherbelberg.keeping import offered  # noqa: PLC0415

    document = catalog_document(run(offered(settings)), location)
    if as_json:
        print_json(document)
    else:
        print_catalog(document, out())


def _watch(settings: Settings, location: str | None, *, as_json: bool) -> None:
    """Show the catalogue, and then what changes in it; a program gets a document a line, whenever something has."""
    from scherbelberg.cli.signals import run_until_ctrl_c  # noqa: PLC0415 - heavy
    from scherbelberg.cli.watching import changes  # noqa: PLC0415
    from scherbelberg.keeping import watched  # noqa: PLC0415

    voice = speaker()  # asked for here: what changes is shown on another thread
    before: list[Json] = []

    def show(found: Catalog) -> None:
        document = catalog_document(found, location)
        told = changes(before[-1], document) if before else []
        if as_json and (told or not before):
            click.echo(json.dumps(document))
        elif not before:
            print_catalog(document, out())
        for line in () if as_json else told:
            click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S} {line}")
        before[:] = [document]

    run_until_ctrl_c(watched(settings, show, lost=voice.say), is_for_readers=True)


def catalog_document(catalog: Catalog, location: str | None) -> Json:
    """Describe what can be ordered, the cheapest types first.

    Args:
        catalog: What the cloud offers.
        location: Name of the only location of interest, or None for all.

    Returns:
        JSON values; money is decimal text, memory is bytes, times are epoch seconds.

    Raises:
        BadInput: There is no such location.
    """
    from scherbelberg.choice import find_location  # noqa: PLC0415 - heavy

    places = catalog.locations if location is None else (find_location(location, catalog),)
    names = [place.name for place in places]
    types = [_type_row(kind, _offers(kind, names, catalog)) for kind in catalog.server_types]
    sold = [row for row in types if row["offers"]]
    return {
        "schema": 1,
        "currency": catalog.currency,
        "server_types": sorted(sold, key=lambda row: (Decimal(row["offers"][0]["hourly"]["net"]), row["name"])),
        "locations": [_location_row(place, catalog) for place in places],
    }


def _offers(kind: ServerType, names: list[str], catalog: Catalog) -> list[Offer]:
    found = [kind.offer(name, now_s=catalog.now_s) for name in names]
    return sorted((offer for offer in found if offer), key=lambda offer: offer.hourly.net)


def _type_row(kind: ServerType, offers: list[Offer]) -> Json:
    return {
        "name": kind.name,
        "cores": kind.cores,
        "dedicated": kind.dedicated,
        "memory_bytes": kind.memory_bytes,
        "disk_gb": kind.disk_gb,
        "architecture": kind.architecture,
        "offers": [
            {"location": offer.location, "available": offer.available, "ends_s": offer.ends_s, **_tariff(offer.tariff)}
            for offer in offers
        ],
    }


def _location_row(place: Location, catalog: Catalog) -> Json:
    ipv4 = catalog.ipv4.get(place.name)
    return {
        "name": place.name,
        "city": place.city,
        "country": place.country,
        "network_zone": place.network_zone,
        "ipv4": _tariff(ipv4) if ipv4 else None,
    }


def _tariff(tariff: Tariff) -> Json:
    from scherbelberg.pricing import write_price  # noqa: PLC0415

    return {"hourly": write_price(tariff.hourly), "monthly": write_price(tariff.monthly)}


def print_catalog(document: Json, console: Console) -> None:
    """Print a row for each server type at each of its prices, then the locations.

    Args:
        document: As `catalog_document` makes it.
        console: Where.
    """
    from rich.table import Table  # noqa: PLC0415 - heavy

    currency = document["currency"]
    table = Table(pad_edge=False, box=None, padding=(0, 1))
    for name in ("type", "cores", "", "memory\nGiB", "disk\nGB", "arch"):
        table.add_column(name, no_wrap=True, justify="right" if name[:4] in ("core", "memo", "disk") else "left")
    for name in (f"{currency}/h\nnet", "\ngross", f"{currency}/month\nnet", "\ngross"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("in stock,\nthe cloud says")
    table.add_column("not in\nstock")
    for row in document["server_types"]:
        for offers in _bywrite_price(row["offers"]):
            table.add_row(*_cells(row, offers))
    console.print(table)
    console.print("\nA public IPv4 address is extra, and every node has one:", highlight=False)
    _print_locations(document, console)


def _bywrite_price(offers: list[Json]) -> list[list[Json]]:
    """The offers of a type, those of one price together."""
    groups: dict[str, list[Json]] = {}
    for offer in offers:
        groups.setdefault(str((offer["hourly"], offer["monthly"])), []).append(offer)
    return list(groups.values())


def _cells(row: Json, offers: list[Json]) -> list[str]:
    hourly, monthly = offers[0]["hourly"], offers[0]["monthly"]
    return [
        row["name"],
        str(row["cores"]),
        "dedicated" if row["dedicated"] else "shared",
        f"{row['memory_bytes'] / 2**30:g}",
        str(row["disk_gb"]),
        row["architecture"],
        *(f"{Decimal(hourly[kind]):.4f}" for kind in ("net", "gross")),
        *(f"{Decimal(monthly[kind]):.2f}" for kind in ("net", "gross")),
        *(" ".join(_place(offer) for offer in offers if offer["available"] is there) for there in (True, False)),
    ]


def _place(offer: Json) -> str:
    if offer["ends_s"] is None:
        return str(offer["location"])
    return f"{offer['location']} (until {datetime.fromtimestamp(offer['ends_s'], UTC):%Y-%m-%d})"


def _print_locations(document: Json, console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415 - heavy

    table = Table(pad_edge=False, box=None)
    for name in ("location", "city", "country", "network zone", f"IPv4 {document['currency']}/h net", "gross"):
        table.add_column(name, no_wrap=True)
    for row in document["locations"]:
        ipv4 = row["ipv4"]["hourly"] if row["ipv4"] else None
        prices = [f"{Decimal(ipv4[kind]):.4f}" if ipv4 else "-" for kind in ("net", "gross")]
        table.add_row(row["name"], row["city"], row["country"], row["network_zone"], *prices)
    console.print(table)
