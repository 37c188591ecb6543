# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Decides a cluster and claims its name on this computer, before a cent is spent. The cloud is only read."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import evolve, field, frozen

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Catalog
from scherbelberg.environments.choose import architectures_for, choose, is_plain
from scherbelberg.environments.fit import Environment, check_unchanged
from scherbelberg.environments.interpreter import folder_digest
from scherbelberg.environments.lock import PLATFORMS, write_lock
from scherbelberg.environments.private_files import fetch_private
from scherbelberg.environments.pylock import check_wheels
from scherbelberg.environments.shipped import shipped_pins
from scherbelberg.environments.versions import Baked, Client, baked_in, compare
from scherbelberg.errors import (
    BadInput,
    ChannelUnreachable,
    ClusterExists,
    EnvironmentUnavailable,
    ScherbelbergError,
    StateDamaged,
    VersionMismatch,
)
from scherbelberg.events import Event, Listener, Phase, ignore_events
from scherbelberg.inventory.clusters import CloudCluster, format_duration
from scherbelberg.inventory.listing import list_clusters
from scherbelberg.inventory.validity import check_clock, check_deadline
from scherbelberg.planning.candidates import place_at
from scherbelberg.planning.plan import (
    LEAST_VALID_S,
    ClusterPlan,
    Identity,
    NodePlan,
    check_total,
    make_identity,
    make_plan,
    node_platform,
    plan_node,
)
from scherbelberg.scheduler.proof import rehearse
from scherbelberg.settings import Settings, Sources
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.state.keys import make_authority, make_client, make_ssh_pair
from scherbelberg.state.manifest import Credentials, EnvRecord, Manifest, new_record
from scherbelberg.state.store import Folder, Store

#: Is awaited with a plan, and raises if it is not to be made.
Agree = Callable[[ClusterPlan], Awaitable[None]]
_UID_BYTES = 5
#: What is raised where there is no environment for nodes.
_NO_ENVIRONMENT = (BadInput, EnvironmentUnavailable, VersionMismatch)
#: For a place of packages to say whether it is open to all.
_ASK_S = 8.0


@frozen(kw_only=True)
class Order:
    """A cluster that is decided and claimed, but not made yet.

    Args:
        plan: All that will be made.
        folder: Its folder on this computer.
        manifest: What the folder remembers.
        credentials: Its keys.
        environment: The environment of its nodes.
        sent: Files of it that nodes cannot get by themselves: path on this computer by SHA-256.
        held: What the cloud has of it already, from a try that was interrupted.
    """

    plan: ClusterPlan
    folder: Folder
    manifest: Manifest
    credentials: Credentials
    environment: Environment
    sent: Mapping[str, Path] = field(factory=dict, hash=False)
    held: CloudCluster | None = None

    def lock_files(self, platform: str) -> dict[str, bytes]:
        """The lock that a node is sent, by path in the payload; none where its image holds the environment.

        Args:
            platform: The node's.
        """
        lock = self.environment.locks.get(platform)
        return {} if lock is None else {"env.lock": write_lock(lock).encode()}

    def packages(self, platform: str) -> dict[str, Path]:
        """The files that a node is sent, large ones: path on this computer by path in the payload.

        Args:
            platform: The node's.
        """
        lock = self.environment.locks.get(platform)
        files = () if lock is None else lock.files
        return {f"packages/{file.file_name}": self.sent[file.sha256] for file in files if file.sha256 in self.sent}


async def always_agree(_plan: ClusterPlan) -> None:
    """Agree to any plan."""


async def place_order(
    hetzner: Hetzner,
    settings: Settings,
    spec: ClusterSpec,
    client: Client,
    listener: Listener,
    *,
    agree: Agree = always_agree,
) -> Order:
    """Decide and claim a cluster, or find the claim of one whose making was interrupted.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        spec: What the user wants.
        client: With what it will be used.
        listener: Is told what was decided.
        agree: Is awaited with the plan of a new cluster before its name is claimed; what it raises is raised.

    Raises:
        BadInput: It cannot be made, or not be used by the client or with this computer's clock.
        ClusterExists: There is one of this name already.
        EnvironmentUnavailable: Its nodes cannot have the client's versions.
        VersionMismatch: They would have others.
        WaitTimeout: The client does not load Dask in time.
    """
    listener(Event(phase=Phase.PLAN, state="start"))
    held, folder = await _find_begun(hetzner, settings, spec.prefix)
    check_clock(here_s=time.time(), cloud_s=hetzner.now_s)
    catalog = await hetzner.catalog()
    if held is None or folder is None:
        first = _new(spec, hetzner, settings)
        plan, environment = await _plan_with_environment(
            spec, client=client, catalog=catalog, identity=first, settings=settings, listener=listener
        )
        await rehearse(client)
        await agree(plan)
        if agree is not always_agree and (await _find_begun(hetzner, settings, spec.prefix))[0] is not None:
            raise ClusterExists(f"The making of a cluster '{spec.prefix}' was begun elsewhere meanwhile; repeat this.")
        sent = await _private_files(environment, spec, settings, listener)
        plan = _begun_now(plan, _new(spec, hetzner, settings))
        return evolve(_claim(plan, environment, settings, Store(settings.home)), sent=sent)
    with _as_maker(folder):
        order = _resume(folder, spec, client, catalog, held)
        await rehearse(client)
        listener(Event(phase=Phase.PLAN, state="done", detail=f"resumed: {describe(order.plan)}"))
        return evolve(order, sent=await _private_files(order.environment, spec, settings, listener))


async def _find_begun(hetzner: Hetzner, settings: Settings, prefix: str) -> tuple[CloudCluster | None, Folder | None]:
    """What there is of a name whose making may go on, and its folder; nothing if the name is free."""
    present = tuple(one for one in await list_clusters(hetzner, settings) if one.cluster.prefix == prefix)
    folders = {one.cluster.uid: one.folder for one in present if one.folder is not None}
    held = _resumable(tuple(one.cluster for one in present), folders, hetzner.now_s)
    return held, None if held is None else folders[held.uid]


def _new(spec: ClusterSpec, hetzner: Hetzner, settings: Settings) -> Identity:
    return make_identity(spec, uid=secrets.token_hex(_UID_BYTES), owner=settings.owner, now_s=hetzner.now_s)


def _begun_now(plan: ClusterPlan, identity: Identity) -> ClusterPlan:
    """The plan of a cluster that lives from now on, however long it took to decide it and to agree to it."""
    plan = evolve(plan, identity=identity, begin_s=identity.created_s)
    check_total(plan)
    return plan


@contextmanager
def _as_maker(folder: Folder) -> Iterator[Folder]:
    """Be the one who makes a cluster, from before anything is waited for; if it fails, say what is still rented."""
    folder.begin_making()
    try:
        yield folder
    except BaseException as error:
        with suppress(StateDamaged):  # why this fails counts for more
            folder.end_making()
        if isinstance(error, ScherbelbergError) and not isinstance(error, ClusterExists):
            prefix = folder.prefix
            way = f"repeat this, or give it back with 'scherbelberg destroy -p {prefix}'"
            error.args = (f"{error.message} What was made of cluster '{prefix}' before stays: {way}.",)
        raise


async def preview(
    hetzner: Hetzner, settings: Settings, spec: ClusterSpec, client: Client
) -> tuple[ClusterPlan, Environment]:
    """Decide a cluster and its environment without claiming it: nothing is made and nothing remembered.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        spec: What the user wants.
        client: With what it would be used.

    Raises:
        BadInput: It cannot be made.
        EnvironmentUnavailable: Its nodes cannot have the client's versions.
        VersionMismatch: They would have others.
    """
    catalog = await hetzner.catalog()
    check_clock(here_s=time.time(), cloud_s=catalog.now_s)
    identity = make_identity(spec, uid="preview", owner=settings.owner, now_s=hetzner.now_s)
    return await _plan_with_environment(spec, client=client, catalog=catalog, identity=identity, settings=settings)


async def _plan_with_environment(
    spec: ClusterSpec,
    *,
    client: Client,
    catalog: Catalog,
    identity: Identity,
    settings: Settings,
    listener: Listener = ignore_events,
) -> tuple[ClusterPlan, Environment]:
    """Decide machines and their environment, which has to be for their processors."""
    allowed = await asyncio.to_thread(architectures_for, spec, client)
    plan = _decide(spec, catalog, identity, allowed)
    await _check_unchanged(plan, client)
    listener(Event(phase=Phase.PLAN, state="done", detail=describe(plan)))
    try:
        environment = await _environment(plan, client, settings, listener)
        return _with_served_candidates(environment, plan), environment
    except _NO_ENVIRONMENT as error:
        failure = error
    for other in _alternative_plans(plan, catalog, allowed):
        listener(Event(phase=Phase.SOLVE, state="failed", detail=failure.message))
        listener(Event(phase=Phase.PLAN, state="done", detail=f"on other processors: {describe(other)}"))
        with suppress(*_NO_ENVIRONMENT, ChannelUnreachable):
            environment = await _environment(other, client, settings, listener)
            return _with_served_candidates(environment, other), environment
    raise failure


def _alternative_plans(plan: ClusterPlan, catalog: Catalog, allowed: Collection[str] | None) -> list[ClusterPlan]:
    """The plans with processors of one kind each, where the user has not named types of another."""
    planned = {node.server_type.architecture for node in plan.nodes}
    plans = []
    for name in PLATFORMS if allowed is None else allowed:
        if planned != {name}:
            with suppress(BadInput):
                plans.append(_decide(plan.spec, catalog, plan.identity, (name,)))
    return plans


def _decide(
    spec: ClusterSpec, catalog: Catalog, identity: Identity, architectures: Collection[str] | None = None
) -> ClusterPlan:
    """Plan with the pinned image where nobody named one and the cloud has it."""
    return evolve(make_plan(_with_image(spec, catalog), catalog, identity, architectures=architectures), spec=spec)


def _with_image(spec: ClusterSpec, catalog: Catalog) -> ClusterSpec:
    pinned = shipped_pins().image
    if spec.image is not None or pinned not in {image.name for image in catalog.images if not image.deprecated}:
        return spec
    return evolve(spec, image=pinned)


def _baked_environment(plan: ClusterPlan) -> Baked | None:
    """The environment that the images of all nodes hold, by what the cloud says of these; None if they differ."""
    places = (*plan.candidates.scheduler, *plan.candidates.worker)
    first, *others = [baked_in(place.image.labels) for place in places]
    return first if all(other == first for other in others) else None


async def _check_unchanged(plan: ClusterPlan, client: Client) -> None:
    baked, spec = _baked_environment(plan), plan.spec
    if baked is not None and is_plain(spec) and not spec.allow_mismatch:
        check_unchanged(client, baked, folder=await asyncio.to_thread(folder_digest, client.path))


async def _environment(plan: ClusterPlan, client: Client, settings: Settings, listener: Listener) -> Environment:
    needed = tuple(dict.fromkeys(node_platform(node) for node in plan.nodes))
    places = (*plan.candidates.scheduler, *plan.candidates.worker)
    useful = tuple(dict.fromkeys((*needed, *(PLATFORMS[place.architecture] for place in places))))
    baked = _baked_environment(plan)
    image = None if baked is None else baked.versions
    sources = Sources(mirror=settings.channel_mirror, cache=settings.cache, within_s=plan.spec.timeouts.solve)
    ubuntu = {PLATFORMS[place.architecture]: place.image.ubuntu for place in places}

    async def chosen(platforms: tuple[str, ...]) -> Environment:
        found = await choose(plan.spec, client, platforms, sources=sources, image=image, listener=listener)
        for platform, lock in found.locks.items():
            check_wheels(lock, ubuntu=ubuntu.get(platform))
        return found

    try:
        return await chosen(useful)
    except _NO_ENVIRONMENT:
        if useful == needed:
            raise
    # There is none for the other processors that somebody named: those are not tried then.
    return await chosen(needed)


def _with_served_candidates(environment: Environment, plan: ClusterPlan) -> ClusterPlan:
    """The plan with those candidates alone whose processors there is an environment for."""
    return evolve(plan, candidates=plan.candidates.of(_served_architectures(environment.locks, plan.nodes)))


def _served_architectures(platforms: Collection[str], nodes: Iterable[NodePlan]) -> list[str]:
    """The processors that an environment is for by its platforms; those of its nodes, if it names none."""
    found = {name for name, platform in PLATFORMS.items() if platform in platforms}
    return sorted(found or {node.server_type.architecture for node in nodes})


async def _private_files(
    environment: Environment, spec: ClusterSpec, settings: Settings, listener: Listener
) -> dict[str, Path]:
    within_s = min(_ASK_S, spec.timeouts.request)
    return await fetch_private(environment.locks.values(), settings, within_s=within_s, listener=listener)


def describe(plan: ClusterPlan) -> str:
    """A plan in one line: machines, place and price."""
    scheduler, worker = (node.server_type.name for node in plan.nodes[:2])
    price, most = plan.bill.hourly, plan.bill.at_most
    begin_s, end_s = plan.identity.created_s, plan.identity.deadline_s
    life = "" if end_s is None else format_duration(end_s - begin_s)
    end = f"at most {most.net:.4f} net, {most.gross:.4f} gross within {life}" if most else "without a time to live"
    return (
        f"1 {scheduler} + {len(plan.nodes) - 1} {worker} in {plan.location},"
        f" {price.net:.4f} {plan.currency} per hour net, {price.gross:.4f} gross, {end}"
    )


def _resumable(found: tuple[CloudCluster, ...], folders: Mapping[str, Folder], now_s: float) -> CloudCluster | None:
    """What of this name the cloud holds and this computer began and did not end; None if the name is free."""
    for cluster in found:
        folder = folders.get(cluster.uid)
        if folder is None or not cluster.is_resumable or folder.read().state != "creating":
            continue
        if folder.maker is not None:
            raise ClusterExists(
                f"Cluster '{cluster.prefix}' is being made right now, by process {folder.maker.split()[0]}."
            )
        return cluster
    for cluster in found:
        prefix = cluster.prefix
        if cluster.uid in folders:
            hint = f"use it, give it back with 'scherbelberg destroy -p {prefix}', or choose another prefix with -p"
        else:
            hint = f"choose another prefix with -p; 'scherbelberg nuke -p {prefix}' would delete it, whoever needs it"
        raise ClusterExists(f"There is a cluster {cluster.describe(now_s)}: {hint}.")
    return None


def _claim(plan: ClusterPlan, environment: Environment, settings: Settings, store: Store) -> Order:
    identity = plan.identity
    until_s = identity.certified_s or identity.created_s + LEAST_VALID_S
    authority = make_authority(uid=identity.uid, now_s=identity.created_s, lasts_s=until_s - identity.created_s)
    credentials = Credentials(
        ssh=make_ssh_pair(),
        authority=authority,
        client=make_client(authority, uid=identity.uid, now_s=identity.created_s),
        planted={node.name: make_ssh_pair() for node in plan.nodes},
    )
    manifest = Manifest(
        identity=identity,
        endpoint=settings.access.endpoint,
        state="creating",
        spec=plan.spec,
        ssh_port=settings.ssh_port,
        location=plan.location,
        environment=EnvRecord(
            name=environment.name,
            digests=environment.digests,
            client=environment.client.path,
            client_source=environment.client.source,
            allowed=environment.allowed,
        ),
        nodes=tuple(new_record(node, credentials.planted[node.name]) for node in plan.nodes),
    )
    folder = store.claim(manifest, credentials, locks=environment.locks)
    return Order(plan=plan, folder=folder, manifest=manifest, credentials=credentials, environment=environment)


def _resume(folder: Folder, spec: ClusterSpec, client: Client, catalog: Catalog, held: CloudCluster) -> Order:
    manifest = folder.read()
    prefix = manifest.identity.prefix
    if spec != manifest.spec:
        raise ClusterExists(
            f"The making of cluster '{prefix}' was interrupted and had other options: repeat it with the same ones,"
            f" or give it back with 'scherbelberg destroy -p {prefix}'."
        )
    environment = _restore_environment(folder, manifest, client)
    plan = _restore_plan(spec, catalog, manifest, held)
    manifest = evolve(manifest, identity=plan.identity)
    return Order(
        plan=_with_served_candidates(environment, plan),
        folder=folder,
        manifest=manifest,
        credentials=folder.credentials(),
        environment=environment,
        held=held,
    )


def _restore_plan(spec: ClusterSpec, catalog: Catalog, manifest: Manifest, held: CloudCluster) -> ClusterPlan:
    """What was decided stays decided, whatever the catalogue says now, but for the deadline: that is counted anew."""
    wanted, old = _with_image(spec, catalog), manifest.identity
    begun = {server.name: server.created_s for server in held.servers}
    planned = (
        plan_node(
            node.name,
            node.role,
            wanted,
            place_at(node.server_type, node.location or manifest.location, wanted, catalog),
        )
        for node in manifest.nodes
    )
    nodes = tuple(evolve(node, begun_s=begun.get(node.server_name)) for node in planned)
    fresh = make_identity(spec, uid=old.uid, owner=old.owner, now_s=catalog.now_s)
    identity = evolve(old, deadline_s=fresh.deadline_s)
    check_deadline(spec.prefix, deadline_s=identity.deadline_s, certified_s=held.certified_s)
    architectures = _served_architectures(manifest.environment.digests, nodes)
    plan = evolve(_decide(spec, catalog, fresh, architectures), identity=identity, nodes=nodes)
    check_total(plan)
    return plan


def _restore_environment(folder: Folder, manifest: Manifest, client: Client) -> Environment:
    """The environment with which an interrupted making began, if it is still the client's."""
    record, locks = manifest.environment, folder.locks()
    versions = next((lock.versions for lock in locks.values()), client.versions)
    environment = Environment(name=record.name, client=client, versions=versions, locks=locks, allowed=record.allowed)
    try:
        compare(client.versions, {record.name: versions}, allowed=record.allowed)
    except VersionMismatch as error:
        raise _began_otherwise(manifest) from error
    if environment.digests != record.digests:
        raise _began_otherwise(manifest)
    return environment


def _began_otherwise(manifest: Manifest) -> ClusterExists:
    prefix = manifest.identity.prefix
    return ClusterExists(
        f"The making of cluster '{prefix}' was interrupted and began with other versions than this client has:"
        f" give it back with 'scherbelberg destroy -p {prefix}'."
    )


async def plan_now(settings: Settings, spec: ClusterSpec, client: Client) -> tuple[ClusterPlan, Environment]:
    """Decide what would be made.

    Args:
        settings: The ambient configuration.
        spec: What the user wants.
        client: With what it would be used.

    Raises:
        BadInput: It cannot be made.
        EnvironmentUnavailable: Its nodes cannot have the client's versions.
        VersionMismatch: They would have others.
    """
    async with open_api(settings.access, spec.timeouts) as hetzner:
        return await preview(hetzner, settings, spec, client)
