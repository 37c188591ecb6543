# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Sorts what a project holds into clusters, by their labels. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import frozen

from scherbelberg.cloud.resources import Firewall, Resource, Server
from scherbelberg.errors import ClusterProtected
from scherbelberg.planning.plan import LEAST_VALID_S, MANAGED_BY, PROTECTED


@frozen(kw_only=True)
class CloudCluster:
    """What the cloud holds of one cluster, whole or broken.

    Args:
        prefix: Its name.
        uid: Its uid.
        owner: Who created it.
        created_s: When, as epoch seconds of the API's clock; 0 if no label says.
        state: ``ready``, ``creating``, or ``broken`` when its network or its scheduler is gone.
        deadline_s: When it counts as forgotten, as epoch seconds of the API's clock; None for never.
        idle_s: Seconds without work after which it does, too; None for never.
        certified_s: Until when its certificates are valid, as epoch seconds of the API's clock; None if nobody knows.
        is_protected: Whether nothing of it may be deleted; any resource that says so, or that the cloud itself guards,
            speaks for all.
        resources: All of it.
    """

    prefix: str
    uid: str
    owner: str
    created_s: int
    state: str
    deadline_s: int | None
    idle_s: int | None
    certified_s: int | None
    is_protected: bool
    resources: tuple[Resource, ...]

    @property
    def servers(self) -> tuple[Server, ...]:
        """Its machines, by name: the scheduler comes before the workers."""
        servers = [resource for resource in self.resources if isinstance(resource, Server)]
        return tuple(sorted(servers, key=lambda server: server.name))

    def private_ip(self, server: Server) -> str | None:
        """Address of one of its machines in its own network, whichever others that is attached to; None if unknown.

        Args:
            server: The machine.
        """
        networks = [resource for resource in self.resources if resource.kind == "networks"]
        own = [network for network in networks if _is_own_network(network)]
        return server.private_ip([network.id for network in own or networks])

    @property
    def is_resumable(self) -> bool:
        """Whether its making may go on, if this computer has not written down its end.

        The cloud says so, or has said ``ready`` already, or all that is left is what servers need: its undoing was
        interrupted, too.
        """
        return self.state in {"creating", "ready"} or not self.servers

    def age(self, now_s: float) -> str:
        """Its age in words.

        Args:
            now_s: The API's clock, epoch seconds.
        """
        return format_duration(now_s - self.created_s) if self.created_s else "unknown time"

    def is_overdue(self, now_s: float) -> bool:
        """Whether its deadline has passed.

        Args:
            now_s: The API's clock, epoch seconds.
        """
        return self.deadline_s is not None and now_s >= self.deadline_s

    def describe(self, now_s: float) -> str:
        """Name, owner, age and machines in one phrase.

        Args:
            now_s: The API's clock, epoch seconds.
        """
        count = len(self.servers)
        machines = "1 machine" if count == 1 else f"{count} machines"
        guarded = ", protected" if self.is_protected else ""
        return f"'{self.prefix}' of {self.owner}, {self.age(now_s)} old, {machines}, {self.state}{guarded}"


def selector(*, prefix: str | None = None, uid: str | None = None) -> dict[str, str]:
    """Labels by which our resources are found.

    Args:
        prefix: Only of clusters of this name; a label is compared whole, so `cluster` never means `cluster2`.
        uid: Only of this cluster.
    """
    wanted = {"managed-by": MANAGED_BY, "prefix": prefix, "uid": uid}
    return {key: value for key, value in wanted.items() if value is not None}


def group_clusters(resources: Iterable[Resource]) -> tuple[CloudCluster, ...]:
    """Group resources by uid and prefix.

    Args:
        resources: Any; those without our labels are left out.
    """
    groups: dict[tuple[str, str], list[Resource]] = {}
    for resource in resources:
        labels = resource.labels
        if labels.get("managed-by") == MANAGED_BY and "uid" in labels and "prefix" in labels:
            groups.setdefault((labels["uid"], labels["prefix"]), []).append(resource)
    found = (_read_cluster(uid, tuple(group)) for (uid, _), group in groups.items())
    return tuple(sorted(found, key=lambda one: (one.prefix, one.created_s)))


def require_unprotected(found: Iterable[Resource], now_s: float) -> None:
    """Refuse to delete what is protected.

    Args:
        found: What is about to be deleted.
        now_s: The API's clock, epoch seconds.

    Raises:
        ClusterProtected: A cluster in it is protected.
    """
    for cluster in group_clusters(found):
        if cluster.is_protected:
            raise _protected_error(cluster, now_s)


def _protected_error(cluster: CloudCluster, now_s: float) -> ClusterProtected:
    which = f"Cluster {cluster.describe(now_s)}: nothing was deleted"
    cure = f"'scherbelberg unprotect -p {cluster.prefix}'"
    if any(PROTECTED in resource.labels for resource in cluster.resources):
        return ClusterProtected(f"{which}; {cure} allows it again.")
    guarded = ", ".join(resource.description for resource in cluster.resources if resource.is_guarded)
    return ClusterProtected(
        f"{which}, since Hetzner protects {guarded} against deletion; {cure} or Hetzner's console allows it again."
    )


def _read_cluster(uid: str, group: tuple[Resource, ...]) -> CloudCluster:
    first = sorted(group, key=lambda resource: not _is_own_network(resource))
    labels = first[0].labels  # its network speaks for the others, if it has one
    created_s = _number(labels.get("created", "")) or 0
    states = [resource.labels.get("state", "creating") for resource in first if resource.kind == "networks"]
    roles = {resource.labels.get("role") for resource in group if resource.kind == "servers"}
    if "ready" in states and "scheduler" not in roles:
        states = []
    return CloudCluster(
        prefix=labels["prefix"],
        uid=uid,
        owner=labels.get("owner", "unknown"),
        created_s=created_s,
        state=states[0] if states else "broken",
        deadline_s=_latest_deadline(group),
        idle_s=_longest_idle(group),
        # What was made before there was this label has certificates for the least time.
        certified_s=_number(labels.get("certified", "")) or (created_s + LEAST_VALID_S if created_s else None),
        is_protected=any(PROTECTED in resource.labels or resource.is_guarded for resource in group),
        resources=group,
    )


def _is_own_network(resource: Resource) -> bool:
    """Whether it is a cluster's own network: that has its name, whatever else somebody gave its labels."""
    return resource.kind == "networks" and resource.name == resource.labels["prefix"]


def _latest_deadline(group: tuple[Resource, ...]) -> int | None:
    """The latest deadline of some resources, since whoever moves it may be interrupted in the middle.

    A label that is missing, is no time, or names one from before the resource was made, says that nobody knows: then
    there is no deadline at all, since what somebody needs is not deleted by mistake.
    """
    found = []
    for resource in group:
        deadline, created = (resource.labels.get(key, "") for key in ("deadline", "created"))
        if not (deadline.isdecimal() and created.isdecimal() and int(deadline) >= int(created)):
            return None
        found.append(int(deadline))
    return max(found)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _longest_idle(group: tuple[Resource, ...]) -> int | None:
    texts = [resource.labels.get("idle", "") for resource in group]
    return (max(map(int, texts)) or None) if all(text.isdecimal() for text in texts) else None


def format_duration(seconds: float) -> str:
    """A duration for people, in its two largest units.

    Args:
        seconds: How long.
    """
    left = max(0, int(seconds))
    parts: list[str] = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def is_ours(server: Resource, wanted: Mapping[str, str]) -> bool:
    """Whether a server is a cluster's, as far as its uid says, or else its name.

    Args:
        server: One that is not found by the cluster's labels.
        wanted: Those labels.
    """
    uid = server.labels.get("uid")
    if uid is not None:
        return uid == wanted.get("uid")
    return re.fullmatch(rf"{re.escape(wanted['prefix'])}-(scheduler|worker[0-9]*)", server.name) is not None


def selection_warning(firewall: Firewall) -> str:
    """Say that a firewall stays as long as it is applied to labels, which a cluster's never is by us.

    Args:
        firewall: It.
    """
    labels = ", ".join(f"'{one}'" for one in firewall.selectors)
    return (
        f"Somebody has applied {firewall.description} to whatever has the labels {labels}: take that out of it in"
        " Hetzner's console."
    )


def network_warning(server: Resource, used: Iterable[Resource], wanted: Mapping[str, str]) -> str:
    """Say what a server is to a cluster that is given back, and what to do about it.

    Args:
        server: One that is not found by the cluster's labels.
        used: What of the cluster's it uses.
        wanted: Those labels.
    """
    which = f"Server {server.name} (number {server.id})"
    what = " and ".join(one.description for one in used)
    if not is_ours(server, wanted):
        return (
            f"{which} uses {what}, and is none of cluster '{wanted['prefix']}': take it out of them in Hetzner's"
            " console, or delete it."
        )
    uses = f", which uses {what}," if what else ""
    return (
        f"{which}{uses} has lost the labels of cluster '{wanted['prefix']}' and is still paid for: if it is the"
        f" cluster's, 'hcloud server delete {server.id}' or Hetzner's console deletes it."
    )
