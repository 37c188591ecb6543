# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What would be made and what it would cost, as a document and as a table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from scherbelberg.cli.tables import environment_document, print_environment
from scherbelberg.fitting import Environment
from scherbelberg.holdings import words_for
from scherbelberg.places import Place
from scherbelberg.plan import ClusterPlan, NodePlan
from scherbelberg.pricing import write_price

Json = dict[str, Any]


def plan_document(plan: ClusterPlan, environment: Environment) -> Json:
    """Describe a plan.

    Args:
        plan: What would be made.
        environment: What its nodes would get.

    Returns:
        JSON values; money is decimal text, memory is bytes, times are seconds.
    """
    spec = plan.spec
    return {
        "schema": 1,
        "prefix": spec.prefix,
        "location": plan.location,
        "network_zone": plan.network_zone,
        "network_range": spec.network_range,
        "ssh_from": list(spec.ssh_from),
        "direct": list(spec.direct),
        "ttl_s": spec.ttl_s,
        "idle_s": spec.idle_s,
        "warden": spec.warden,
        "nodes": [_node(node) for node in plan.nodes],
        "instead": {
            "scheduler": [_place(place) for place in plan.candidates.scheduler[1:]],
            "worker": [_place(place) for place in plan.candidates.worker[1:]],
        },
        "environment": environment_document(environment),
        "hourly": {**write_price(plan.bill.hourly), "currency": plan.bill.currency},
        "at_most": write_price(plan.bill.at_most) if plan.bill.at_most else None,
    }


def _node(node: NodePlan) -> Json:
    kind = node.server_type
    return {
        "name": node.name,
        "role": node.role,
        "server_type": kind.name,
        "location": node.location,
        "cores": kind.cores,
        "memory_bytes": kind.memory_bytes,
        "image": node.image.name or str(node.image.id),
        "workers": list(node.workers),
        "hourly": write_price(node.hourly),
    }


def _place(place: Place) -> Json:
    return {"server_type": place.server_type.name, "location": place.location, "hourly": write_price(place.hourly)}


def print_plan(document: Json, console: Console) -> None:
    """Print machines with prices, who is let in, and what all of it costs.

    Args:
        document: As `plan_document` makes it.
        console: Where.
    """
    currency = document["hourly"]["currency"]
    title = f"Cluster {document['prefix']} would be made in {document['location']}; nothing was made"
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    for column in ("node", "type", "cores", "memory GiB", "image", "Dask workers", f"{currency}/h net", "gross"):
        table.add_column(column, no_wrap=True)
    for node in document["nodes"]:
        workers = str(len(node["workers"])) if node["role"] == "worker" else "-"
        memory = f"{node['memory_bytes'] / 2**30:g}"
        cells = (node["name"], node["server_type"], str(node["cores"]), memory, node["image"], workers)
        table.add_row(*cells, *_money(node["hourly"]))
    table.add_row("all", "", "", "", "", "", *_money(document["hourly"]), style="bold")
    console.print(table)
    console.print(f"\nSSH is let in from {', '.join(document['ssh_from'])}.", highlight=False)
    if document["direct"]:
        console.print(f"Dask over TLS is let in from {', '.join(document['direct'])}.", highlight=False)
    for role, places in document["instead"].items():
        if places:
            words = ", ".join(
                f"{one['server_type']} in {one['location']} ({_money(one['hourly'])[1]})" for one in places
            )
            console.print(f"Where there is none left for a {role} ({currency}/h gross): {words}.", highlight=False)
    print_environment(document["environment"], console)
    if document["at_most"]:
        net, gross = _money(document["at_most"])
        life = words_for(document["ttl_s"])
        console.print(f"Over its time to live of {life}: {net} {currency} net, {gross} gross.", highlight=False)


def _money(price: Json) -> tuple[str, str]:
    return f"{Decimal(price['net']):.4f}", f"{Decimal(price['gross']):.4f}"
