# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Moves the deadline of a cluster that lives; needs nothing on this computer."""

from __future__ import annotations

import contextlib

from attrs import evolve

from scherbelberg.catalog import Resource
from scherbelberg.cloud import Hetzner
from scherbelberg.errors import BadInput, ClusterBroken, ClusterNotFound, StateDamaged
from scherbelberg.holdings import Holding, words_for
from scherbelberg.keeping import opened, overview
from scherbelberg.plan import deadline_label
from scherbelberg.settings import Settings
from scherbelberg.spec import Timeouts
from scherbelberg.store import Folder
from scherbelberg.survey import Kept
from scherbelberg.transport import Gone
from scherbelberg.waiting import together


async def find_one(settings: Settings, prefix: str) -> Kept:
    """Find the cluster of a name whose labels are to be changed: the only one, or the only one usable from here.

    Args:
        settings: The surroundings.
        prefix: Its name.

    Raises:
        ClusterNotFound: There is none.
        ClusterBroken: It is being made, or half made.
        BadInput: There are several, and nothing tells which is meant.
    """
    found = await overview(settings, prefix=prefix)
    if not found:
        raise ClusterNotFound(f"There is no cluster '{prefix}' in this project of {settings.access.place}.")
    meant = [one for one in found if one.folder is not None] if len(found) > 1 else list(found)
    if len(meant) != 1:
        names = "; ".join(one.holding.described(one.now_s) for one in found)
        raise BadInput(f"There are several clusters of this name, and it is not clear which is meant: {names}.")
    if meant[0].holding.state == "creating":
        # Whoever makes it writes labels, too, and one of two would be lost.
        name = meant[0].holding.described(meant[0].now_s)
        raise ClusterBroken(f"Cluster {name}: its labels can be changed when it is ready.")
    return meant[0]


async def extend(settings: Settings, prefix: str, ttl_s: int | None, *, may_shorten: bool = False) -> Kept:
    """Move the deadline of a cluster.

    Args:
        settings: The surroundings.
        prefix: The cluster's name.
        ttl_s: Seconds from now until the new deadline, or None for no deadline.
        may_shorten: Whether it may be earlier than the present one.

    Returns:
        The cluster as it was before, and the new deadline in what is held of it.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is being made, or half made.
        BadInput: The new deadline would be earlier, or it is not clear which cluster is meant.
    """
    found = await find_one(settings, prefix)
    holding = found.holding
    deadline_s = None if ttl_s is None else int(found.now_s) + ttl_s
    if not may_shorten and _is_earlier(deadline_s, holding):
        lasts = "has no deadline" if holding.deadline_s is None else "lives longer than that anyway"
        more = "" if holding.deadline_s is None else f", for {words_for(holding.deadline_s - found.now_s)}"
        raise BadInput(f"Cluster '{prefix}' {lasts}{more}; --shorten moves its deadline to an earlier time.")
    async with opened(settings, Timeouts()) as hetzner:
        await together(*(_write(hetzner, resource, deadline_s) for resource in holding.resources))
    if found.folder is not None:
        _remember(found.folder, deadline_s)
    return evolve(found, holding=evolve(holding, deadline_s=deadline_s))


def _is_earlier(deadline_s: int | None, holding: Holding) -> bool:
    if deadline_s is None:
        return False
    return holding.deadline_s is None or deadline_s < holding.deadline_s


async def _write(hetzner: Hetzner, resource: Resource, deadline_s: int | None) -> None:
    with contextlib.suppress(Gone):
        # The cloud replaces all labels of a resource by those that are sent.
        await hetzner.set_labels(resource, {**resource.labels, "deadline": deadline_label(deadline_s)})


def _remember(folder: Folder, deadline_s: int | None) -> None:
    # A record that cannot be read is no reason not to let the cluster live: the labels are what counts.
    with contextlib.suppress(StateDamaged):
        manifest = folder.read()
        folder.save(evolve(manifest, identity=evolve(manifest.identity, deadline_s=deadline_s)))
