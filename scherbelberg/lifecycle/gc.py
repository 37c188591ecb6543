# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Collects garbage: deletes clusters whose deadline has passed, whoever made them; needs nothing on this computer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from scherbelberg.cloud.hetzner import open_api
from scherbelberg.cloud.resources import Resource
from scherbelberg.concurrency.waiting import together
from scherbelberg.errors import CloudError, ScherbelbergError
from scherbelberg.events import Listener
from scherbelberg.inventory.clusters import holdings, selector
from scherbelberg.inventory.deadlines import Verdict, judge, strays
from scherbelberg.inventory.ledger import Entry
from scherbelberg.inventory.listing import Kept, kept, list_resources
from scherbelberg.lifecycle.destroy import give_back
from scherbelberg.nodes.connections import Links
from scherbelberg.nodes.payload import command
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts, check_prefix
from scherbelberg.state.store import Folder

#: A cluster that does not answer is not idle, as far as anybody knows.
_WITHIN_S = 15.0


async def quiet_s(folder: Folder) -> float | None:
    """Ask a cluster's scheduler for how many seconds there was no task, no login with a program, and no transfer.

    Args:
        folder: The cluster's, with its keys.

    Returns:
        Seconds, or None if that cannot be found out.
    """
    try:
        links = Links(folder, folder.read(), folder.keyring().ssh.private)
        async with links.visit("scheduler") as scheduler:
            answer = await scheduler.run(command("idle"), within_s=_WITHIN_S)
    except ScherbelbergError:
        return None
    text = answer.stdout.strip()
    return float(text) if answer.exit_code == 0 and text.isdecimal() else None


@frozen(kw_only=True)
class Judged:
    """A cluster and what becomes of it.

    Args:
        kept: The cluster.
        verdict: The judgement.
        quiet_s: For how many seconds nothing was done on it, or None if nobody here knows.
    """

    kept: Kept
    verdict: Verdict
    quiet_s: float | None


@frozen(kw_only=True)
class Garbage:
    """All that a project holds, judged.

    Args:
        clusters: Its clusters.
        strays: Resources that have lost the labels that say of which cluster they are.
    """

    clusters: tuple[Judged, ...]
    strays: tuple[Resource, ...]


class _Spared(ScherbelbergError):
    """The cluster is not to be deleted any more; nothing of it was."""


async def sift(settings: Settings, *, owner: str | None = None, prefix: str | None = None) -> Garbage:
    """Look at all clusters of the project and judge them; nothing is deleted.

    Those that may be idle, and those that are overdue, are asked whether they compute, if their keys are here.

    Args:
        settings: The surroundings.
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
    clusters = await together(*(_judge(one) for one in kept(resources, settings, now_s=now_s)))
    return Garbage(clusters=tuple(clusters), strays=strays(resources))


async def _judge(one: Kept) -> Judged:
    holding = one.holding
    is_asked = holding.idle_s is not None or holding.is_overdue(one.now_s)
    silence_s = await quiet_s(one.folder) if is_asked and holding.state == "ready" and one.folder is not None else None
    return Judged(kept=one, verdict=judge(holding, one.now_s, quiet_s=silence_s), quiet_s=silence_s)


async def collect(settings: Settings, doomed: Judged, *, listener: Listener) -> tuple[Entry, ...] | None:
    """Delete a cluster that is garbage, unless it is none any more when it is looked at once more.

    Args:
        settings: The surroundings.
        doomed: The cluster.
        listener: Is told of the deletion.

    Returns:
        What it has cost, as `give_back` tells; None if it is needed again, since somebody has moved its deadline.

    Raises:
        LeftOver: Something was still there at the deadline.
    """
    holding = doomed.kept.holding
    # What was quiet a moment ago may have got work while others were deleted.
    latest = await _judge(doomed.kept) if doomed.verdict is Verdict.IDLE else doomed

    def still_doomed(found: tuple[Resource, ...], now_s: float) -> None:
        if not all(judge(one, now_s, quiet_s=latest.quiet_s).is_doomed for one in holdings(found)):
            raise _Spared("It is needed again.")

    try:
        return await give_back(
            settings, holding.prefix, (holding.uid,), listener=listener, timeouts=Timeouts(), check=still_doomed
        )
    except _Spared:
        return None
