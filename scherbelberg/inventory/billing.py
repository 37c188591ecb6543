# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what clusters have cost when they are gone, and notes it in this computer's history."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import asdict

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import PriceList, Resource, Server
from scherbelberg.concurrency.processes import is_alive, own_name
from scherbelberg.errors import (
    StateDamaged,
)
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.history import History
from scherbelberg.inventory.ledger import Entry, entry, node_name
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts
from scherbelberg.state.store import Folder, write_private

#: For the cloud to name its prices, in seconds.
_PRICES_S = 10.0
#: In a cluster's folder: which servers of it are being deleted, and since when.
_PENDING = "leaving.json"
_LOG = logging.getLogger("scherbelberg")
PendingDeletion = tuple[float, Server]


def record_pending_deletions(
    folder: Folder, found: Iterable[Resource], known: Iterable[Entry], *, now_s: float
) -> tuple[PendingDeletion, ...]:
    """Write down which servers of a cluster are about to be deleted: if this process is killed, another bills them.

    Args:
        folder: The cluster's.
        found: What there is of it.
        known: What was billed of it already.
        now_s: The API's clock, epoch seconds.

    Returns:
        What such a process has left to bill: since when it was deleted, and the server.
    """
    servers = [one for one in found if isinstance(one, Server)]
    there = {one.id for one in servers}
    done = {(machine.name, machine.created_s) for entry in known for machine in entry.machines}
    path = folder.path / _PENDING
    before = _read_pending_deletions(path)
    lost = [row for row in before if row[1].id not in there and (node_name(row[1]), row[1].created_s) not in done]
    rows = [(since_s, asdict(one)) for since_s, one in (*lost, *((now_s, one) for one in servers))]
    with contextlib.suppress(OSError):  # what is rented is given back all the same
        write_private(path, json.dumps({"process": own_name(), "rows": rows}).encode())
    return tuple(lost)


def _read_pending_deletions(path: Path) -> list[PendingDeletion]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [] if is_alive(document["process"]) else document["rows"]  # who lives bills what it deletes
        return [(float(since_s), Server(**row)) for since_s, row in rows]
    except Exception:  # noqa: BLE001 - mostly there is none, and what makes no sense is lost
        return []


async def record_costs(
    hetzner: Hetzner, settings: Settings, gone: Iterable[Resource], *, lost: Iterable[PendingDeletion] = ()
) -> tuple[Entry, ...]:
    """Count what clusters have cost, and note it.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        gone: What was deleted just now, of any clusters.
        lost: What was deleted before by a process that was killed.

    Returns:
        An entry for each cluster of which a server is gone; without a price if the cloud does not tell.
    """
    parts: dict[float | None, list[Resource]] = {}
    for since_s, server in lost:
        parts.setdefault(since_s, []).append(server)
    parts[None] = list(gone)
    try:
        entries = await _entries(hetzner, parts, endpoint=settings.access.endpoint)
    except Exception as error:  # noqa: BLE001 - what is gone is gone, also where nobody can say what it has cost
        _LOG.warning("What was deleted cannot be billed: %r", error)
        return ()
    history = History(settings.home)
    for one in entries:
        try:
            history.append(one)
        except StateDamaged as error:
            # What is gone is gone, and why it went may be an error that counts for more.
            _LOG.warning("%s", error.message)
    return entries


async def _entries(
    hetzner: Hetzner, parts: Mapping[float | None, Iterable[Resource]], *, endpoint: str
) -> tuple[Entry, ...]:
    clusters = [(end_s, one) for end_s, part in parts.items() for one in group_clusters(part) if one.servers]
    if not clusters:
        return ()
    now_s = hetzner.now_s
    prices = await known_prices(hetzner)
    return tuple(entry(one, prices, endpoint=endpoint, ended_s=end_s or now_s) for end_s, one in clusters)


def read_entries(settings: Settings, uids: Iterable[str]) -> tuple[Entry, ...]:
    """What was given back of clusters before, as far as this computer's history can be read.

    Args:
        settings: The ambient configuration.
        uids: Of which.
    """
    wanted = set(uids)
    try:
        entries, _ = History(settings.home).read()
    except StateDamaged:
        return ()
    return tuple(one for one in entries if one.endpoint == settings.access.endpoint and one.uid in wanted)


async def known_prices(hetzner: Hetzner) -> PriceList | None:
    """Read what the cloud charges, or None if it does not tell: who looks or gives back is not kept by that.

    Args:
        hetzner: The project.
    """
    try:
        async with asyncio.timeout(_PRICES_S):
            return await hetzner.prices()
    except Exception:  # noqa: BLE001 - no answer, and one that makes no sense, are the same here
        return None


async def read_charges(settings: Settings) -> PriceList | None:
    """Read what the cloud charges for what exists, or None if it does not tell.

    Args:
        settings: The ambient configuration.
    """
    async with open_api(settings.access, Timeouts()) as hetzner:
        return await known_prices(hetzner)
