# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The documents that commands print for programs."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from scherbelberg.cli.output import SCHEMA, Json, tries_document
from scherbelberg.cloud.pricing import write_price
from scherbelberg.environments.fit import PROFILES
from scherbelberg.environments.shipped import shipped_pins
from scherbelberg.inventory.ledger import (
    NOT_COUNTED,
    add_costs,
    by_currency,
    by_month,
    cost,
    entry_cost,
    entry_document,
    falls_in_month,
)
from scherbelberg.inventory.orphans import write_orphan
from scherbelberg.planning.lookup import find_location

if TYPE_CHECKING:
    from scherbelberg.cloud.pricing import Tariff
    from scherbelberg.cloud.resources import Catalog, Location, Offer, PriceList, ServerType
    from scherbelberg.environments.fit import Environment
    from scherbelberg.environments.lock import EnvLock
    from scherbelberg.environments.shipped import Pins
    from scherbelberg.environments.versions import Client, Versions
    from scherbelberg.inventory.clusters import CloudCluster
    from scherbelberg.inventory.history import Damage
    from scherbelberg.inventory.ledger import Cost, Entry
    from scherbelberg.inventory.listing import KnownCluster
    from scherbelberg.inventory.orphan_records import PaidOrphan
    from scherbelberg.lifecycle.diagnosis import Check
    from scherbelberg.planning.candidates import Place
    from scherbelberg.planning.plan import ClusterPlan, NodePlan
    from scherbelberg.state.manifest import EnvRecord, Manifest, NodeRecord


def cluster_document(
    known: KnownCluster, manifest: Manifest | None, prices: PriceList | None, earlier: Iterable[Entry]
) -> Json:
    """Describe a cluster.

    Args:
        known: What the cloud holds of it.
        manifest: What this computer remembers of it, or None.
        prices: What the cloud charges at present, or None if it does not tell.
        earlier: What was given back of it before, such as machines that were replaced.

    Returns:
        JSON values; money is decimal text, times are seconds.
    """
    cluster = known.cluster
    costs = [cost(server, prices, now_s=known.now_s) if prices else None for server in cluster.servers]
    return {
        "schema": SCHEMA,
        "prefix": cluster.prefix,
        "uid": cluster.uid,
        "owner": cluster.owner,
        "state": cluster.state,
        "age_s": int(known.now_s) - cluster.created_s,
        "deadline_s": cluster.deadline_s,
        "left_s": None if cluster.deadline_s is None else cluster.deadline_s - int(known.now_s),
        "idle_limit_s": cluster.idle_s,
        "certificates_end_s": cluster.certified_s,
        "protected": cluster.is_protected,
        "keys_here": known.folder is not None,
        "imported": known.folder is not None and known.folder.is_imported,
        "nodes": _nodes(cluster, manifest, costs),
        **_all_prices(costs, prices, earlier),
        "phases": dict(manifest.phases) if manifest else {},
        "tried": tries_document(manifest.tried) if manifest else [],
        "api_requests": manifest.api_requests if manifest else None,
        "versions": dict(manifest.versions) if manifest else {},
        "environment": _environment_record(manifest.environment) if manifest else None,
    }


def _environment_record(record: EnvRecord) -> Json:
    return {
        "name": record.name,
        "digests": dict(record.digests),
        "client": {"python": record.client, "source": record.client_source},
        "allowed": [{"package": name, "client": here, "nodes": there} for name, here, there in record.allowed],
    }


def _nodes(cluster: CloudCluster, manifest: Manifest | None, costs: list[Cost | None]) -> list[Json]:
    remembered = {node.name: node for node in manifest.nodes} if manifest else {}
    is_shipped = manifest is not None and manifest.environment.name in PROFILES
    pins = shipped_pins()
    rows = []
    for server, its_cost in zip(cluster.servers, costs, strict=True):
        name = server.labels.get("node", server.name)
        record = remembered.get(name)
        row = {
            "name": name,
            "role": server.labels.get("role", ""),
            "server_type": server.server_type,
            "location": server.location,
            "public_ip": server.public_ip,
            "public_ipv6": server.public_ipv6,
            "private_ip": cluster.private_ip(server),
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


def _all_prices(costs: list[Cost | None], prices: PriceList | None, earlier: Iterable[Entry]) -> Json:
    if prices is None:
        return _prices(None, {})
    currency = prices.currency
    return _prices(add_costs([*costs, *(entry_cost(one, currency) for one in earlier)]), {"currency": currency})


def _prices(known: Cost | None, currency: dict[str, str]) -> Json:
    """Per hour and so far, both with the currency where it is not said elsewhere; None if the price is unknown."""
    if known is None:
        return {"hourly": None, "cost": None}
    return {"hourly": write_price(known.hourly) | currency, "cost": write_price(known.price) | currency}


def orphans_document(found: Iterable[PaidOrphan]) -> list[Json]:
    """Describe what has outlived clusters and is paid for on."""
    return [{"prefix": one.prefix, "uid": one.uid, **write_orphan(one.what)} for one in found]


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
        "schema": SCHEMA,
        "prefix": spec.prefix,
        "location": plan.location,
        "network_zone": plan.network_zone,
        "network_range": spec.network_range,
        "ssh_from": list(spec.ssh_from),
        "direct": list(spec.direct),
        "ttl_s": spec.ttl_s,
        "idle_s": spec.idle_s,
        "warden": spec.warden,
        "nodes": [_planned_node(node) for node in plan.nodes],
        "instead": {
            "scheduler": [_alternative(place) for place in plan.candidates.scheduler[1:]],
            "worker": [_alternative(place) for place in plan.candidates.worker[1:]],
        },
        "environment": environment_document(environment),
        "hourly": {**write_price(plan.bill.hourly), "currency": plan.bill.currency},
        "at_most": write_price(plan.bill.at_most) if plan.bill.at_most else None,
    }


def _planned_node(node: NodePlan) -> Json:
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


def _alternative(place: Place) -> Json:
    return {"server_type": place.server_type.name, "location": place.location, "hourly": write_price(place.hourly)}


def environment_document(environment: Environment) -> Json:
    """Describe an environment that was chosen for a client.

    Args:
        environment: The environment.

    Returns:
        JSON values; sizes are bytes.
    """
    return {
        "name": environment.name,
        "client": client_document(environment.client),
        "versions": _versions(environment.versions),
        "allowed": [{"package": name, "client": here, "nodes": there} for name, here, there in environment.allowed],
        "locks": [lock_document(lock) for lock in environment.locks.values()],
    }


def client_document(client: Client) -> Json:
    """Describe a client."""
    return {"python": client.path, "source": client.source, "versions": _versions(client.versions)}


def lock_document(lock: EnvLock) -> Json:
    """Describe a lock."""
    return {
        "profile": lock.profile,
        "platform": lock.platform,
        "digest": lock.digest,
        "versions": _versions(lock.versions),
        "packages": len(lock.packages),
        "wheels": len(lock.wheels),
        "bytes": lock.size,
    }


def _versions(versions: Versions) -> dict[str, str]:
    return {"python": versions.python, **versions.packages}


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
    places = catalog.locations if location is None else (find_location(location, catalog),)
    names = [place.name for place in places]
    types = [_type_row(kind, _sold_offers(kind, names, catalog)) for kind in catalog.server_types]
    sold = [row for row in types if row["offers"]]
    return {
        "schema": SCHEMA,
        "currency": catalog.currency,
        "server_types": sorted(sold, key=lambda row: (Decimal(row["offers"][0]["hourly"]["net"]), row["name"])),
        "locations": [_location_row(place, catalog) for place in places],
    }


def _sold_offers(kind: ServerType, names: list[str], catalog: Catalog) -> list[Offer]:
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
    return {"hourly": write_price(tariff.hourly), "monthly": write_price(tariff.monthly)}


def bill_document(entries: tuple[Entry, ...], damages: tuple[Damage, ...], *, endpoint: str, month: str | None) -> Json:
    """Describe what clusters have cost.

    Args:
        entries: Of all clusters that are gone.
        damages: Lines of the history that make no sense.
        endpoint: Only of this API.
        month: Only what is charged for this calendar month, or None for all.

    Returns:
        JSON values; money is decimal text, times are epoch seconds.
    """
    found = [
        entry for entry in entries if entry.endpoint == endpoint and (month is None or falls_in_month(entry, month))
    ]
    sums = [one for one in by_month(found) if month in {None, one.month}]
    return {
        "schema": SCHEMA,
        "endpoint": endpoint,
        "month": month,
        "clusters": [entry_document(entry) for entry in found],
        "sums": [
            {"month": one.month, "clusters": one.clusters, "cost": write_price(one.price) | {"currency": one.currency}}
            for one in sums
        ],
        "totals": [write_price(price) | {"currency": currency} for currency, price in by_currency(sums).items()],
        "unknown": [entry.uid for entry in found if entry.price is None],
        "not_counted": [NOT_COUNTED],
        "damaged": [{"line": damage.line, "reason": damage.reason} for damage in damages],
    }


def checks_document(checks: Iterable[Check]) -> Json:
    """Describe what was found.

    Args:
        checks: All of them.
    """
    rows = [{"name": one.name, "status": one.status, "message": one.message, "advice": one.advice} for one in checks]
    return {"schema": SCHEMA, "healthy": all(row["status"] != "fail" for row in rows), "checks": rows}
