# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster as programs use it: create, attach, compute, destroy; ``scherbelberg.sync`` has the same without await.

All of a cluster's connections live on the library's private loop, so the caller's loop may block as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from scherbelberg.daskdoor import Door
from scherbelberg.environment import Versions, compare
from scherbelberg.errors import ClusterBroken, StateMissing
from scherbelberg.events import Listener, ignore
from scherbelberg.interpreter import own_versions
from scherbelberg.keeping import Kept, find_own, give_back, opened
from scherbelberg.links import Links
from scherbelberg.making import make
from scherbelberg.record import Manifest, NodeRecord
from scherbelberg.settings import Settings, read_settings
from scherbelberg.spec import DEFAULT_RANGE, ClusterSpec
from scherbelberg.threadloop import carried, private_loop

if TYPE_CHECKING:
    from distributed import Client

Token = str | Callable[[], str]


@frozen(kw_only=True)
class Node:
    """One machine of a cluster.

    Args:
        name: ``scheduler``, ``worker000``, ...
        role: ``scheduler`` or ``worker``.
        server_type: What is rented.
        public_ip: Address for SSH, or None.
        private_ip: Address in the cluster's network, or None.
    """

    name: str
    role: str
    server_type: str
    public_ip: str | None
    private_ip: str | None


class Cluster:
    """A handle on a cluster that lives in the cloud. Make one with `from_new` or `from_existing`.

    Closing the handle ends its connections; the cluster lives on until it is destroyed.
    """

    def __init__(self, settings: Settings, links: Links, listener: Listener) -> None:
        self._settings = settings
        self._links = links
        self._listener = carried(listener)

    def __repr__(self) -> str:
        identity = self._manifest.identity
        return f"<Cluster {identity.prefix} ({identity.uid}): 1 scheduler, {len(self.nodes) - 1} workers>"

    @property
    def _manifest(self) -> Manifest:
        return self._links.manifest

    @property
    def prefix(self) -> str:
        """Its name."""
        return self._manifest.identity.prefix

    @property
    def uid(self) -> str:
        """Its uid."""
        return self._manifest.identity.uid

    @property
    def owner(self) -> str:
        """Who created it."""
        return self._manifest.identity.owner

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its machines: the scheduler, then the workers."""
        return tuple(_node(record) for record in self._manifest.nodes)

    @property
    def phases(self) -> dict[str, float]:
        """Phase of its making to the seconds that it took over all nodes."""
        return dict(self._manifest.phases)

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, the same on client, scheduler and workers as proven when it was made."""
        return dict(self._manifest.versions)

    @classmethod
    async def from_new(
        cls,
        spec: ClusterSpec | None = None,
        *,
        listen: Listener = ignore,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **fields: Any,
    ) -> Cluster:
        """Rent and start a new cluster; it is proven to compute when this returns.

        Cancelling gives everything back before the cancellation is raised; if that fails, LeftOver is raised instead.

        Args:
            spec: What is wanted.
            fields: Fields of `ClusterSpec` by name, which win.
            listen: Is called with each `Event`, on the library's own thread.
            token: The API token, or what returns it.
            endpoint: URL of the API.
            settings: All of the surroundings, instead of token, endpoint and environment variables.

        Raises:
            BadInput: It cannot be made; nothing was.
            ClusterExists: There is one of this name already.
            LeftOver: It could not be made, and not everything could be given back.
            ScherbelbergError: It could not be made; everything was given back.
        """
        around = settings or read_settings(token=token, endpoint=endpoint)
        return await private_loop().submit(_new(spec, around, listen, fields), too_late=Cluster._end).join()

    @classmethod
    async def from_existing(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
    ) -> Cluster:
        """Attach to a cluster that was made on this computer.

        Args:
            prefix: Its name.
            listen: Is called with each `Event`, on the library's own thread.
            token: The API token, or what returns it.
            endpoint: URL of the API.
            settings: All of the surroundings, instead of token, endpoint and environment variables.

        Raises:
            ClusterNotFound: There is none of this name.
            ClusterBroken: It is half made, or its scheduler is gone.
            StateMissing: Its keys are not on this computer.
            StateDamaged: Its folder on this computer cannot be read.
        """
        around = settings or read_settings(token=token, endpoint=endpoint)
        return await private_loop().submit(_existing(prefix, around, listen)).join()

    async def get_client(self, *, asynchronous: bool = False) -> Client:
        """Connect a Dask client through the tunnel.

        Args:
            asynchronous: Whether the client is to be used with await on the running loop.

        Raises:
            VersionMismatch: This interpreter has other versions than the cluster.
            NodeUnreachable: The scheduler cannot be reached.
        """
        compare(own_versions(), {"scheduler": _proven(self._manifest)})
        door = await private_loop().submit(self._open_door()).join()
        from scherbelberg import daskclient  # noqa: PLC0415 - heavy

        if asynchronous:
            return await daskclient.connect_async(door)
        return await asyncio.to_thread(daskclient.connect, door)

    async def _open_door(self) -> Door:
        await self._links.remote("scheduler").reach(within_s=self._manifest.spec.timeouts.reach)
        return await self._links.door()

    async def destroy(self) -> None:
        """Give all of it back, and prove that nothing is left.

        Raises:
            LeftOver: Something was still there at the deadline.
        """
        await private_loop().submit(self._end()).join()

    async def _end(self) -> None:
        await self._links.close()
        await give_back(
            self._settings,
            self.prefix,
            (self.uid,),
            listener=self._listener,
            timeouts=self._manifest.spec.timeouts,
        )

    async def close(self) -> None:
        """End the connections of this handle; the cluster lives on."""
        await private_loop().submit(self._links.close()).join()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _proven(manifest: Manifest) -> Versions:
    packages = dict(manifest.versions)
    return Versions(python=packages.pop("python"), packages=packages)


def _node(record: NodeRecord) -> Node:
    return Node(
        name=record.name,
        role=record.role,
        server_type=record.server_type,
        public_ip=record.public_ip,
        private_ip=record.private_ip,
    )


async def _new(spec: ClusterSpec | None, settings: Settings, listen: Listener, fields: dict[str, Any]) -> Cluster:
    # Where the surroundings have a range of their own, as a sandbox does, no other one is of any use.
    if (spec is None or spec.network_range == DEFAULT_RANGE) and "network_range" not in fields:
        fields = fields | {"network_range": settings.network_range}
    wanted = evolve(spec or ClusterSpec(), **fields)
    async with opened(settings, wanted.timeouts) as hetzner:
        links = await make(hetzner, settings, wanted, carried(listen))
    return Cluster(settings, links, listen)


async def _existing(prefix: str, settings: Settings, listen: Listener) -> Cluster:
    kept = await find_own(settings, prefix)
    if kept.holding.state != "ready":
        raise ClusterBroken(
            f"Cluster {kept.holding.described(kept.now_s)}: repeat its create with the same options if that was"
            f" interrupted, or give it back with 'scherbelberg destroy -p {prefix}'."
        )
    return Cluster(settings, _open_links(kept), listen)


def _open_links(kept: Kept) -> Links:
    if kept.folder is None:
        raise StateMissing(f"The keys of cluster '{kept.holding.prefix}' are not on this computer.")
    return Links(kept.folder, kept.folder.read(), kept.folder.credentials().ssh.private)
