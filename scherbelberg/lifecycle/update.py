# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Changes a cluster that lives: moves its deadline, guards it against deletion, says who is let in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from attrs import evolve

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Firewall, Resource
from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.errors import BadInput, ClusterBroken, ClusterNotFound, StateDamaged, StateMissing
from scherbelberg.inventory.clusters import CloudCluster, format_duration, selector
from scherbelberg.inventory.listing import KnownCluster, fetch_clusters, find_own
from scherbelberg.inventory.validity import check_deadline
from scherbelberg.planning.plan import PROTECTED, firewall_rules, time_label
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec, Timeouts
from scherbelberg.state.manifest import Manifest


class Unchanged(Enum):
    """A time that stays as it is; None is taken, for never."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


async def find_one(
    settings: Settings, prefix: str, *, uid: str | None = None, with_warning: bool = False
) -> KnownCluster:
    """Find the cluster of a name whose labels are to be changed: the only one, or the only one usable from here.

    Args:
        settings: The ambient configuration.
        prefix: Its name.
        uid: Only the cluster of this uid, whatever else has its name.
        with_warning: Whether its deadline is pointed at if it is near or has passed, since it stays.

    Raises:
        ClusterNotFound: There is none.
        ClusterBroken: It is being made, or half made.
        BadInput: There are several, and nothing tells which is meant.
    """
    named = await fetch_clusters(settings, prefix=prefix, with_warning=with_warning)
    found = [one for one in named if uid in {None, one.cluster.uid}]
    if not found:
        raise ClusterNotFound(f"There is no cluster '{prefix}' in this project of {settings.access.place}.")
    meant = [one for one in found if one.folder is not None] if len(found) > 1 else found
    if len(meant) != 1:
        names = "; ".join(one.cluster.describe(one.now_s) for one in found)
        raise BadInput(f"There are several clusters of this name, and it is not clear which is meant: {names}.")
    if meant[0].cluster.state == "creating":
        # Whoever makes it writes labels, too, and one of two would be lost.
        name = meant[0].cluster.describe(meant[0].now_s)
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
) -> KnownCluster:
    """Move the deadline of a cluster, or change after how much time without work it counts as forgotten.

    Args:
        settings: The ambient configuration.
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
    found = await find_one(settings, prefix, uid=uid, with_warning=ttl_s is UNCHANGED)
    cluster = found.cluster
    labels: dict[str, str] = {}
    new = cluster
    if idle_s is not UNCHANGED:
        new, labels["idle"] = evolve(new, idle_s=idle_s), time_label(idle_s)
    if ttl_s is not UNCHANGED:
        deadline_s = None if ttl_s is None else int(found.now_s) + ttl_s
        check_deadline(prefix, deadline_s=deadline_s, certified_s=cluster.certified_s)
        if not may_shorten:
            _require_later(deadline_s, found)
        new, labels["deadline"] = evolve(new, deadline_s=deadline_s), time_label(deadline_s)
    async with open_api(settings.access, Timeouts()) as hetzner:
        await hetzner.change_labels(cluster.resources, labels)
    remember(found, new)
    return evolve(found, cluster=new)


def _require_later(deadline_s: int | None, found: KnownCluster) -> None:
    old_s = found.cluster.deadline_s
    if deadline_s is None or (old_s is not None and deadline_s >= old_s):
        return
    lasts = "has no deadline" if old_s is None else "lives longer than that anyway"
    more = "" if old_s is None else f", for {format_duration(old_s - found.now_s)}"
    raise BadInput(
        f"Cluster '{found.cluster.prefix}' {lasts}{more}; --allow-shorter, or may_shorten in programs, moves its"
        " deadline to an earlier time."
    )


def remember(found: KnownCluster, new: CloudCluster) -> None:
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


async def protect(settings: Settings, prefix: str, *, wanted: bool) -> CloudCluster:
    """Guard a cluster against `destroy`, `nuke` and `gc`, and its servers against everybody; or lift that.

    Firewalls and SSH keys have no protection of the cloud's: a label tells who uses this library. What somebody has
    protected in the cloud's console is allowed again, too.

    Args:
        settings: The ambient configuration.
        prefix: The cluster's name.
        wanted: Whether it is to be protected.

    Returns:
        The cluster as it was before.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is being made, or half made.
        BadInput: It is not clear which cluster is meant.
    """
    found = await find_one(settings, prefix)
    cluster = found.cluster
    async with open_api(settings.access, Timeouts()) as hetzner:
        # A single label speaks for the whole cluster: interrupted in the middle, it is protected.
        if wanted:
            await _label(hetzner, cluster.resources, {PROTECTED: "yes"})
        guarded = () if wanted else (one for one in cluster.resources if one.is_guarded and one.kind != "servers")
        await gather_or_cancel(*(hetzner.protect(one, wanted=wanted) for one in (*cluster.servers, *guarded)))
        if not wanted:
            await _label(hetzner, cluster.resources, {})
    remember(found, evolve(cluster, is_protected=wanted))
    return cluster


async def _label(hetzner: Hetzner, resources: Iterable[Resource], added: Mapping[str, str]) -> None:
    def labels(resource: Resource) -> dict[str, str]:
        return {key: value for key, value in resource.labels.items() if key != PROTECTED} | dict(added)

    await gather_or_cancel(*(hetzner.set_labels(resource, labels(resource)) for resource in resources))


async def set_source_ranges(
    settings: Settings, prefix: str, *, ssh_from: tuple[str, ...] | None = None, direct: tuple[str, ...] | None = None
) -> ClusterSpec:
    """Change the rules of a cluster's firewall, and remember them.

    Args:
        settings: The ambient configuration.
        prefix: The cluster's name.
        ssh_from: Ranges of addresses from which SSH is let in, or None for those of now.
        direct: Ranges of addresses from which Dask's TLS port is let in, or None for those of now.

    Returns:
        The cluster's wishes as they are from now on.

    Raises:
        BadInput: A range cannot be, or the scheduler listens to the private network alone.
        ClusterNotFound: There is none of this name.
        StateMissing: Its keys are not on this computer.
        ClusterBroken: Its firewall is gone.
    """
    known = await find_own(settings, prefix)
    if known.folder is None:
        raise StateMissing(f"The keys of cluster '{prefix}' are not on this computer.")
    manifest = known.folder.read()
    async with open_api(settings.access, Timeouts()) as hetzner:
        found = await hetzner.find("firewalls", selector(prefix=prefix, uid=known.cluster.uid))
        if not found:
            raise ClusterBroken(f"The firewall of cluster '{prefix}' is gone.")
        before = _as_it_is(manifest, *found)
        spec = evolve(
            before,
            ssh_from=before.ssh_from if ssh_from is None else ssh_from,
            direct=before.direct if direct is None else direct,
        )
        if spec.direct and not manifest.spec.direct:
            raise BadInput(
                f"Cluster '{prefix}' was made without --expose-scheduler: its scheduler listens to the private"
                " network alone, whatever a firewall lets in. Make it anew with --expose-scheduler."
            )
        for firewall in found:
            rules = firewall_rules(spec, manifest.ssh_port)
            await hetzner.set_rules(firewall, rules, within_s=spec.timeouts.cloud)
    # Somebody else may have written meanwhile, such as a client that pinned a key.
    known.folder.save(evolve(known.folder.read(), spec=spec))
    return spec


def _as_it_is(manifest: Manifest, *found: Resource) -> ClusterSpec:
    """A cluster's wishes with who is let in at present: another computer that uses it may have changed that."""
    spec = manifest.spec
    told = [one.let_in for one in found if isinstance(one, Firewall)]
    if None in told:
        return spec
    open_to = {port: ranges for let_in in told if let_in for port, ranges in let_in.items()}
    return evolve(
        spec,
        ssh_from=open_to.get(str(manifest.ssh_port), spec.ssh_from),
        direct=open_to.get(str(spec.ports.scheduler), ()),
    )
