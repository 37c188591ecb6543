# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Collects garbage: deletes clusters whose deadline has passed, whoever made them; needs nothing on this computer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from scherbelberg.cloud.hetzner import open_api
from scherbelberg.cloud.resources import Resource
from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.errors import CloudError, ScherbelbergError
from scherbelberg.events import Listener
from scherbelberg.inventory.clusters import group_clusters, selector
from scherbelberg.inventory.deadlines import GcVerdict, judge, strays
from scherbelberg.inventory.ledger import Entry
from scherbelberg.inventory.listing import KnownCluster, list_resources, match_local
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.payload import command
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts, check_prefix
from scherbelberg.state.store import Folder

#: A cluster that does not answer is not idle, as far as anybody knows.
_WITHIN_S = 15.0


async def idle_seconds(folder: Folder) -> float | None:
    """Ask a cluster's scheduler for how many seconds there was no task, no login with a program, and no transfer.

    Args:
        folder: The cluster's, with its keys.

    Returns:
        Seconds, or None if that cannot be found out.
    """
    try:
        connections = Connections(folder, folder.read(), folder.keyring().ssh.private)
        async with connections.connect("scheduler") as scheduler:
            answer = await scheduler.run(command("idle"), within_s=_WITHIN_S)
    except ScherbelbergError:
        return None
    text = answer.stdout.strip()
    return float(text) if answer.exit_code == 0 and text.isdecimal() else None


@frozen(kw_only=True)
class GcCandidate:
    """A cluster and what becomes of it.

    Args:
        known: The cluster.
        verdict: The judgement.
        idle_seconds: For how many seconds nothing was done on it, or None if nobody here knows.
    """

    known: KnownCluster
    verdict: GcVerdict
    idle_seconds: float | None


@frozen(kw_only=True)
class GcReport:
    """All that a project holds, judged.

    Args:
        clusters: Its clusters.
        strays: Resources that have lost the labels that say of which cluster they are.
    """

    clusters: tuple[GcCandidate, ...]
    strays: tuple[Resource, ...]


class _Spared(ScherbelbergError):
    """The cluster is not to be deleted any more; nothing of it was."""


async def find_expired(settings: Settings, *, owner: str | None = None, prefix: str | None = None) -> GcReport:
    """Look at all clusters of the project and judge them; nothing is deleted.

    Those that may be idle, and those that are overdue, are asked whether they compute, if their keys are here.

    Args:
        settings: The ambient configuration.
        owner: Only the clusters of this owner.
        prefix: Only those of this name.

    Raises:
        BadInput: The name cannot be one.
        CloudError: The cloud does not tell the time.
    """
    if prefix is not None:
        check_prefix(prefix)
    async with open_api(settings.access, Timeouts()) as hetzner:
        found = await list_resources(hetzner, selector())
        if not hetzner.tells_time:
            raise CloudError(
                f"{hetzner.access.place} does not tell the time, so nobody knows which deadlines have passed: nothing"
                " was deleted; 'scherbelberg destroy' and 'nuke' delete by name.",
                api_code="no_date",
            )
        now_s = hetzner.now_s

    def is_meant(labels: Mapping[str, str]) -> bool:
        return owner in {None, labels.get("owner")} and prefix in {None, labels.get("prefix")}

    resources = [resource for resource in found if is_meant(resource.labels)]
    clusters = await gather_or_cancel(*(_judge(one) for one in match_local(resources, settings, now_s=now_s)))
    return GcReport(clusters=tuple(clusters), strays=strays(resources))


async def _judge(one: KnownCluster) -> GcCandidate:
    cluster = one.cluster
    is_asked = cluster.idle_s is not None or cluster.is_overdue(one.now_s)
    silence_s = (
        await idle_seconds(one.folder) if is_asked and cluster.state == "ready" and one.folder is not None else None
    )
    return GcCandidate(known=one, verdict=judge(cluster, one.now_s, idle_seconds=silence_s), idle_seconds=silence_s)


async def collect(settings: Settings, candidate: GcCandidate, *, listener: Listener) -> tuple[Entry, ...] | None:
    """Delete a cluster that is garbage, unless it is none any more when it is looked at once more.

    Args:
        settings: The ambient configuration.
        candidate: The cluster.
        listener: Is told of the deletion.

    Returns:
        What it has cost, as `delete_clusters` tells; None if it is needed again, since somebody has moved its deadline.

    Raises:
        LeftOver: Something was still there at the deadline.
    """
    cluster = candidate.known.cluster
    # What was quiet a moment ago may have got work while others were deleted.
    latest = await _judge(candidate.known) if candidate.verdict is GcVerdict.IDLE else candidate

    def still_doomed(found: tuple[Resource, ...], now_s: float) -> None:
        if not all(judge(one, now_s, idle_seconds=latest.idle_seconds).should_delete for one in group_clusters(found)):
            raise _Spared("It is needed again.")

    try:
        return await delete_clusters(
            settings, cluster.prefix, (cluster.uid,), listener=listener, timeouts=Timeouts(), check=still_doomed
        )
    except _Spared:
        return None
