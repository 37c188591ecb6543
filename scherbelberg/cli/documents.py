# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the commands print: the same facts as a document for programs and as tables for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from scherbelberg.cli.speaker import SCHEMA
from scherbelberg.holdings import Holding, words_for
from scherbelberg.keeping import Kept
from scherbelberg.record import Manifest, NodeRecord


def cluster_document(kept: Kept, manifest: Manifest | None) -> dict[str, Any]:
    """Describe a cluster.

    Args:
        kept: What the cloud holds of it.
        manifest: What this computer remembers of it, or None.

    Returns:
        JSON values; money is decimal text, times are seconds.
    """
    holding = kept.holding
    return {
        "schema": SCHEMA,
        "prefix": holding.prefix,
        "uid": holding.uid,
        "owner": holding.owner,
        "state": holding.state,
        "age_s": int(kept.now_s) - holding.created_s,
        "keys_here": kept.folder is not None,
        "nodes": _nodes(holding, manifest),
        "hourly": _hourly(manifest),
        "phases": dict(manifest.phases) if manifest else {},
        "api_requests": manifest.api_requests if manifest else None,
        "versions": dict(manifest.versions) if manifest else {},
    }


def _nodes(holding: Holding, manifest: Manifest | None) -> list[dict[str, Any]]:
    remembered = {node.name: node for node in manifest.nodes} if manifest else {}
    rows = []
    for server in holding.servers:
        name = server.labels.get("node", server.name)
        record = remembered.get(name)
        row = {
            "name": name,
            "role": server.labels.get("role", ""),
            "server_type": server.server_type,
            "location": server.location,
            "public_ip": server.public_ip,
            "private_ip": server.private_ip,
            "status": server.status,
            "hourly": _price(record) if record else None,
        }
        rows.append(row)
    return rows


def _price(record: NodeRecord) -> dict[str, str]:
    return {"net": record.hourly_net, "gross": record.hourly_gross}


def _hourly(manifest: Manifest | None) -> dict[str, str] | None:
    if manifest is None:
        return None
    net = sum((Decimal(node.hourly_net) for node in manifest.nodes), Decimal(0))
    gross = sum((Decimal(node.hourly_gross) for node in manifest.nodes), Decimal(0))
    return {"net": str(net), "gross": str(gross), "currency": manifest.currency}


def print_cluster(document: dict[str, Any], console: Console) -> None:
    """Print a cluster's nodes with prices, then versions and the time that each phase took."""
    currency = document["hourly"]["currency"] if document["hourly"] else ""
    title = f"Cluster {document['prefix']} ({document['state']}, {words_for(document['age_s'])} old)"
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
    if document["versions"]:
        words = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        console.print(f"\nThe same on client, scheduler and workers: {words}", highlight=False)
    if document["phases"]:
        words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in document["phases"].items())
        console.print(f"\nPhases, over all nodes: {words}", highlight=False)


def _money(text: str | None) -> str:
    return f"{Decimal(text):.4f}" if text else "-"


def print_overview(documents: list[dict[str, Any]], console: Console) -> None:
    """Print one line for each cluster."""
    if not documents:
        console.print("There are no clusters.")
        return
    table = Table(pad_edge=False, box=None)
    for column in ("prefix", "state", "owner", "age", "machines", "keys here", "uid"):
        table.add_column(column, no_wrap=True)
    for document in documents:
        age = words_for(document["age_s"])
        keys = "yes" if document["keys_here"] else "no"
        count = str(len(document["nodes"]))
        table.add_row(document["prefix"], document["state"], document["owner"], age, count, keys, document["uid"])
    console.print(table)
