# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What deadlines mean: what may be deleted, what is only pointed at, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from scherbelberg.cloud.resources import Resource
from scherbelberg.inventory.clusters import CloudCluster, format_duration
from scherbelberg.planning.plan import MANAGED_BY

#: From so many seconds before a deadline, those who can move it are told.
SOON_S = 3600
#: Nodes look every 10 seconds whether there is something to do.
BUSY_S = 30
#: What is not whole after so many seconds is not being made any more.
_MAKING_S = 3600


class GcVerdict(Enum):
    """What becomes of a cluster when garbage is collected."""

    PROTECTED = "protected"
    EXPIRED = "expired"
    IDLE = "idle"
    LEFTOVERS = "remains"
    BROKEN = "orphan"
    ALIVE = "alive"

    @property
    def should_delete(self) -> bool:
        """Whether it is deleted."""
        return self in {GcVerdict.EXPIRED, GcVerdict.IDLE, GcVerdict.LEFTOVERS}


def judge(cluster: CloudCluster, now_s: float, *, idle_seconds: float | None = None) -> GcVerdict:
    """Decide what becomes of a cluster.

    Args:
        cluster: What the cloud holds of it.
        now_s: The API's clock, epoch seconds.
        idle_seconds: For how many seconds nothing was done on it, or None if nobody knows.

    Returns:
        ``PROTECTED`` if it is, whatever else it is; ``EXPIRED`` after its deadline; ``IDLE`` if nothing was done on it
        for as long as it says; ``LEFTOVERS`` if it has no machine any more, only what is free of charge; ``BROKEN`` if
        it has machines, but cannot be used and is not being made; ``ALIVE`` otherwise.
    """
    if cluster.is_protected:
        return GcVerdict.PROTECTED
    if cluster.is_overdue(now_s):
        return GcVerdict.EXPIRED
    if idle_seconds is not None and cluster.idle_s is not None and idle_seconds >= cluster.idle_s:
        return GcVerdict.IDLE
    if cluster.state == "ready" or now_s - cluster.created_s < _MAKING_S:
        return GcVerdict.ALIVE
    return GcVerdict.LEFTOVERS if cluster.state == "broken" and not cluster.servers else GcVerdict.BROKEN


def reason(cluster: CloudCluster, verdict: GcVerdict, now_s: float, *, idle_seconds: float | None = None) -> str:
    """Say why a cluster is judged so, in a few words, and whether it computes.

    Args:
        cluster: What the cloud holds of it.
        verdict: The judgement.
        now_s: The API's clock, epoch seconds.
        idle_seconds: For how many seconds nothing was done on it, or None if nobody knows.
    """
    why = _reason(cluster, verdict, now_s)
    if idle_seconds is None:
        return why
    return (
        f"{why}, idle for {format_duration(idle_seconds)}"
        if idle_seconds >= BUSY_S
        else f"{why}, it computes or is used right now"
    )


def _reason(cluster: CloudCluster, verdict: GcVerdict, now_s: float) -> str:
    left = format_time_left(None if cluster.deadline_s is None else cluster.deadline_s - now_s)
    return {
        GcVerdict.PROTECTED: f"{left}; 'scherbelberg unprotect -p {cluster.prefix}' allows its deletion",
        GcVerdict.EXPIRED: left if cluster.servers else f"{left}, no machine is left of it",
        GcVerdict.IDLE: left,
        GcVerdict.LEFTOVERS: "no machine is left of it",
        GcVerdict.BROKEN: f"it cannot be used; 'scherbelberg nuke -p {cluster.prefix}' deletes it",
        GcVerdict.ALIVE: left,
    }[verdict]


def format_time_left(left_s: float | None) -> str:
    """Say how long a cluster may live yet.

    Args:
        left_s: Seconds until its deadline, below 0 after it, or None if it has none.
    """
    if left_s is None:
        return "no deadline"
    return f"{format_duration(left_s)} left" if left_s > 0 else f"overdue by {format_duration(-left_s)}"


def strays(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Find what is ours by its label, and of no cluster any more, since somebody has taken other labels away.

    Args:
        resources: Any.
    """
    ours = (resource for resource in resources if resource.labels.get("managed-by") == MANAGED_BY)
    return tuple(resource for resource in ours if not {"uid", "prefix"} <= resource.labels.keys())


def overdue_line(found: Iterable[CloudCluster], now_s: float) -> str | None:
    """Point at the clusters that are overdue, in one line; None if none is.

    Args:
        found: What the cloud holds.
        now_s: The API's clock, epoch seconds.
    """
    late = [
        f"'{one.prefix}' of {one.owner} ({format_time_left(one.deadline_s - now_s)})"
        for one in found
        if one.deadline_s is not None and judge(one, now_s) is GcVerdict.EXPIRED
    ]
    if not late:
        return None
    return f"Forgotten? {', '.join(late)}: 'scherbelberg gc' deletes that, 'scherbelberg extend -p NAME' lets it live."


def seconds_to_deadline(cluster: CloudCluster, now_s: float) -> float | None:
    """Seconds until a cluster's deadline, if it is near; None if it is not, has passed, or does not matter.

    Args:
        cluster: What the cloud holds of it.
        now_s: The API's clock, epoch seconds.
    """
    if cluster.is_protected or cluster.deadline_s is None or not 0 < (left_s := cluster.deadline_s - now_s) <= SOON_S:
        return None
    return left_s


def soon_line(prefix: str, left_s: float) -> str:
    """Warn of a deadline.

    Args:
        prefix: The cluster's name.
        left_s: Seconds until then; none if it has passed.
    """
    when = f"in {format_duration(left_s)}" if left_s > 0 else "now"
    return f"The deadline of cluster '{prefix}' is {when}: 'scherbelberg extend -p {prefix}' moves it."
