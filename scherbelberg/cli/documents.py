# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the commands print: the same facts as a document for programs and as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from scherbelberg.catalog import PriceList
from scherbelberg.cli.bill import in_words
from scherbelberg.cli.output import SCHEMA, print_tries, tries_document
from scherbelberg.cli.tables import print_allowed
from scherbelberg.deadlines import left_words
from scherbelberg.fitting import PROFILES
from scherbelberg.holdings import Holding, words_for
from scherbelberg.ledger import NOT_COUNTED, Cost, Entry, cost, spent, sum_of
from scherbelberg.outliving import write_outliving
from scherbelberg.pins import Pins
from scherbelberg.pricing import write_price
from scherbelberg.record import EnvRecord, Manifest, NodeRecord
from scherbelberg.remaining import Remembered
from scherbelberg.shipped import shipped_pins
from scherbelberg.survey import Kept


def cluster_document(
    kept: Kept, manifest: Manifest | None, prices: PriceList | None, earlier: Iterable[Entry]
) -> dict[str, Any]:
    """Describe a cluster.

    Args:
        kept: What the cloud holds of it.
        manifest: What this computer remembers of it, or None.
        prices: What the cloud charges at present, or None if it does not tell.
        earlier: What was given back of it before, such as machines that were replaced.

    Returns:
        JSON values; money is decimal text, times are seconds.
    """
    holding = kept.holding
    costs = [cost(server, prices, now_s=kept.now_s) if prices else None for server in holding.servers]
    return {
        "schema": SCHEMA,
        "prefix": holding.prefix,
        "uid": holding.uid,
        "owner": holding.owner,
        "state": holding.state,
        "age_s": int(kept.now_s) - holding.created_s,
        "deadline_s": holding.deadline_s,
        "left_s": None if holding.deadline_s is None else holding.deadline_s - int(kept.now_s),
        "idle_limit_s": holding.idle_s,
        "certificates_end_s": holding.certified_s,
        "protected": holding.is_protected,
        "keys_here": kept.folder is not None,
        "imported": kept.folder is not None and kept.folder.is_imported,
        "nodes": _nodes(holding, manifest, costs),
        **_all_prices(costs, prices, earlier),
        "phases": dict(manifest.phases) if manifest else {},
        "tried": tries_document(manifest.tried) if manifest else [],
        "api_requests": manifest.api_requests if manifest else None,
        "versions": dict(manifest.versions) if manifest else {},
        "environment": _environment(manifest.environment) if manifest else None,
    }


def _environment(record: EnvRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "digests": dict(record.digests),
        "client": {"python": record.client, "source": record.client_source},
        "allowed": [{"package": name, "client": here, "nodes": there} for name, here, there in record.allowed],
    }


def _nodes(holding: Holding, manifest: Manifest | None, costs: list[Cost | None]) -> list[dict[str, Any]]:
    remembered = {node.name: node for node in manifest.nodes} if manifest else {}
    is_shipped = manifest is not None and manifest.environment.name in PROFILES
    pins = shipped_pins()
    rows = []
    for server, its_cost in zip(holding.servers, costs, strict=True):
        name = server.labels.get("node", server.name)
        record = remembered.get(name)
        row = {
            "name": name,
            "role": server.labels.get("role", ""),
            "server_type": server.server_type,
            "location": server.location,
            "public_ip": server.public_ip,
            "public_ipv6": server.public_ipv6,
            "private_ip": holding.private_ip(server),
            "status": server.status,
            **_prices(its_cost, {}),
            "lock": record.lock or None if record else None,
            "script": record.script or None if record else None,
            "tool": record.tool or None if record else None,
            "differs": _differing(record, pins, is_shipped=is_shipped) if record else [],
        }
        rows.append(row)
    return rows


def _differing(record: NodeRecord, pins: Pins, *, is_shipped: bool) -> list[str]:
    """What a node said it has and this tool has not, of scripts and of locks that are shipped."""
    found = ["lock"] if is_shipped and record.lock and record.lock not in pins.locks.values() else []
    return [*found, "script"] if record.script and record.script != pins.script else found


def _all_prices(costs: list[Cost | None], prices: PriceList | None, earlier: Iterable[Entry]) -> dict[str, Any]:
    if prices is None:
        return _prices(None, {})
    currency = prices.currency
    return _prices(sum_of([*costs, *(spent(one, currency) for one in earlier)]), {"currency": currency})


def _prices(known: Cost | None, currency: dict[str, str]) -> dict[str, Any]:
    """Per hour and so far, both with the currency where it is not said elsewhere; None if the price is unknown."""
    if known is None:
        return {"hourly": None, "cost": None}
    return {"hourly": write_price(known.hourly) | currency, "cost": write_price(known.price) | currency}


def print_cluster(document: dict[str, Any], console: Console) -> None:
    """Print a cluster's nodes with prices, then versions and the time that each phase took."""
    currency = document["hourly"]["currency"] if document["hourly"] else ""
    origin = f"{', protected' if document['protected'] else ''}{', imported' if document['imported'] else ''}"
    age, left = words_for(document["age_s"]), left_words(document["left_s"])
    title = f"Cluster {document['prefix']} ({document['state']}, {age} old, {left}{origin})"
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    for column in ("node", "type", "location", "public IP", "private IP", "status"):
        table.add_column(column, no_wrap=True)
    table.add_column(f"{currency}/h net".lstrip("/"), justify="right", no_wrap=True)
    table.add_column("gross", justify="right", no_wrap=True)
    for node in document["nodes"]:
        price = node["hourly"] or {}
        cells = [node[key] or "-" for key in ("name", "server_type", "location", "public_ip", "private_ip", "status")]
        table.add_row(*cells, _money(price.get("net")), _money(price.get("gross")))
    if document["hourly"]:
        total = document["hourly"]
        table.add_row("all", "", "", "", "", "", _money(total["net"]), _money(total["gross"]), style="bold")
    console.print(table)
    console.print(f"\nCost so far: {in_words(document['cost'])}; {NOT_COUNTED} is not counted.", highlight=False)
    if document["tried"]:
        console.print()
        print_tries(document["tried"], console)
    if document["environment"]:
        _print_environment(document, console)
    if document["versions"]:
        words = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        console.print(f"\n{_shared(document)}: {words}", highlight=False)
    if document["phases"]:
        words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in document["phases"].items())
        console.print(f"\nPhases, over all nodes: {words}", highlight=False)


def _shared(document: dict[str, Any]) -> str:
    differs = bool(document["environment"] and document["environment"]["allowed"])
    return "On scheduler and workers" if differs else "The same on client, scheduler and workers"


def _print_environment(document: dict[str, Any], console: Console) -> None:
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


def _money(text: str | None) -> str:
    return f"{Decimal(text):.4f}" if text else "-"


def outliving_document(found: Iterable[Remembered]) -> list[dict[str, Any]]:
    """Describe what has outlived clusters and is paid for on."""
    return [{"prefix": one.prefix, "uid": one.uid, **write_outliving(one.what)} for one in found]


def outliving_lines(found: Iterable[Remembered]) -> list[str]:
    """Tell the same, a line for each."""
    return [
        f"Still paid for, of cluster '{one.prefix}' that is gone: {one.what.described} of {one.what.server},"
        f" {one.what.cost}; delete it in Hetzner's console, or 'scherbelberg destroy -p {one.prefix} --forget'."
        for one in found
    ]


def print_overview(documents: list[dict[str, Any]], console: Console) -> None:
    """Print one line for each cluster."""
    if not documents:
        console.print("There are no clusters.")
        return
    table = Table(pad_edge=False, box=None)
    for column in ("prefix", "state", "owner", "age", "deadline", "machines", "cost so far", "keys here", "uid"):
        table.add_column(column, no_wrap=True)
    for document in documents:
        age = words_for(document["age_s"])
        keys = "imported" if document["imported"] else "yes" if document["keys_here"] else "no"
        count = str(len(document["nodes"]))
        state = f"{document['state']}, protected" if document["protected"] else document["state"]
        cells = [document["prefix"], state, document["owner"], age, left_words(document["left_s"])]
        table.add_row(*cells, count, in_words(document["cost"]), keys, document["uid"])
    console.print(table)
