# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Moves the deadline of a cluster that lives, and changes its idle time; needs nothing on this computer."""

from __future__ import annotations

import contextlib
from enum import Enum
from typing import Final

from attrs import evolve

from scherbelberg.cloud.hetzner import open_api
from scherbelberg.errors import BadInput, ClusterBroken, ClusterNotFound, StateDamaged
from scherbelberg.inventory.clusters import Holding, words_for
from scherbelberg.inventory.listing import Kept, overview
from scherbelberg.inventory.validity import check_deadline
from scherbelberg.planning.plan import time_label
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec, Timeouts


class Unchanged(Enum):
    """A time that stays as it is; None is taken, for never."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


async def find_one(settings: Settings, prefix: str, *, uid: str | None = None, is_told: bool = False) -> Kept:
    """Find the cluster of a name whose labels are to be changed: the only one, or the only one usable from here.

    Args:
        settings: The surroundings.
        prefix: Its name.
        uid: Only the cluster of this uid, whatever else has its name.
        is_told: Whether its deadline is pointed at if it is near or has passed, since it stays.

    Raises:
        ClusterNotFound: There is none.
        ClusterBroken: It is being made, or half made.
        BadInput: There are several, and nothing tells which is meant.
    """
    named = await overview(settings, prefix=prefix, is_told=is_told)
    found = [one for one in named if uid in {None, one.holding.uid}]
    if not found:
        raise ClusterNotFound(f"There is no cluster '{prefix}' in this project of {settings.access.place}.")
    meant = [one for one in found if one.folder is not None] if len(found) > 1 else found
    if len(meant) != 1:
        names = "; ".join(one.holding.described(one.now_s) for one in found)
        raise BadInput(f"There are several clusters of this name, and it is not clear which is meant: {names}.")
    if meant[0].holding.state == "creating":
        # Whoever makes it writes labels, too, and one of two would be lost.
        name = meant[0].holding.described(meant[0].now_s)
        raise ClusterBroken(f"Cluster {name}: its labels can be changed when it is ready.")
    return meant[0]


async def extend(
    settings: Settings,
    prefix: str,
    *,
    uid: str | None = None,
    ttl_s: int | Unchanged | None = UNCHANGED,
    idle_s: int | Unchanged | None = UNCHANGED,
    may_shorten: bool = False,
) -> Kept:
    """Move the deadline of a cluster, or change after how much time without work it counts as forgotten.

    Args:
        settings: The surroundings.
        prefix: The cluster's name.
        uid: Its uid, if that is known.
        ttl_s: Seconds from now until the new deadline, or None for no deadline.
        idle_s: Seconds without work, or None for never.
        may_shorten: Whether the deadline may be earlier than the present one.

    Returns:
        The cluster as it was before, and the new times in what is held of it.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is being made, or half made.
        BadInput: A time cannot be, the new deadline would be earlier, or later than the end of the cluster's
            certificates, or it is not clear which cluster is meant.
    """
    given = {name: value for name, value in (("ttl_s", ttl_s), ("idle_s", idle_s)) if value is not UNCHANGED}
    ClusterSpec(**given)  # type: ignore[arg-type] # it knows what cannot be, types included
    found = await find_one(settings, prefix, uid=uid, is_told=ttl_s is UNCHANGED)
    holding = found.holding
    labels: dict[str, str] = {}
    new = holding
    if idle_s is not UNCHANGED:
        new, labels["idle"] = evolve(new, idle_s=idle_s), time_label(idle_s)
    if ttl_s is not UNCHANGED:
        deadline_s = None if ttl_s is None else int(found.now_s) + ttl_s
        check_deadline(prefix, deadline_s=deadline_s, certified_s=holding.certified_s)
        if not may_shorten:
            _require_later(deadline_s, found)
        new, labels["deadline"] = evolve(new, deadline_s=deadline_s), time_label(deadline_s)
    async with open_api(settings.access, Timeouts()) as hetzner:
        await hetzner.change_labels(holding.resources, labels)
    remember(found, new)
    return evolve(found, holding=new)


def _require_later(deadline_s: int | None, found: Kept) -> None:
    old_s = found.holding.deadline_s
    if deadline_s is None or (old_s is not None and deadline_s >= old_s):
        return
    lasts = "has no deadline" if old_s is None else "lives longer than that anyway"
    more = "" if old_s is None else f", for {words_for(old_s - found.now_s)}"
    raise BadInput(
        f"Cluster '{found.holding.prefix}' {lasts}{more}; --shorten, or may_shorten in programs, moves its"
        " deadline to an earlier time."
    )


def remember(found: Kept, new: Holding) -> None:
    """Write down what a cluster's labels say now, if this computer remembers the cluster.

    Args:
        found: The cluster as it was.
        new: What is held of it now.
    """
    if found.folder is None:
        return
    # A record that cannot be read is no reason not to let the cluster live: the labels are what counts.
    with contextlib.suppress(StateDamaged):
        manifest = found.folder.read()
        identity = evolve(manifest.identity, deadline_s=new.deadline_s, idle_s=new.idle_s)
        found.folder.save(evolve(manifest, identity=identity, is_protected=new.is_protected))
