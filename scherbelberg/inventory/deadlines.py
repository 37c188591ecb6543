# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What deadlines mean: what may be deleted, what is only pointed at, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from scherbelberg.cloud.resources import Resource
from scherbelberg.inventory.clusters import Holding, words_for
from scherbelberg.planning.plan import MANAGED_BY

#: From so many seconds before a deadline, those who can move it are told.
SOON_S = 3600
#: Nodes look every 10 seconds whether there is something to do.
BUSY_S = 30
#: What is not whole after so many seconds is not being made any more.
_MAKING_S = 3600


class Verdict(Enum):
    """What becomes of a cluster when garbage is collected."""

    PROTECTED = "protected"
    EXPIRED = "expired"
    IDLE = "idle"
    REMAINS = "remains"
    ORPHAN = "orphan"
    ALIVE = "alive"

    @property
    def is_doomed(self) -> bool:
        """Whether it is deleted."""
        return self in {Verdict.EXPIRED, Verdict.IDLE, Verdict.REMAINS}


def judge(holding: Holding, now_s: float, *, quiet_s: float | None = None) -> Verdict:
    """Decide what becomes of a cluster.

    Args:
        holding: What the cloud holds of it.
        now_s: The API's clock, epoch seconds.
        quiet_s: For how many seconds nothing was done on it, or None if nobody knows.

    Returns:
        ``PROTECTED`` if it is, whatever else it is; ``EXPIRED`` after its deadline; ``IDLE`` if nothing was done on it
        for as long as it says; ``REMAINS`` if it has no machine any more, only what is free of charge; ``ORPHAN`` if it
        has machines, but cannot be used and is not being made; ``ALIVE`` otherwise.
    """
    if holding.is_protected:
        return Verdict.PROTECTED
    if holding.is_overdue(now_s):
        return Verdict.EXPIRED
    if quiet_s is not None and holding.idle_s is not None and quiet_s >= holding.idle_s:
        return Verdict.IDLE
    if holding.state == "ready" or now_s - holding.created_s < _MAKING_S:
        return Verdict.ALIVE
    return Verdict.REMAINS if holding.state == "broken" and not holding.servers else Verdict.ORPHAN


def reason(holding: Holding, verdict: Verdict, now_s: float, *, quiet_s: float | None = None) -> str:
    """Say why a cluster is judged so, in a few words, and whether it computes.

    Args:
        holding: What the cloud holds of it.
        verdict: The judgement.
        now_s: The API's clock, epoch seconds.
        quiet_s: For how many seconds nothing was done on it, or None if nobody knows.
    """
    why = _reason(holding, verdict, now_s)
    if quiet_s is None:
        return why
    return f"{why}, idle for {words_for(quiet_s)}" if quiet_s >= BUSY_S else f"{why}, it computes or is used right now"


def _reason(holding: Holding, verdict: Verdict, now_s: float) -> str:
    left = left_words(None if holding.deadline_s is None else holding.deadline_s - now_s)
    return {
        Verdict.PROTECTED: f"{left}; 'scherbelberg unprotect -p {holding.prefix}' allows its deletion",
        Verdict.EXPIRED: left if holding.servers else f"{left}, no machine is left of it",
        Verdict.IDLE: left,
        Verdict.REMAINS: "no machine is left of it",
        Verdict.ORPHAN: f"it cannot be used; 'scherbelberg nuke -p {holding.prefix}' deletes it",
        Verdict.ALIVE: left,
    }[verdict]


def left_words(left_s: float | None) -> str:
    """Say how long a cluster may live yet.

    Args:
        left_s: Seconds until its deadline, below 0 after it, or None if it has none.
    """
    if left_s is None:
        return "no deadline"
    return f"{words_for(left_s)} left" if left_s > 0 else f"overdue by {words_for(-left_s)}"


def strays(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Find what is ours by its label, and of no cluster any more, since somebody has taken other labels away.

    Args:
        resources: Any.
    """
    ours = (resource for resource in resources if resource.labels.get("managed-by") == MANAGED_BY)
    return tuple(resource for resource in ours if not {"uid", "prefix"} <= resource.labels.keys())


def overdue_line(found: Iterable[Holding], now_s: float) -> str | None:
    """Point at the clusters that are overdue, in one line; None if none is.

    Args:
        found: What the cloud holds.
        now_s: The API's clock, epoch seconds.
    """
    late = [
        f"'{one.prefix}' of {one.owner} ({left_words(one.deadline_s - now_s)})"
        for one in found
        if one.deadline_s is not None and judge(one, now_s) is Verdict.EXPIRED
    ]
    if not late:
        return None
    return f"Forgotten? {', '.join(late)}: 'scherbelberg gc' deletes that, 'scherbelberg extend -p NAME' lets it live."


def soon_s(holding: Holding, now_s: float) -> float | None:
    """Seconds until a cluster's deadline, if it is near; None if it is not, has passed, or does not matter.

    Args:
        holding: What the cloud holds of it.
        now_s: The API's clock, epoch seconds.
    """
    if holding.is_protected or holding.deadline_s is None or not 0 < (left_s := holding.deadline_s - now_s) <= SOON_S:
        return None
    return left_s


def soon_line(prefix: str, left_s: float) -> str:
    """Warn of a deadline.

    Args:
        prefix: The cluster's name.
        left_s: Seconds until then; none if it has passed.
    """
    when = f"in {words_for(left_s)}" if left_s > 0 else "now"
    return f"The deadline of cluster '{prefix}' is {when}: 'scherbelberg extend -p {prefix}' moves it."
