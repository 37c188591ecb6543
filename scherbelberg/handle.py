# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a handle on a cluster tells without asking anybody: who it is, and which machines it has."""

from __future__ import annotations

from scherbelberg.concurrency.loop import carried
from scherbelberg.events import Listener
from scherbelberg.node import Node
from scherbelberg.nodes.connections import Links, find_node
from scherbelberg.nodes.dialing import first_way
from scherbelberg.settings import Settings
from scherbelberg.state.manifest import NodeRecord


class Handle:
    """The half of `scherbelberg.Cluster` that needs no connection."""

    def __init__(self, settings: Settings, links: Links, listener: Listener) -> None:
        self._settings = settings
        self._links = links
        self._listener = carried(listener)

    def __repr__(self) -> str:
        return f"<Cluster {self.prefix} ({self.uid}): 1 scheduler, {len(self.nodes) - 1} workers>"

    @property
    def prefix(self) -> str:
        """Its name."""
        return self._links.manifest.identity.prefix

    @property
    def uid(self) -> str:
        """Its uid."""
        return self._links.manifest.identity.uid

    @property
    def owner(self) -> str:
        """Who created it."""
        return self._links.manifest.identity.owner

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its machines: the scheduler, then the workers."""
        return tuple(self._node(record) for record in self._links.manifest.nodes)

    def node(self, name: str) -> Node:
        """One of its machines.

        Args:
            name: ``scheduler``, ``worker000``, ...

        Raises:
            NodeNotFound: There is none of this name.
        """
        return self._node(find_node(self._links.manifest, name))

    def _node(self, record: NodeRecord) -> Node:
        return Node(
            name=record.name,
            role=record.role,
            server_type=record.server_type,
            public_ip=record.public_ip,
            public_ipv6=record.public_ipv6,
            private_ip=record.private_ip,
            links=self._links,
            settings=self._settings,
        )

    @property
    def direct_address(self) -> str | None:
        """Where Dask's scheduler takes TLS from the ranges in the spec's ``direct``, or None if that names none."""
        spec, scheduler = self._links.manifest.spec, self._links.node("scheduler")
        public = first_way(scheduler.public_ip, scheduler.public_ipv6)
        if not spec.direct or public is None:
            return None
        return f"tls://{f'[{public}]' if ':' in public else public}:{spec.ports.scheduler}"

    @property
    def phases(self) -> dict[str, float]:
        """Phase of its making to the seconds that it took over all nodes."""
        return dict(self._links.manifest.phases)

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, the same on client, scheduler and workers as proven when it was made."""
        return dict(self._links.manifest.versions)
