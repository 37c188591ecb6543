# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the project holds and this computer remembers: list it, find one's own, give it back; on the private loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Catalog, PriceList, Resource
from scherbelberg.concurrency.waiting import finish, pause
from scherbelberg.environments.fit import Environment
from scherbelberg.environments.versions import Client
from scherbelberg.errors import (
    CloudUnreachable,
    ClusterBroken,
    ClusterNotFound,
    LeftOver,
    ScherbelbergError,
    StateDamaged,
    StateMissing,
)
from scherbelberg.events import Listener
from scherbelberg.inventory.billing import Leaving, billed, known_prices, leave, noted
from scherbelberg.inventory.clusters import require_unprotected, selector
from scherbelberg.inventory.ledger import Entry
from scherbelberg.inventory.listing import Kept, readable_folders, survey
from scherbelberg.inventory.orphan_records import Forget, Remaining, Remembered, still_paid_for
from scherbelberg.lifecycle.deletion import Check, delete_all, inventory, require_no_unlabelled, unproven
from scherbelberg.lifecycle.order import preview
from scherbelberg.nodes.connections import Links
from scherbelberg.planning.plan import ClusterPlan
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec, Timeouts, check_prefix
from scherbelberg.state.store import Folder, Store


@asynccontextmanager
async def opened(settings: Settings, timeouts: Timeouts) -> AsyncIterator[Hetzner]:
    """The project's API while it is needed."""
    hetzner = Hetzner(settings.access, request_s=timeouts.request, patience_s=timeouts.cloud)
    try:
        yield hetzner
    finally:
        hetzner.close()


async def overview(settings: Settings, *, prefix: str | None = None, is_told: bool = True) -> tuple[Kept, ...]:
    """List the clusters that the project holds, whole or broken, whoever made them, and point at what is overdue.

    Args:
        settings: The surroundings.
        prefix: Only those of this name.
        is_told: Whether their own deadlines are pointed at, too, and not only those of others.
    """
    if prefix is not None:
        check_prefix(prefix)
    async with opened(settings, Timeouts()) as hetzner:
        found = await survey(hetzner, settings, untold=None if is_told else prefix)
    return tuple(one for one in found if prefix in {None, one.holding.prefix})


async def paid_on(settings: Settings, *, prefix: str | None = None) -> tuple[Remembered, ...]:
    """List what has outlived clusters of this computer and is still paid for.

    Args:
        settings: The surroundings.
        prefix: Only of clusters of this name.
    """
    async with opened(settings, Timeouts()) as hetzner:
        return await still_paid_for(hetzner, settings, prefix=prefix)


async def charges(settings: Settings) -> PriceList | None:
    """Read what the cloud charges for what exists, or None if it does not tell.

    Args:
        settings: The surroundings.
    """
    async with opened(settings, Timeouts()) as hetzner:
        return await known_prices(hetzner)


async def offered(settings: Settings) -> Catalog:
    """Read what the cloud offers at present.

    Args:
        settings: The surroundings.
    """
    async with opened(settings, Timeouts()) as hetzner:
        return await hetzner.catalog()


async def watched(
    settings: Settings,
    show: Callable[[Catalog], None],
    *,
    lost: Callable[[str], None],
    every_s: float = 60.0,
) -> None:
    """Read what the cloud offers again and again, until it is cancelled; that it cannot be asked now ends nothing.

    Args:
        settings: The surroundings.
        show: Is given each, on another thread.
        lost: Is told, as often as that happens, that the cloud does not answer.
        every_s: Seconds between two looks.
    """
    async with opened(settings, Timeouts()) as hetzner:
        while True:
            try:
                found = await hetzner.catalog()
            except CloudUnreachable as error:
                lost(error.message)
            else:
                await asyncio.to_thread(show, found)
            await pause(every_s)


async def planned(settings: Settings, spec: ClusterSpec, client: Client) -> tuple[ClusterPlan, Environment]:
    """Decide what would be made.

    Args:
        settings: The surroundings.
        spec: What the user wants.
        client: With what it would be used.

    Raises:
        BadInput: It cannot be made.
        EnvironmentUnavailable: Its nodes cannot have the client's versions.
        VersionMismatch: They would have others.
    """
    async with opened(settings, spec.timeouts) as hetzner:
        return await preview(hetzner, settings, spec, client)


async def find_own(settings: Settings, prefix: str) -> Kept:
    """Find the cluster of a name whose keys are on this computer.

    Args:
        settings: The surroundings.
        prefix: Its name.

    Raises:
        ClusterNotFound: The cloud holds none of this name.
        StateMissing: It does, but its keys are elsewhere.
    """
    found = await overview(settings, prefix=prefix)
    own = [kept for kept in found if kept.folder is not None]
    if own:  # of what was left of an earlier one, nothing can be used
        return min(own, key=lambda kept: kept.holding.state != "ready")
    if not found:
        raise _not_found(settings, prefix)
    raise StateMissing(
        f"There is a cluster {found[0].holding.described(found[0].now_s)}, but its keys are not on this computer;"
        f" 'scherbelberg nuke -p {prefix}' deletes it all the same."
    )


async def attached(settings: Settings, prefix: str) -> Links:
    """Attach to a cluster that was made on this computer.

    Args:
        settings: The surroundings.
        prefix: Its name.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is half made.
        StateMissing: Its keys are not on this computer.
        StateDamaged: Its folder on this computer cannot be read.
    """
    kept = await find_own(settings, prefix)
    if kept.holding.state != "ready":
        raise ClusterBroken(
            f"Cluster {kept.holding.described(kept.now_s)}: repeat its create with the same options if that was"
            f" interrupted, or give it back with 'scherbelberg destroy -p {prefix}'."
        )
    if kept.folder is None:
        raise StateMissing(f"The keys of cluster '{kept.holding.prefix}' are not on this computer.")
    return Links(kept.folder, kept.folder.read(), kept.folder.keyring().ssh.private)


async def own_uids(settings: Settings, prefix: str) -> tuple[str, ...]:
    """List the uids of a name that were drawn on this computer, of damaged folders and half-made clusters too.

    Args:
        settings: The surroundings.
        prefix: The name.

    Raises:
        ClusterNotFound: Neither the cloud nor this computer knows one.
        StateMissing: The cloud holds one, but it was not made on this computer.
    """
    uids = tuple(folder.uid for folder in readable_folders(settings, prefix=prefix))
    return uids or ((await find_own(settings, prefix)).holding.uid,)


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


async def give_back(
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
        settings: The surroundings.
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
    entries = noted(settings, uids)
    async with opened(settings, timeouts) as hetzner:
        if len(uids) > 1:  # a single one is looked at right before its deletion anyway
            found = await inventory(hetzner, selector(prefix=prefix))
            check(tuple(resource for resource in found if resource.labels.get("uid") in uids), hetzner.now_s)
        for uid in uids:
            own = tuple(folder for folder in readable_folders(settings, prefix=prefix) if folder.uid == uid)
            wanted = selector(prefix=prefix, uid=uid)
            try:
                # Half a deletion helps nobody: once begun, it goes on when the caller is cancelled.
                rest = Remaining(hetzner, prefix, own, forget=forget)
                ending = _end(hetzner, settings, wanted, own, rest, listener=listener, timeouts=timeouts, check=check)
                entries += await finish(ending)
            except ScherbelbergError as error:
                failures.append(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it keeps no other cluster
                failures.append(unproven(error, wanted))
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
    rest: Remaining,
    *,
    listener: Listener,
    timeouts: Timeouts,
    check: Check,
) -> tuple[Entry, ...]:
    gone: list[Resource] = []
    lost: list[Leaving] = []

    def noted_down(found: tuple[Resource, ...], now_s: float) -> None:
        check(found, now_s)
        for folder in own:
            with suppress(Exception):  # a note for the bill keeps nothing from being deleted
                lost.extend(leave(folder, found, noted(settings, [folder.uid]), now_s=now_s))

    async def proof() -> str:
        if any(_is_short(folder, gone) for folder in own):
            await require_no_unlabelled(hetzner, wanted)
        return await rest.require_none()

    delete = partial(delete_all, listener=listener, timeouts=timeouts, note=gone.extend)
    try:
        await delete(hetzner, wanted, check=noted_down, before=rest.record, proof=proof)
    finally:
        entries = await billed(hetzner, settings, gone, lost=lost)
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


async def give_back_all(settings: Settings, prefix: str, *, listener: Listener) -> None:
    """Delete all clusters of a name, whoever made them, prove that nothing of them is left, and forget them.

    Args:
        settings: The surroundings.
        prefix: Their name.
        listener: Is told of the deletion.

    Raises:
        ClusterNotFound: There is nothing of this name.
        ClusterProtected: One is protected; nothing was deleted.
        LeftOver: Something was still there at the deadline.
    """
    found = await overview(settings, prefix=prefix, is_told=False)
    if not found:
        raise ClusterNotFound(f"There is nothing of a cluster '{prefix}' in this project.")
    uids = tuple(kept.holding.uid for kept in found)
    await give_back(settings, prefix, uids, listener=listener, timeouts=Timeouts())


def _not_found(settings: Settings, prefix: str) -> ClusterNotFound:
    return ClusterNotFound(
        f"There is no cluster '{prefix}' in this project of {settings.access.place};"
        " 'scherbelberg ls' lists those that exist."
    )
