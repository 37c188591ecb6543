# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gives clusters back: deletes them by uid, proves that nothing is left, forgets them, notes what they have cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Resource
from scherbelberg.concurrency.waiting import shield_to_end
from scherbelberg.errors import (
    ClusterNotFound,
    LeftOver,
    ScherbelbergError,
    StateDamaged,
)
from scherbelberg.events import Listener
from scherbelberg.inventory.billing import PendingDeletion, read_entries, record_costs, record_pending_deletions
from scherbelberg.inventory.clusters import require_unprotected, selector
from scherbelberg.inventory.ledger import Entry
from scherbelberg.inventory.listing import fetch_clusters, list_resources, readable_folders
from scherbelberg.inventory.orphan_records import Forget, OrphanRecorder
from scherbelberg.lifecycle.deletion import Check, delete_all, require_no_unlabelled, unproven_deletion
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts
from scherbelberg.state.store import Folder


async def delete_clusters(
    settings: Settings,
    prefix: str,
    uids: tuple[str, ...],
    *,
    listener: Listener,
    timeouts: Timeouts,
    check: Check = require_unprotected,
    forget: Forget | None = None,
) -> tuple[Entry, ...]:
    """Delete clusters by uid, prove that nothing of them is left, forget them, and note what they have cost.

    Args:
        settings: The ambient configuration.
        prefix: Their name.
        uids: Which.
        listener: Is told of the deletion.
        timeouts: Deadlines in seconds.
        check: Looks at what is there of each before the first deletion; what it raises is raised.
        forget: Is given what outlives servers and is paid for on, which is no error then; None makes it one.

    Returns:
        What they have cost, as it is noted in this computer's history, what was given back of them earlier included.

    Raises:
        ClusterProtected: One is protected; nothing was deleted.
        LeftOver: Something was still there at the deadline, outlives the servers, or the deletion broke off.
        StateDamaged: All is gone, but a folder of theirs cannot be deleted.
    """
    failures: list[ScherbelbergError] = []
    entries = read_entries(settings, uids)
    async with open_api(settings.access, timeouts) as hetzner:
        if len(uids) > 1:  # a single one is looked at right before its deletion anyway
            found = await list_resources(hetzner, selector(prefix=prefix))
            check(tuple(resource for resource in found if resource.labels.get("uid") in uids), hetzner.now_s)
        for uid in uids:
            own = tuple(folder for folder in readable_folders(settings, prefix=prefix) if folder.uid == uid)
            wanted = selector(prefix=prefix, uid=uid)
            try:
                # Half a deletion helps nobody: once begun, it goes on when the caller is cancelled.
                rest = OrphanRecorder(hetzner, prefix, own, forget=forget)
                ending = _end(hetzner, settings, wanted, own, rest, listener=listener, timeouts=timeouts, check=check)
                entries += await shield_to_end(ending)
            except ScherbelbergError as error:
                failures.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it keeps no other cluster
                failures.append(unproven_deletion(error, wanted))
                failures[-1].__cause__ = error
    if failures:
        raise _worst(failures)
    return entries


def _worst(failures: Collection[ScherbelbergError]) -> ScherbelbergError:
    """What is left counts for more than what else went wrong, and all of it is named."""
    left = [error for error in failures if isinstance(error, LeftOver)]
    if len(left) < 2:
        return next(iter(left or failures))
    names = tuple(name for error in left for name in error.left_over)
    return LeftOver(" ".join(error.message for error in left), left_over=names)


async def _end(
    hetzner: Hetzner,
    settings: Settings,
    wanted: Mapping[str, str],
    own: Collection[Folder],
    rest: OrphanRecorder,
    *,
    listener: Listener,
    timeouts: Timeouts,
    check: Check,
) -> tuple[Entry, ...]:
    gone: list[Resource] = []
    lost: list[PendingDeletion] = []

    def noted_down(found: tuple[Resource, ...], now_s: float) -> None:
        check(found, now_s)
        for folder in own:
            with suppress(Exception):  # a note for the bill keeps nothing from being deleted
                lost.extend(record_pending_deletions(folder, found, read_entries(settings, [folder.uid]), now_s=now_s))

    async def proof() -> str:
        if any(_is_short(folder, gone) for folder in own):
            await require_no_unlabelled(hetzner, wanted)
        return await rest.require_none()

    delete = partial(delete_all, listener=listener, timeouts=timeouts, note=gone.extend)
    try:
        await delete(hetzner, wanted, check=noted_down, before=rest.record, proof=proof)
    finally:
        entries = await record_costs(hetzner, settings, gone, lost=lost)
    for folder in own:  # now that nothing in it is needed for the bill
        folder.drop()
    return entries


def _is_short(folder: Folder, gone: Collection[Resource]) -> bool:
    """Whether fewer servers were deleted than this computer remembers: the others may have lost their labels."""
    try:
        expected = {f"{folder.prefix}-{node.name}" for node in folder.read().nodes}
    except StateDamaged:
        return True
    return not expected <= {one.name for one in gone if one.kind == "servers"}


async def nuke_clusters(settings: Settings, prefix: str, *, listener: Listener) -> None:
    """Delete all clusters of a name, whoever made them, prove that nothing of them is left, and forget them.

    Args:
        settings: The ambient configuration.
        prefix: Their name.
        listener: Is told of the deletion.

    Raises:
        ClusterNotFound: There is nothing of this name.
        ClusterProtected: One is protected; nothing was deleted.
        LeftOver: Something was still there at the deadline.
    """
    found = await fetch_clusters(settings, prefix=prefix, with_warning=False)
    if not found:
        raise ClusterNotFound(f"There is no cluster '{prefix}' in this project.")
    uids = tuple(known.cluster.uid for known in found)
    await delete_clusters(settings, prefix, uids, listener=listener, timeouts=Timeouts())
