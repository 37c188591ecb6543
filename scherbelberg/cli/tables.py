# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tables and lines that commands print for people, made of the documents for programs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scherbelberg.cli.output import Json, print_tries
from scherbelberg.environments.versions import OPTIONAL, REQUIRED
from scherbelberg.inventory.clusters import format_duration
from scherbelberg.inventory.deadlines import format_time_left
from scherbelberg.inventory.ledger import NOT_COUNTED, entry_document, merge_entries, read_entry

if TYPE_CHECKING:
    from scherbelberg.inventory.orphan_records import PaidOrphan
    from scherbelberg.lifecycle.diagnosis import Check

_UNKNOWN = "unknown"
_CHECK_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_MONEY_COLUMNS = ("net", "gross")


def new_table(*columns: str, title: str | None = None, right: Collection[str] = ()) -> Table:
    """Begin a table as all commands have them: without lines, and with columns that are never folded.

    Args:
        columns: Their headings.
        title: What stands above it.
        right: Headings of the columns that stand on the right side.
    """
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in right else "left")
    return table


def money(amount: str | None) -> str:
    """Write an amount of a document for people.

    Args:
        amount: Decimal text, or None if it is not known.
    """
    return f"{Decimal(amount):.4f}" if amount else "-"


def _net_and_gross(price: Json | None) -> tuple[str, str]:
    net, gross = (money((price or {}).get(kind)) for kind in _MONEY_COLUMNS)
    return net, gross


def print_plan(document: Json, console: Console) -> None:
    """Print machines with prices, who is let in, and what all of it costs.

    Args:
        document: As `plan_document` makes it.
        console: Where.
    """
    currency = document["hourly"]["currency"]
    title = f"Cluster {document['prefix']} would be made in {document['location']}; nothing was made"
    columns = ("node", "type", "cores", "memory GiB", "image", "Dask workers", f"{currency}/h net", "gross")
    table = new_table(*columns, title=title)
    for node in document["nodes"]:
        workers = str(len(node["workers"])) if node["role"] == "worker" else "-"
        memory = f"{node['memory_bytes'] / 2**30:g}"
        cells = (node["name"], node["server_type"], str(node["cores"]), memory, node["image"], workers)
        table.add_row(*cells, *_net_and_gross(node["hourly"]))
    table.add_row("all", "", "", "", "", "", *_net_and_gross(document["hourly"]), style="bold")
    console.print(table)
    console.print(f"\nSSH is let in from {', '.join(document['ssh_from'])}.", highlight=False)
    if document["direct"]:
        console.print(f"Dask over TLS is let in from {', '.join(document['direct'])}.", highlight=False)
    for role, places in document["instead"].items():
        if places:
            words = ", ".join(
                f"{one['server_type']} in {one['location']} ({money(one['hourly']['gross'])})" for one in places
            )
            console.print(f"Where there is none left for a {role} ({currency}/h gross): {words}.", highlight=False)
    print_environment(document["environment"], console)
    if document["at_most"]:
        net, gross = _net_and_gross(document["at_most"])
        life = format_duration(document["ttl_s"])
        console.print(f"Over its time to live of {life}: {net} {currency} net, {gross} gross.", highlight=False)


def print_cluster(document: Json, console: Console) -> None:
    """Print a cluster's nodes with prices, then versions and the time that each phase took."""
    currency = document["hourly"]["currency"] if document["hourly"] else ""
    origin = f"{', protected' if document['protected'] else ''}{', imported' if document['imported'] else ''}"
    age, left = format_duration(document["age_s"]), format_time_left(document["left_s"])
    title = f"Cluster {document['prefix']} ({document['state']}, {age} old, {left}{origin})"
    prices = (f"{currency}/h net".lstrip("/"), "gross")
    columns = ("node", "type", "location", "public IP", "private IP", "status", *prices)
    table = new_table(*columns, title=title, right=prices)
    for node in document["nodes"]:
        cells = [node[key] or "-" for key in ("name", "server_type", "location", "public_ip", "private_ip", "status")]
        table.add_row(*cells, *_net_and_gross(node["hourly"]))
    if document["hourly"]:
        table.add_row("all", "", "", "", "", "", *_net_and_gross(document["hourly"]), style="bold")
    console.print(table)
    console.print(f"\nCost so far: {price_in_words(document['cost'])}; {NOT_COUNTED} is not counted.", highlight=False)
    if document["tried"]:
        console.print()
        print_tries(document["tried"], console)
    if document["environment"]:
        _print_environment_record(document, console)
    if document["versions"]:
        words = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        console.print(f"\n{_shared(document)}: {words}", highlight=False)
    if document["phases"]:
        words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in document["phases"].items())
        console.print(f"\nPhases, over all nodes: {words}", highlight=False)


def _shared(document: Json) -> str:
    differs = bool(document["environment"] and document["environment"]["allowed"])
    return "On scheduler and workers" if differs else "The same on client, scheduler and workers"


def _print_environment_record(document: Json, console: Console) -> None:
    """Print what the nodes said of themselves, which is one line as long as they all said the same."""
    record = document["environment"]
    said: dict[tuple[str, ...], list[str]] = {}
    for node in document["nodes"]:
        said.setdefault(tuple(str(node[key] or "-")[:12] for key in ("lock", "script", "tool")), []).append(
            node["name"]
        )
    console.print(f"\nEnvironment {record['name']}, made for {record['client']['python']}", highlight=False)
    for (lock, script, tool), names in said.items():
        who = "all nodes" if len(said) == 1 else ", ".join(names)
        console.print(f"{who}: lock {lock}, script {script}, tool {tool}", highlight=False)
    for node in document["nodes"]:
        for what in node["differs"]:
            console.print(f"{node['name']}: its {what} is not the one of this scherbelberg", highlight=False)
    print_allowed(record["allowed"], console)


def orphan_lines(found: Iterable[PaidOrphan]) -> list[str]:
    """Tell what has outlived clusters and is paid for on, a line for each."""
    return [
        f"Still paid for, of cluster '{one.prefix}' that is gone: {one.what.description} of {one.what.server},"
        f" {one.what.cost}; delete it in Hetzner's console, or 'scherbelberg destroy -p {one.prefix} --forget'."
        for one in found
    ]


def print_overview(documents: list[Json], console: Console) -> None:
    """Print one line for each cluster."""
    if not documents:
        console.print("There are no clusters.")
        return
    table = new_table("prefix", "state", "owner", "age", "deadline", "machines", "cost so far", "keys here", "uid")
    for document in documents:
        age = format_duration(document["age_s"])
        keys = "imported" if document["imported"] else "yes" if document["keys_here"] else "no"
        count = str(len(document["nodes"]))
        state = f"{document['state']}, protected" if document["protected"] else document["state"]
        cells = [document["prefix"], state, document["owner"], age, format_time_left(document["left_s"])]
        table.add_row(*cells, count, price_in_words(document["cost"]), keys, document["uid"])
    console.print(table)


def print_environment(document: Json, console: Console) -> None:
    """Print an environment in a few lines, with all in which it differs from the client."""
    client, versions = document["client"], document["versions"]
    console.print(
        f"Environment {document['name']} (Python {versions['python']}, dask {versions['dask']}) for the client"
        f" {client['python']} ({client['source']}).",
        highlight=False,
    )
    for lock in document["locks"]:
        console.print(f"{lock['platform']}: {amount_of(lock)}, digest {lock['digest'][:12]}.", highlight=False)
    print_allowed(document["allowed"], console)


def print_allowed(rows: list[dict[str, str]], console: Console) -> None:
    """Print in what nodes may differ from the client; nothing where that is nothing.

    Args:
        rows: ``package`` with the versions of ``client`` and ``nodes``.
        console: Where.
    """
    if not rows:
        return
    table = new_table("allowed to differ", "client", "nodes")
    for row in rows:
        table.add_row(row["package"], row["client"], row["nodes"])
    console.print(table)


def amount_of(lock: Json) -> str:
    """Tell how much a lock is."""
    words = f"{lock['packages']} packages"
    if lock["wheels"]:
        words += f" and {lock['wheels']} wheel{'s' if lock['wheels'] > 1 else ''}"
    return words if lock["bytes"] is None else f"{words}, {lock['bytes'] / 1e6:.0f} MB to download"


def print_locks(documents: list[Json], console: Console) -> None:
    """Print one line for each lock."""
    table = new_table("profile", "platform", "python", "dask", "packages", "wheels", "MB", "digest")
    for row in documents:
        size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}"
        versions = row["versions"]
        cells = (row["profile"], row["platform"], versions["python"], versions.get("dask", "-"))
        table.add_row(*cells, str(row["packages"]), str(row["wheels"]), size, row["digest"][:12])
    console.print(table)


def print_versions(columns: Mapping[str, Mapping[str, str]], console: Console) -> None:
    """Print compared versions side by side; where they differ from the first, they stand out.

    Args:
        columns: Versions by the columns' headings.
        console: Where.
    """
    table = new_table("package", *columns)
    for name in ("python", *REQUIRED, *OPTIONAL):
        found = [versions.get(name, "-") for versions in columns.values()]
        # Of Python, what follows the second point may differ.
        counted = [".".join(version.split(".")[:2]) for version in found] if name == "python" else found
        differs = len(set(counted) - {"-"}) > 1
        table.add_row(name, *found, style="bold red" if differs else None)
    console.print(table)


def print_catalog(document: Json, console: Console) -> None:
    """Print a row for each server type at each of its prices, then the locations.

    Args:
        document: As `catalog_document` makes it.
        console: Where.
    """
    currency = document["currency"]
    prices = (f"{currency}/h\nnet", "\ngross", f"{currency}/month\nnet", "\ngross")
    columns = ("type", "cores", "", "memory\nGiB", "disk\nGB", "arch", *prices)
    table = new_table(*columns, right=("cores", "memory\nGiB", "disk\nGB", *prices))
    table.add_column("in stock,\nthe cloud says")
    table.add_column("not in\nstock")
    for row in document["server_types"]:
        for offers in _group_by_price(row["offers"]):
            table.add_row(*_offer_cells(row, offers))
    console.print(table)
    console.print("\nA public IPv4 address is extra, and every node has one:", highlight=False)
    _print_locations(document, console)


def _group_by_price(offers: list[Json]) -> list[list[Json]]:
    """The offers of a type, those of one price together."""
    groups: dict[str, list[Json]] = {}
    for offer in offers:
        groups.setdefault(str((offer["hourly"], offer["monthly"])), []).append(offer)
    return list(groups.values())


def _offer_cells(row: Json, offers: list[Json]) -> list[str]:
    hourly, monthly = offers[0]["hourly"], offers[0]["monthly"]
    return [
        row["name"],
        str(row["cores"]),
        "dedicated" if row["dedicated"] else "shared",
        f"{row['memory_bytes'] / 2**30:g}",
        str(row["disk_gb"]),
        row["architecture"],
        *_net_and_gross(hourly),
        *(f"{Decimal(monthly[kind]):.2f}" for kind in ("net", "gross")),
        *(" ".join(_location_of(offer) for offer in offers if offer["available"] is there) for there in (True, False)),
    ]


def _location_of(offer: Json) -> str:
    if offer["ends_s"] is None:
        return str(offer["location"])
    return f"{offer['location']} (until {datetime.fromtimestamp(offer['ends_s'], UTC):%Y-%m-%d})"


def _print_locations(document: Json, console: Console) -> None:
    table = new_table("location", "city", "country", "network zone", f"IPv4 {document['currency']}/h net", "gross")
    for row in document["locations"]:
        prices = _net_and_gross(row["ipv4"] and row["ipv4"]["hourly"])
        table.add_row(row["name"], row["city"], row["country"], row["network_zone"], *prices)
    console.print(table)


def print_bill(document: Json, console: Console) -> None:
    """Print what clusters have cost: a row for each month, or for each cluster of one.

    Args:
        document: As `bill_document` makes it.
        console: Where.
    """
    if not document["clusters"]:
        console.print("Nothing was given back." if document["month"] is None else "Nothing is charged for this month.")
        return
    head, rows = _rows_by_month(document) if document["month"] is None else _rows_by_cluster(document)
    table = new_table(*head, right=_MONEY_COLUMNS)
    for row in rows:
        table.add_row(*row)
    for total in document["totals"]:
        table.add_row("all", *[""] * (len(head) - 4), *_price_cells(total), style="bold")
    console.print(table)
    if document["unknown"] and document["month"] is None:
        console.print(f"\nNot in it, since their price is unknown: {', '.join(document['unknown'])}", highlight=False)
    words = ", ".join(document["not_counted"])
    console.print(f"\nStarted hours count whole, IPv4 is in it; {words} is not counted.", highlight=False)


def _rows_by_month(document: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("month", "clusters", "net", "gross", "currency")
    return head, [(row["month"], str(row["clusters"]), *_price_cells(row["cost"])) for row in document["sums"]]


def _rows_by_cluster(document: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("cluster", "owner", "uid", "given back", "machines", "net", "gross", "currency")
    rows: list[tuple[str, ...]] = []
    for row in document["clusters"]:
        end = f"{datetime.fromtimestamp(row['ended_s'], UTC):%Y-%m-%d %H:%M}"
        share = {"currency": row["currency"]} | row["months"][document["month"]] if row["months"] else None
        names = (row["prefix"], row["owner"], row["uid"], end, str(len(row["nodes"])))
        rows.append((*names, *_price_cells(share)))
    return head, rows


def _price_cells(price: Json | None) -> tuple[str, str, str]:
    if price is None:
        return _UNKNOWN, _UNKNOWN, ""
    return *_net_and_gross(price), price["currency"]


def price_in_words(price: Json | None) -> str:
    """A price of a document for people.

    Args:
        price: Net, gross and currency, or None.
    """
    return f"{money(price['net'])} {price['currency']} net, {money(price['gross'])} gross" if price else _UNKNOWN


def bill_lines(document: Json) -> list[str]:
    """Tell what clusters have cost that were just given back, a line for each.

    Args:
        document: As `actions.destroy_clusters` makes it.
    """
    entries: dict[str, list[Json]] = {}
    for entry in document["bills"]:
        entries.setdefault(entry["uid"], []).append(entry)
    return [_bill_line(parts) for parts in entries.values()]


def _bill_line(parts: list[Json]) -> str:
    one = merge_entries([read_entry(part) for part in parts])
    machines = "1 machine" if len(one.machines) == 1 else f"{len(one.machines)} machines"
    cost = entry_document(one)["cost"]
    price = price_in_words(cost | {"currency": one.currency} if cost else None)
    life = format_duration(one.ended_s - one.created_s)
    return f"Cluster {one.prefix} ({machines}, {life}) has cost {price}; {NOT_COUNTED} is not counted."


def print_checks(checks: Iterable[Check], console: Console) -> None:
    """Print a line for each check, and what to do below it.

    Args:
        checks: All of them.
        console: Where.
    """
    table = Table.grid(padding=(0, 2))
    for check in checks:
        style = _CHECK_STYLES[check.status]
        table.add_row(Text(check.status, style=style), Text(check.name.replace("_", " ")), Text(check.message))
        if check.advice:
            table.add_row("", "", Padding(Text(f"-> {check.advice}"), (0, 0, 0, 2)))
    console.print(table)
