# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Looks at everything that a create needs, and makes nothing. What the findings mean is ``diagnosis``' business."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.emulated import is_emulated
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.transport import TransientError
from scherbelberg.environments.fit import check_unchanged
from scherbelberg.environments.interpreter import folder_digest, own_client, read_client, read_tls
from scherbelberg.environments.versions import Baked, Client, Versions, baked_in
from scherbelberg.errors import (
    BadInput,
    CloudError,
    CloudUnreachable,
    ScherbelbergError,
    StateDamaged,
    TokenMissing,
    TokenRefused,
)
from scherbelberg.inventory.clusters import CloudCluster, group_clusters, selector
from scherbelberg.inventory.listing import list_resources, remembered_folder, warn_overdue
from scherbelberg.inventory.orphan_records import check_paid_orphans, read
from scherbelberg.inventory.validity import ending_line
from scherbelberg.lifecycle.diagnosis import (
    ApiFacts,
    Check,
    FolderFacts,
    TlsFacts,
    failed_check,
    judge_budget,
    judge_certificates,
    judge_clock,
    judge_dask,
    judge_disk,
    judge_folders,
    judge_openssh,
    judge_orphans,
    judge_permissions,
    judge_route,
    judge_state,
    judge_tls,
    judge_tls_on_nodes,
    judge_token,
    judge_versions,
    unknown_check,
)
from scherbelberg.nodes.connections import Connections
from scherbelberg.scheduler.proof import rehearse
from scherbelberg.settings import Settings, active_client, authorities_in, endpoint_in, home_folder, read_settings
from scherbelberg.share import openssl_errors
from scherbelberg.state.store import Folder, Store

_REQUEST_S = 8.0
#: For all questions to the cloud together.
_CLOUD_S = 20.0
#: No resource has this number, and the request's empty body would change nothing: only whether it is refused matters.
_NOTHING = "/ssh_keys/0"


@frozen(kw_only=True)
class _Found:
    """What the cloud showed.

    Args:
        facts: Of its answers.
        held: The clusters that it holds, or None if it did not tell.
        now_s: The API's clock, epoch seconds.
        baked: What the image of a sandbox holds, or None.
    """

    facts: ApiFacts
    held: tuple[CloudCluster, ...] | None = None
    now_s: float = 0.0
    baked: Baked | None = None


async def examine(*, token_file: Path | None = None, prefix: str | None = None) -> tuple[Check, ...]:
    """Look at the surroundings; whatever cannot be looked at is a check, too.

    Args:
        token_file: A file that holds the token.
        prefix: A cluster of this computer whose nodes are looked at as well, or None for none.

    Returns:
        The checks, in the order in which one would mend them.
    """
    checks = await _examine_here(token_file)
    return checks if prefix is None else (*checks, await _look_at_nodes(prefix))


async def _examine_here(token_file: Path | None) -> tuple[Check, ...]:
    try:
        settings = read_settings(token_file=token_file)
    except TokenMissing as error:
        access = Access(
            endpoint=endpoint_in(),
            token="none",  # noqa: S106 - stands for no token
            token_source="nowhere",  # noqa: S106
            authorities=authorities_in(),
        )
        found = await _ask(access)
        return (
            failed_check("token", error),
            *_judge_cloud(found.facts),
            *await _judge_computer(home_folder(), None),
            unknown_check("state", "there is no token"),
            unknown_check("certificates", "there is no token"),
            unknown_check("outliving", "there is no token"),
        )
    except BadInput as error:
        names = ("token", "route", "rate_budget", "clock")
        return (
            failed_check("settings", error),
            *(unknown_check(name, "the settings make no sense") for name in names),
            *await _judge_computer(home_folder(), None),
            unknown_check("state", "the settings make no sense"),
            unknown_check("certificates", "the settings make no sense"),
            unknown_check("outliving", "the settings make no sense"),
        )
    found = await _ask(settings.access)
    return (
        judge_token(found.facts),
        *_judge_cloud(found.facts),
        *await _judge_computer(settings.home, settings.access.endpoint, found.baked),
        *_judge_clusters(settings, found),
        await _look_at_orphans(settings, found),
    )


def _judge_cloud(facts: ApiFacts) -> tuple[Check, ...]:
    return judge_route(facts), judge_budget(facts), judge_clock(facts.ahead_s)


async def _judge_computer(home: Path, endpoint: str | None, baked: Baked | None = None) -> tuple[Check, ...]:
    missing = tuple(name for name in ("ssh", "scp") if shutil.which(name) is None)
    try:
        facts = _look_at_folders(home, endpoint)
    except OSError as error:
        facts = FolderFacts(count=0, damage=(f"The folders of clusters in {home} cannot be listed: {error}.",))
    place = next(path for path in (home, *home.parents) if path.exists())
    client = _client()
    return (
        _judge_versions(client, facts, baked),
        _judge_tls(client),
        await _judge_dask(),
        judge_openssh(missing),
        judge_folders(facts),
        judge_permissions(facts),
        judge_disk(
            path=str(place), free_bytes=shutil.disk_usage(place).free, is_writable=os.access(place, os.W_OK | os.X_OK)
        ),
    )


def _client() -> Client:
    """The interpreter with which clusters are used: the active environment's, if it can be asked."""
    active = active_client()
    with suppress(BadInput):
        return own_client() if active is None else read_client(*active)
    return own_client()


async def _judge_dask() -> Check:
    """Whether a create would find a client that can use a cluster."""
    active = active_client()
    try:
        client = own_client() if active is None else read_client(*active)
        await rehearse(client)
    except ScherbelbergError as error:
        return failed_check("dask", error)
    return judge_dask(client.path)


def _judge_versions(client: Client, facts: FolderFacts, baked: Baked | None) -> Check:
    try:
        if baked is not None:
            check_unchanged(client, baked, folder=folder_digest(client.path))
    except ScherbelbergError as error:
        return failed_check("versions", error)
    return judge_versions(client.versions, facts.versions)


def _judge_tls(client: Client) -> Check:
    try:
        # As others are asked, since to answer is to change a process.
        openssl, done = read_tls(client)
    except BadInput as error:
        return unknown_check("tls", error.message.rstrip("."))
    return judge_tls(_tls_facts(client.versions.python, openssl, done))


def _tls_facts(python: str, openssl: str, done: str | None) -> TlsFacts:
    return TlsFacts(python=python, openssl=openssl, cure=None if done == openssl_errors.CANNOT else done)


async def _look_at_nodes(prefix: str) -> Check:
    try:
        folder = remembered_folder(home_folder(), endpoint_in(), prefix)
        if folder is None:
            return unknown_check("tls_on_nodes", f"this computer has no keys of a cluster '{prefix}'")
        await rehearse(own_client())  # which loads what asks them
        connections = Connections(folder, folder.read(), folder.keyring().ssh.private)
        try:
            return await _ask_nodes(connections)
        finally:
            await connections.close()
    except ScherbelbergError as error:
        return failed_check("tls_on_nodes", error)


async def _ask_nodes(connections: Connections) -> Check:
    within_s = connections.manifest.spec.timeouts.reach
    await connections.remote("scheduler").reach(within_s=within_s)
    endpoint = await connections.open_endpoint()
    dask_client = await asyncio.to_thread(importlib.import_module, "scherbelberg.scheduler.client")  # heavy
    answers = await dask_client.ask_for_tls(endpoint, within_s=within_s)
    return judge_tls_on_nodes({name: _tls_facts(*answer) for name, answer in answers.items()})


async def _ask(access: Access) -> _Found:
    """Ask the cloud what it thinks of us, within a deadline.

    Args:
        access: Where and with which token.
    """
    access = evolve(access, is_sandbox=await asyncio.to_thread(is_emulated, access))
    hetzner = Hetzner(access, request_s=_REQUEST_S, patience_s=0)
    place = f"{access.place} at {access.endpoint}" if access.is_sandbox else access.place
    facts = ApiFacts(place=place, proxy=hetzner.proxy, token_source=access.token_source)
    try:
        async with asyncio.timeout(_CLOUD_S):
            facts = evolve(facts, read_error=await _error_of(hetzner, "GET", "/servers"))
            facts = _with_answer(facts, hetzner)
            if facts.read_error is not None:
                return _Found(facts=facts)
            facts = evolve(facts, write_error=await _error_of(hetzner, "PUT", _NOTHING))
            held = group_clusters(await list_resources(hetzner, selector()))
            warn_overdue(held, hetzner.now_s)
            baked = await _baked_environment(hetzner) if access.is_sandbox else None
            return _Found(facts=facts, held=held, now_s=hetzner.now_s, baked=baked)
    except TimeoutError:
        late = CloudUnreachable(f"{access.place} at {access.endpoint} did not answer within {_CLOUD_S:g} s.")
        return _Found(facts=evolve(facts, read_error=facts.read_error or late))
    except ScherbelbergError as error:
        return _Found(facts=evolve(facts, read_error=error))
    finally:
        hetzner.close()


async def _baked_environment(hetzner: Hetzner) -> Baked | None:
    """What the sandbox's images hold, which is the same in all."""
    return next((found for image in await hetzner.images() if (found := baked_in(image.labels))), None)


async def _error_of(hetzner: Hetzner, method: str, path: str) -> ScherbelbergError | None:
    """What speaks against a request; that there is nothing of this name does not."""
    try:
        await hetzner.try_once(method, path, params={"per_page": 1} if method == "GET" else None)
    except TransientError as fault:
        return hetzner.unreachable(fault)
    except (TokenRefused, CloudUnreachable) as error:
        return error
    except CloudError as error:
        return error if method == "GET" else None
    return None


def _with_answer(facts: ApiFacts, hetzner: Hetzner) -> ApiFacts:
    answered = hetzner.last_response
    if answered is None:
        return facts
    # The header tells whole seconds: on average half a one is cut off.
    ahead_s = None if answered.date_s is None else _now_s() - answered.date_s - 0.5
    return evolve(facts, took_s=answered.took_s, limit=answered.limit, remaining=answered.remaining, ahead_s=ahead_s)


def _now_s() -> float:
    return time.time()


def _look_at_folders(home: Path, endpoint: str | None) -> FolderFacts:
    folders = Store(home).folders()
    damage: list[str] = []
    versions: dict[str, Versions] = {}
    for folder in folders:
        try:
            manifest = folder.read()
            folder.keyring()
        except StateDamaged as error:
            damage.append(error.message)
            continue
        # What a client may have otherwise than the nodes was settled when the cluster was made.
        packages = dict(manifest.versions) | {name: here for name, here, _ in manifest.environment.allowed}
        if "python" in packages and manifest.endpoint == endpoint:
            versions[folder.prefix] = Versions(python=packages.pop("python"), packages=packages)
    exposed = tuple(path for folder in folders for path in _exposed_paths(folder))
    return FolderFacts(count=len(folders), damage=tuple(damage), exposed=exposed, versions=versions)


def _exposed_paths(folder: Folder) -> list[str]:
    """What others may enter or read; the folder stands for all that is in it."""
    if os.name != "posix":
        return []  # modes say little there, and the user's own data folder admits nobody else
    paths = [folder.path, *sorted(folder.path.iterdir())]
    found = [path for path in paths if path.stat().st_mode & 0o077]
    return [str(folder.path)] if folder.path in found else [str(path) for path in found]


async def _look_at_orphans(settings: Settings, found: _Found) -> Check:
    if found.held is None:
        return unknown_check("outliving", "the cloud does not tell what it holds")
    hetzner = Hetzner(settings.access, request_s=_REQUEST_S, patience_s=0)
    try:
        left = await check_paid_orphans(hetzner, settings)
    except (OSError, ScherbelbergError):
        return unknown_check("outliving", "the cloud does not tell what is left")
    finally:
        hetzner.close()
    rows: dict[str, list[str]] = {}
    for one in left:
        rows.setdefault(one.prefix, []).append(f"{one.what.description} of {one.what.server}, {one.what.cost}")
    return judge_orphans(rows)


def _judge_clusters(settings: Settings, found: _Found) -> tuple[Check, ...]:
    names = ("state", "certificates")
    if found.held is None:
        return tuple(unknown_check(name, "the cloud does not tell what it holds") for name in names)
    try:
        folders = {folder.uid: folder for folder in Store(settings.home).folders(endpoint=settings.access.endpoint)}
    except OSError:
        return tuple(unknown_check(name, "the folders of clusters cannot be listed") for name in names)
    own = (one for one in found.held if one.uid in folders)
    endings = tuple(line for one in own if (line := ending_line(one, found.now_s)))
    return _judge_state(settings, found.held, found.now_s, folders), judge_certificates(endings)


def _judge_state(
    settings: Settings, found: tuple[CloudCluster, ...], now_s: float, folders: Mapping[str, Folder]
) -> Check:
    held = {cluster.uid: cluster for cluster in found}
    # What is being made right now may not be there yet, and is not whole; what is paid for on has a check of its own.
    ended = [one for uid, one in folders.items() if uid not in held and one.maker is None and not read(one)]
    alone = {one.prefix: str(one.path) for one in ended}
    own = [one for one in found if one.owner == settings.owner and one.uid not in folders]
    broken = [one for uid, one in held.items() if uid in folders and one.state != "ready" and not folders[uid].maker]
    return judge_state(
        alone=alone,
        keyless={one.prefix: one.describe(now_s) for one in own},
        broken={one.prefix: one.describe(now_s) for one in broken},
    )
