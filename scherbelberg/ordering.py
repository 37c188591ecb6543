# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Decides a cluster and claims its name on this computer, before a cent is spent. The cloud is only read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from attrs import evolve, frozen

from scherbelberg.catalog import Catalog
from scherbelberg.cloud import Hetzner
from scherbelberg.environment import EnvLock, lock_of
from scherbelberg.errors import BadInput, ClusterExists
from scherbelberg.events import Event, Listener, Phase
from scherbelberg.holdings import Holding, holdings, selector
from scherbelberg.interpreter import own_versions
from scherbelberg.keys import make_authority, make_client, make_ssh_pair
from scherbelberg.plan import ClusterPlan, make_identity, make_plan
from scherbelberg.record import Credentials, Manifest, NodeRecord
from scherbelberg.settings import Settings
from scherbelberg.spec import ClusterSpec
from scherbelberg.store import Folder, Store
from scherbelberg.teardown import inventory

_UID_BYTES = 5


@frozen(kw_only=True)
class Order:
    """A cluster that is decided and claimed, but not made yet.

    Args:
        plan: All that will be made.
        folder: Its folder on this computer.
        manifest: What the folder remembers.
        credentials: Its keys.
        lock: The environment of its nodes.
        held: What the cloud has of it already, from a try that was interrupted.
    """

    plan: ClusterPlan
    folder: Folder
    manifest: Manifest
    credentials: Credentials
    lock: EnvLock
    held: Holding | None = None


async def place(hetzner: Hetzner, settings: Settings, spec: ClusterSpec, listener: Listener) -> Order:
    """Decide and claim a cluster, or find the claim of one whose making was interrupted.

    Args:
        hetzner: The project.
        settings: The surroundings.
        spec: What the user wants.
        listener: Is told what was decided.

    Raises:
        BadInput: It cannot be made.
        ClusterExists: There is one of this name already.
    """
    listener(Event(phase=Phase.PLAN, state="start"))
    resources = await inventory(hetzner, selector(prefix=spec.prefix))
    catalog = await hetzner.catalog()
    store = Store(settings.home)
    folders = {folder.uid: folder for folder in store.folders(prefix=spec.prefix, endpoint=settings.access.endpoint)}
    held = _resumable(holdings(resources), folders, hetzner.now_s)
    if held is not None:
        order = _resume(folders[held.uid], spec, catalog, held)
    else:
        identity = make_identity(spec, uid=secrets.token_hex(_UID_BYTES), owner=settings.owner, now_s=hetzner.now_s)
        plan = make_plan(spec, catalog, identity)
        _check_environment(plan, settings)
        listener(Event(phase=Phase.PLAN, state="done", detail=describe(plan)))
        return _claim(plan, settings, store)
    listener(Event(phase=Phase.PLAN, state="done", detail=f"resumed: {describe(order.plan)}"))
    order.folder.begin_making()
    return order


async def preview(hetzner: Hetzner, settings: Settings, spec: ClusterSpec) -> ClusterPlan:
    """Decide a cluster without claiming it: nothing is made and nothing remembered.

    Args:
        hetzner: The project.
        settings: The surroundings.
        spec: What the user wants.

    Raises:
        BadInput: It cannot be made.
    """
    catalog = await hetzner.catalog()
    identity = make_identity(spec, uid="preview", owner=settings.owner, now_s=hetzner.now_s)
    plan = make_plan(spec, catalog, identity)
    _check_environment(plan, settings)
    return plan


def describe(plan: ClusterPlan) -> str:
    """A plan in one line: machines, place and price."""
    scheduler, worker = (node.server_type.name for node in plan.nodes[:2])
    price = plan.bill.hourly
    return (
        f"1 {scheduler} + {len(plan.nodes) - 1} {worker} in {plan.location},"
        f" {price.net:.4f} {plan.bill.currency} per hour net, {price.gross:.4f} gross"
    )


def _resumable(found: tuple[Holding, ...], folders: Mapping[str, Folder], now_s: float) -> Holding | None:
    """What of this name the cloud holds and this computer began and did not end; None if the name is free."""
    for holding in found:
        folder = folders.get(holding.uid)
        if folder is None or holding.state != "creating" or folder.read().state != "creating":
            continue
        if folder.maker is not None:
            raise ClusterExists(
                f"Cluster '{holding.prefix}' is being made right now, by process {folder.maker.split()[0]}."
            )
        return holding
    for holding in found:
        prefix = holding.prefix
        if holding.uid in folders:
            hint = f"use it, give it back with 'scherbelberg destroy -p {prefix}', or choose another prefix with -p"
        else:
            hint = f"choose another prefix with -p; 'scherbelberg nuke -p {prefix}' would delete it, whoever needs it"
        raise ClusterExists(f"There is a cluster {holding.described(now_s)}: {hint}.")
    return None


def _check_environment(plan: ClusterPlan, settings: Settings) -> None:
    """Refuse before renting what the nodes of this release cannot become."""
    vanilla = [node.image.name for node in plan.nodes if node.image.kind == "system"]
    if vanilla and not settings.access.is_sandbox:
        raise BadInput(
            f"Image {vanilla[0]} holds no environment for Dask, and this release cannot install one: use an image that"
            " does with --image, or a sandbox ('scherbelberg sandbox start')."
        )


def _claim(plan: ClusterPlan, settings: Settings, store: Store) -> Order:
    identity = plan.identity
    authority = make_authority(uid=identity.uid, now_s=identity.created_s)
    credentials = Credentials(
        ssh=make_ssh_pair(),
        authority=authority,
        client=make_client(authority, uid=identity.uid, now_s=identity.created_s),
        planted={node.name: make_ssh_pair() for node in plan.nodes},
    )
    lock = lock_of(own_versions())
    manifest = Manifest(
        identity=identity,
        endpoint=settings.access.endpoint,
        state="creating",
        spec=plan.spec,
        ssh_port=settings.ssh_port,
        location=plan.location,
        currency=plan.bill.currency,
        lock_digest=lock.digest,
        nodes=tuple(
            NodeRecord(
                name=node.name,
                role=node.role,
                server_type=node.server_type.name,
                host_keys=(credentials.planted[node.name].public,),
                hourly_net=str(node.hourly.net),
                hourly_gross=str(node.hourly.gross),
            )
            for node in plan.nodes
        ),
    )
    folder = store.claim(manifest, credentials)
    return Order(plan=plan, folder=folder, manifest=manifest, credentials=credentials, lock=lock)


def _resume(folder: Folder, spec: ClusterSpec, catalog: Catalog, held: Holding) -> Order:
    manifest = folder.read()
    prefix = manifest.identity.prefix
    if spec != manifest.spec:
        raise ClusterExists(
            f"The making of cluster '{prefix}' was interrupted and had other options: repeat it with the same ones,"
            f" or give it back with 'scherbelberg destroy -p {prefix}'."
        )
    lock = lock_of(own_versions())
    if lock.digest != manifest.lock_digest:
        raise ClusterExists(
            f"The making of cluster '{prefix}' was interrupted and began with other versions than this client has:"
            f" give it back with 'scherbelberg destroy -p {prefix}'."
        )
    # What was decided stays decided, whatever the catalogue says now.
    decided = evolve(
        spec,
        location=manifest.location,
        scheduler=manifest.nodes[0].server_type,
        worker=manifest.nodes[1].server_type,
    )
    plan = evolve(make_plan(decided, catalog, manifest.identity), spec=spec)
    return Order(plan=plan, folder=folder, manifest=manifest, credentials=folder.credentials(), lock=lock, held=held)
