# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lists what a project holds and offers, finds one's own clusters in it, and points at what somebody has forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import frozen

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import KINDS, Catalog, Kind, Resource
from scherbelberg.concurrency.waiting import gather_or_cancel, pause
from scherbelberg.errors import (
    CloudUnreachable,
    ClusterNotFound,
    StateDamaged,
    StateMissing,
)
from scherbelberg.events import notice
from scherbelberg.inventory.clusters import CloudCluster, group_clusters, selector
from scherbelberg.inventory.deadlines import overdue_line, seconds_to_deadline, soon_line
from scherbelberg.inventory.validity import ending_line
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts, check_prefix
from scherbelberg.state.store import Folder, Store

_LOG = logging.getLogger("scherbelberg")


@frozen(kw_only=True)
class KnownCluster:
    """A cluster that the cloud holds.

    Args:
        cluster: What the cloud holds of it.
        folder: Its folder on this computer, or None.
        now_s: The API's clock when this was read, epoch seconds.
    """

    cluster: CloudCluster
    folder: Folder | None
    now_s: float


async def list_clusters(
    hetzner: Hetzner, settings: Settings, *, without_warning: str | None = None
) -> tuple[KnownCluster, ...]:
    """List the clusters that the project holds, and tell users of those that are overdue or end, or soon will.

    All are listed, whatever the name that is meant: it is one question, and the answer shows what is forgotten.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        without_warning: Name of clusters of which users are not told, since their time is what is being changed.
    """
    found = match_local(await list_resources(hetzner, selector()), settings, now_s=hetzner.now_s)
    others = [one for one in found if one.cluster.prefix != without_warning]
    warn_overdue((one.cluster for one in others), hetzner.now_s)
    for one in others:
        left_s = seconds_to_deadline(one.cluster, one.now_s)
        if one.folder is not None and left_s is not None:
            notice(soon_line(one.cluster.prefix, left_s), about=one.cluster.uid)
        if one.folder is not None and (line := ending_line(one.cluster, one.now_s)):
            notice(line, about=f"certificates of {one.cluster.uid}")
    return found


def warn_overdue(found: Iterable[CloudCluster], now_s: float) -> None:
    """Tell users of clusters that are overdue.

    Args:
        found: What the cloud holds.
        now_s: The API's clock, epoch seconds.
    """
    if late := overdue_line(found, now_s):
        notice(late, about="overdue")


def match_local(found: Iterable[Resource], settings: Settings, *, now_s: float) -> tuple[KnownCluster, ...]:
    """Sort what the cloud holds into clusters, beside what this computer has of them.

    Args:
        found: What it holds.
        settings: The ambient configuration.
        now_s: The API's clock, epoch seconds.
    """
    folders = {folder.uid: folder for folder in readable_folders(settings)}
    return tuple(KnownCluster(cluster=one, folder=folders.get(one.uid), now_s=now_s) for one in group_clusters(found))


def readable_folders(settings: Settings, *, prefix: str | None = None) -> tuple[Folder, ...]:
    """List the folders of clusters of this API on this computer, or none, with a warning, if they cannot be read.

    What the cloud holds is found, and can be deleted, without them.

    Args:
        settings: The ambient configuration.
        prefix: Only of clusters of this name.
    """
    try:
        return Store(settings.home).folders(prefix=prefix, endpoint=settings.access.endpoint)
    except OSError as error:
        _LOG.warning("The folders of clusters in %s cannot be read: %s", settings.home, error)
        return ()


async def list_resources(
    hetzner: Hetzner, wanted: Mapping[str, str], *, kinds: Iterable[Kind] = KINDS
) -> tuple[Resource, ...]:
    """List everything that carries certain labels, servers first.

    Args:
        hetzner: The project.
        wanted: The labels.
        kinds: Of which kinds.
    """
    found = await gather_or_cancel(*(hetzner.find(kind, wanted) for kind in kinds))
    return tuple(resource for rows in found for resource in rows)


async def fetch_clusters(
    settings: Settings, *, prefix: str | None = None, with_warning: bool = True
) -> tuple[KnownCluster, ...]:
    """List the clusters that the project holds, whole or broken, whoever made them, and point at what is overdue.

    Args:
        settings: The ambient configuration.
        prefix: Only those of this name.
        with_warning: Whether their own deadlines are pointed at, too, and not only those of others.
    """
    if prefix is not None:
        check_prefix(prefix)
    async with open_api(settings.access, Timeouts()) as hetzner:
        found = await list_clusters(hetzner, settings, without_warning=None if with_warning else prefix)
    return tuple(one for one in found if prefix in {None, one.cluster.prefix})


async def read_offers(settings: Settings) -> Catalog:
    """Read what the cloud offers at present.

    Args:
        settings: The ambient configuration.
    """
    async with open_api(settings.access, Timeouts()) as hetzner:
        return await hetzner.catalog()


async def watch_offers(
    settings: Settings,
    show: Callable[[Catalog], None],
    *,
    lost: Callable[[str], None],
    every_s: float = 60.0,
) -> None:
    """Read what the cloud offers again and again, until it is cancelled; that it cannot be asked now ends nothing.

    Args:
        settings: The ambient configuration.
        show: Is given each, on another thread.
        lost: Is told, as often as that happens, that the cloud does not answer.
        every_s: Seconds between two looks.
    """
    async with open_api(settings.access, Timeouts()) as hetzner:
        while True:
            try:
                found = await hetzner.catalog()
            except CloudUnreachable as error:
                lost(error.message)
            else:
                await asyncio.to_thread(show, found)
            await pause(every_s)


async def find_own(settings: Settings, prefix: str) -> KnownCluster:
    """Find the cluster of a name whose keys are on this computer.

    Args:
        settings: The ambient configuration.
        prefix: Its name.

    Raises:
        ClusterNotFound: The cloud holds none of this name.
        StateMissing: It does, but its keys are elsewhere.
    """
    found = await fetch_clusters(settings, prefix=prefix)
    own = [known for known in found if known.folder is not None]
    if own:  # of what was left of an earlier one, nothing can be used
        return min(own, key=lambda known: known.cluster.state != "ready")
    if not found:
        raise _not_found(settings, prefix)
    raise StateMissing(
        f"There is a cluster {found[0].cluster.describe(found[0].now_s)}, but its keys are not on this computer;"
        f" 'scherbelberg nuke -p {prefix}' deletes it all the same."
    )


async def own_uids(settings: Settings, prefix: str) -> tuple[str, ...]:
    """List the uids of a name that were drawn on this computer, of damaged folders and half-made clusters too.

    Args:
        settings: The ambient configuration.
        prefix: The name.

    Raises:
        ClusterNotFound: Neither the cloud nor this computer knows one.
        StateMissing: The cloud holds one, but it was not made on this computer.
    """
    uids = tuple(folder.uid for folder in readable_folders(settings, prefix=prefix))
    return uids or ((await find_own(settings, prefix)).cluster.uid,)


def remembered_folder(home: Path, endpoint: str, prefix: str) -> Folder | None:
    """Find the folder of a name on this computer without asking the cloud; the newest of those that can be read.

    Args:
        home: Folder for what is kept on this computer.
        endpoint: URL of the API.
        prefix: The name.

    Raises:
        StateDamaged: There are some, and none can be read.
    """
    ages: dict[Folder, int] = {}
    damage: StateDamaged | None = None
    for folder in Store(home).folders(prefix=prefix, endpoint=endpoint):
        try:
            ages[folder] = folder.read().identity.created_s
        except StateDamaged as error:
            damage = error
    if damage is not None and not ages:
        raise damage
    return max(ages, key=ages.__getitem__, default=None)


def _not_found(settings: Settings, prefix: str) -> ClusterNotFound:
    return ClusterNotFound(
        f"There is no cluster '{prefix}' in this project of {settings.access.place};"
        " 'scherbelberg ls' lists those that exist."
    )
