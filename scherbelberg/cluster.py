# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster as programs use it: create, attach, compute, destroy; ``scherbelberg.sync`` has the same without await.

All of a cluster's connections live on the library's private loop, so the caller's loop may block as it likes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scherbelberg.cloud.hetzner import open_api
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.environments.fit import IMAGE, PROFILES, fits, profiles_for
from scherbelberg.environments.interpreter import client_of, own_client
from scherbelberg.environments.lock import PLATFORMS
from scherbelberg.environments.shipped import shipped_lock
from scherbelberg.environments.versions import Client, Versions, compare
from scherbelberg.events import Listener, Log, guarded_listener, ignore_events, with_log
from scherbelberg.inventory.ledger import Entry, merge_entries
from scherbelberg.lifecycle.create import create
from scherbelberg.lifecycle.destroy import delete_clusters, nuke_clusters
from scherbelberg.lifecycle.order import Agree, always_agree
from scherbelberg.lifecycle.share import export_cluster
from scherbelberg.lifecycle.update import UNCHANGED, Unchanged, extend, protect
from scherbelberg.node import Node
from scherbelberg.nodes.connections import Connections, attach, find_node
from scherbelberg.nodes.dialing import first_way
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.scheduler.uploads import load_client, send
from scherbelberg.settings import Settings, resolve_settings
from scherbelberg.spec.dask_config import DaskConfig, read_dask_config
from scherbelberg.spec.legacy import ParsedArguments, old_token_variable, parse_legacy_arguments
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.workload import WorkEnvironment
from scherbelberg.state.manifest import Manifest, NodeRecord

if TYPE_CHECKING:
    from distributed import Client as DaskClient


_LOG = logging.getLogger("scherbelberg")
Token = str | Callable[[], str]
#: Deadline of an upload in seconds, for those who set none.
UPLOAD_S = 120.0


def check_versions(manifest: Manifest) -> Versions:
    """Compare this interpreter with what was proven of a cluster when it was made.

    It is logged when the cluster's lock is not the one that this interpreter would get now, though nothing that is
    compared differs.

    Args:
        manifest: What this computer remembers of the cluster.

    Returns:
        This interpreter's versions.

    Raises:
        VersionMismatch: They differ.
    """
    client = own_client()
    compare(client.versions, {"scheduler": _proven_versions(manifest)}, allowed=manifest.environment.allowed)
    if note := other_lock(client, manifest):
        _LOG.warning("%s", note)
    return client.versions


def _proven_versions(manifest: Manifest) -> Versions:
    packages = dict(manifest.versions)
    return Versions(python=packages.pop("python"), packages=packages)


def other_lock(client: Client, manifest: Manifest) -> str | None:
    """Say that a cluster has another lock than a client would get now for the same wishes, or None.

    Args:
        client: The client.
        manifest: What this computer remembers of the cluster.
    """
    environment, spec = manifest.environment, manifest.spec
    if environment.name == IMAGE or spec.packages or spec.channels or spec.env not in {None, *PROFILES}:
        return None
    minor = client.versions.python_minor
    profiles = (spec.env,) if spec.env else profiles_for(client)
    locks = [shipped_lock(name, minor, platform) for name in profiles for platform in PLATFORMS.values()]
    fitting = [lock for lock in locks if lock is not None and fits(client, lock)]
    own = {lock.platform: lock for lock in reversed(fitting)}
    for platform, digest in environment.digests.items():
        if platform in own and own[platform].digest != digest:
            return (
                f"The nodes have the environment '{environment.name}' ({digest[:12]}), and this client would get"
                f" '{own[platform].profile}' ({own[platform].digest[:12]}) today; what is compared is the same in both."
            )
    return None


class Cluster:
    """A handle on a cluster that lives in the cloud. Make one with `from_new` or `from_existing`.

    Closing the handle ends its connections; the cluster lives on until it is destroyed.
    """

    def __init__(self, settings: Settings, connections: Connections, listener: Listener) -> None:
        self._settings = settings
        self._connections = connections
        self._listener = guarded_listener(listener)

    def __repr__(self) -> str:
        return f"<Cluster {self.prefix} ({self.uid}): 1 scheduler, {len(self.nodes) - 1} workers>"

    @property
    def prefix(self) -> str:
        """Its name."""
        return self._connections.manifest.identity.prefix

    @property
    def uid(self) -> str:
        """Its uid."""
        return self._connections.manifest.identity.uid

    @property
    def owner(self) -> str:
        """Who created it."""
        return self._connections.manifest.identity.owner

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its machines: the scheduler, then the workers."""
        return tuple(self._node(record) for record in self._connections.manifest.nodes)

    def node(self, name: str) -> Node:
        """One of its machines.

        Args:
            name: ``scheduler``, ``worker000``, ...

        Raises:
            NodeNotFound: There is none of this name.
        """
        return self._node(find_node(self._connections.manifest, name))

    def _node(self, record: NodeRecord) -> Node:
        return Node(
            name=record.name,
            role=record.role,
            server_type=record.server_type,
            public_ip=record.public_ip,
            public_ipv6=record.public_ipv6,
            private_ip=record.private_ip,
            connections=self._connections,
            settings=self._settings,
        )

    @property
    def direct_address(self) -> str | None:
        """Where Dask's scheduler takes TLS from the ranges in the spec's ``direct``, or None if that names none."""
        spec, scheduler = self._connections.manifest.spec, self._connections.node("scheduler")
        public = first_way(scheduler.public_ip, scheduler.public_ipv6)
        if not spec.direct or public is None:
            return None
        return f"tls://{f'[{public}]' if ':' in public else public}:{spec.ports.scheduler}"

    @property
    def phases(self) -> dict[str, float]:
        """Phase of its making to the seconds that it took over all nodes."""
        return dict(self._connections.manifest.phases)

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, the same on client, scheduler and workers as proven when it was made."""
        return dict(self._connections.manifest.versions)

    @classmethod
    def from_new(
        cls,
        spec: ClusterSpec | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        dask_config: DaskConfig | None = None,
        client: Client | str | os.PathLike[str] | None = None,
        keep: bool = False,
        agree: Agree = always_agree,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **fields: Any,
    ) -> Coroutine[Any, Any, Cluster]:
        """Rent and start a new cluster; it is proven to compute when this coroutine returns it.

        Cancelling gives everything back before the cancellation is raised; if that fails, LeftOver is raised instead.

        Args:
            spec: What is wanted.
            fields: Fields of `ClusterSpec` by name, which win; those of 0.0.6 are translated with a warning.
            environ: Environment variables of scheduler and workers.
            secrets: The same, with values that nobody may see.
            dask_config: Dask's configuration on the nodes: YAML, the `Path` of a file, or a mapping. As the two above,
                it is not kept on this computer, so it is given again to go on with an interrupted making.
            client: The Python with which the cluster will be used; the running one if not given. The nodes get its
                versions, and it proves that they have them.
            keep: Whether an error leaves what was made as it is, to be looked at; a cancellation never does.
            agree: Is awaited with the plan, prices included, on the library's own thread before anything is made; what
                it raises is raised. The making of a cluster that was interrupted goes on without.
            listen: Is called with each `Event`, on the library's own thread.
            log: A function that is called with a line of text for each event, likewise, or a `logging.Logger`.
            token: The API token, or what returns it.
            endpoint: URL of the API.
            settings: The whole configuration, instead of token, endpoint and environment variables.

        Raises:
            TypeError: There is no such argument.
            BadInput: It cannot be made; nothing was.
            ClusterExists: There is one of this name already.
            LeftOver: It could not be made, and not everything could be given back.
            ScherbelbergError: It could not be made; everything was given back.
        """
        # No coroutine itself, so that a warning points at the line that calls this and not at what awaits it.
        wanted = parse_legacy_arguments(spec, fields, call="Cluster.from_new")
        work_environment = WorkEnvironment(
            environ=environ or {}, secrets=secrets or {}, dask_config=read_dask_config(dask_config)
        )

        async def made() -> Cluster:
            who = await asyncio.to_thread(client_of, client)
            making = partial(create, client=who, work_environment=work_environment, keep=keep, agree=agree)
            ambient = resolve_settings(settings, token=token, endpoint=endpoint, variable=wanted.token_variable)
            work = _new(wanted, making, ambient, with_log(listen, log))
            return await private_loop().submit(work, too_late=Cluster._end).join()

        return made()

    @classmethod
    def from_existing(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **old: Any,
    ) -> Coroutine[Any, Any, Cluster]:
        """Attach to a cluster that was made on this computer.

        Args:
            prefix: Its name.
            listen: As in `from_new`, like the next four.
            log: Takes lines of text.
            token: The API token, or what returns it.
            endpoint: URL of the API.
            settings: Instead of token, endpoint and environment variables.
            old: Arguments of 0.0.6, with a warning.

        Raises:
            TypeError: There is no such argument.
            ClusterNotFound: There is none of this name.
            ClusterBroken: It is half made, or its scheduler is gone.
            StateMissing: Its keys are not on this computer.
            StateDamaged: Its folder on this computer cannot be read.
        """
        variable = old_token_variable(old, call="Cluster.from_existing")

        async def found() -> Cluster:
            ambient = resolve_settings(settings, token=token, endpoint=endpoint, variable=variable)
            connections = await private_loop().submit(attach(ambient, prefix)).join()
            return cls(ambient, connections, with_log(listen, log))

        return found()

    @classmethod
    def nuke(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **old: Any,
    ) -> Coroutine[Any, Any, None]:
        """Delete all clusters of a name, broken ones and other people's included; needs nothing on this computer.

        Args:
            prefix: Their name.
            listen: As in `from_existing`, like all others.
            log: Takes lines of text.
            token: The API token, or what returns it.
            endpoint: URL of the API.
            settings: Instead of the former two.
            old: Arguments of 0.0.6, with a warning.

        Raises:
            TypeError: There is no such argument.
            ClusterNotFound: There is nothing of this name.
            LeftOver: Something was still there at the deadline.
        """
        variable = old_token_variable(old, call="Cluster.nuke")

        async def nuked() -> None:
            ambient = resolve_settings(settings, token=token, endpoint=endpoint, variable=variable)
            nuking = nuke_clusters(ambient, prefix, listener=guarded_listener(with_log(listen, log)))
            await private_loop().submit(nuking, goes_on=True).join()

        return nuked()

    async def get_client(self, *, asynchronous: bool = False) -> DaskClient:
        """Connect a Dask client through the tunnel.

        Args:
            asynchronous: Whether the client is to be used with await on the running loop.

        Raises:
            VersionMismatch: This interpreter has other versions than the cluster.
            NodeUnreachable: The scheduler cannot be reached.
        """
        ours, allowed = check_versions(self._connections.manifest), self._connections.manifest.environment.allowed
        endpoint = await self.door()
        await load_client()
        from scherbelberg.scheduler.client import connect, connect_async  # noqa: PLC0415 - heavy

        if asynchronous:
            return await connect_async(endpoint, ours=ours, allowed=allowed, listener=self._listener)
        return await asyncio.to_thread(connect, endpoint, ours=ours, allowed=allowed, listener=self._listener)

    async def upload(self, path: str | os.PathLike[str], *, within_s: float = UPLOAD_S) -> None:
        """Put something to import on the scheduler and all workers, those that join or restart later included.

        It can be repeated when something has changed. A scheduler that is restarted has forgotten it.

        Args:
            path: A module file, a package folder, a wheel, an egg or a zip archive, without compiled parts.
            within_s: Deadline in seconds.

        Raises:
            BadInput: It is none of these, or cannot be imported there.
            VersionMismatch: This interpreter has other versions than the cluster.
            NodeUnreachable: The scheduler cannot be reached.
            WaitTimeout: The deadline passed.
        """
        check_versions(self._connections.manifest)
        endpoint = await self.door()
        await private_loop().submit(send(endpoint, Path(path), within_s=within_s)).join()

    async def door(self) -> SchedulerEndpoint:
        """Open the tunnels to scheduler and dashboard, for programs of the client's versions on this computer."""
        return await private_loop().submit(self._open_endpoint()).join()

    async def _open_endpoint(self) -> SchedulerEndpoint:
        await self._connections.remote("scheduler").reach(within_s=self._connections.manifest.spec.timeouts.reach)
        return await self._connections.open_endpoint()

    async def export(self, file: str | os.PathLike[str], *, passphrase: str) -> None:
        """Write a file with which another computer can compute on this cluster; see `export_cluster`."""
        writing = export_cluster(self._settings, self._connections, Path(file), passphrase=passphrase)
        await private_loop().submit(writing).join()

    async def protect(self, *, wanted: bool = True) -> None:
        """Guard it against every deletion, and its servers also against other programs; with False, lift that."""
        await private_loop().submit(protect(self._settings, self.prefix, wanted=wanted)).join()

    async def extend(
        self,
        *,
        ttl_s: int | Unchanged | None = UNCHANGED,
        idle_s: int | Unchanged | None = UNCHANGED,
        may_shorten: bool = False,
    ) -> int | None:
        """Let it live longer; what is not given stays as it is.

        Args:
            ttl_s: Seconds from now until its new deadline, or None for no deadline.
            idle_s: Seconds without work after which it counts as forgotten, too, or None for never.
            may_shorten: Whether its deadline may be earlier than before.

        Returns:
            Its deadline, as epoch seconds of the cloud's clock, or None.

        Raises:
            BadInput: That cannot be, or its deadline would be earlier.
            ClusterNotFound: It is gone.
        """
        moving = extend(self._settings, self.prefix, uid=self.uid, ttl_s=ttl_s, idle_s=idle_s, may_shorten=may_shorten)
        return (await private_loop().submit(moving).join()).cluster.deadline_s

    async def destroy(self, *, forget: bool = False) -> Entry | None:
        """Give all of it back, and prove that nothing is left.

        Args:
            forget: Whether what outlives its servers and is paid for on, such as a volume, is no error, and not looked
                for any more. It is never deleted.

        Returns:
            What all its machines that this computer gave back have cost, also earlier ones; None if there were none.

        Raises:
            ClusterProtected: It is protected; nothing was deleted.
            LeftOver: Something was still there at the deadline, or outlives its servers.
        """
        return await private_loop().submit(self._end(forget=forget), goes_on=True).join()

    async def _end(self, *, forget: bool = False) -> Entry | None:
        with suppress(Exception):  # connections that cannot be closed keep nothing from being given back
            await self._connections.close()
        bills = await delete_clusters(
            self._settings,
            self.prefix,
            (self.uid,),
            listener=self._listener,
            timeouts=self._connections.manifest.spec.timeouts,
            forget=(lambda _: None) if forget else None,
        )
        return merge_entries(bills) if bills else None

    async def close(self) -> None:
        """End the connections of this handle; the cluster lives on."""
        await private_loop().submit(self._connections.close()).join()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _new(
    wanted: ParsedArguments, making: partial[Coroutine[Any, Any, Connections]], settings: Settings, listen: Listener
) -> Cluster:
    whole, heard = wanted.to_spec(settings.network_range), guarded_listener(listen)
    async with open_api(settings.access, whole.timeouts) as hetzner:
        connections = await making(hetzner, settings, whole, heard)
    return Cluster(settings, connections, heard)
