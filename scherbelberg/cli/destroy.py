# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands that give clusters back: ``destroy``, ``nuke``, and ``gc`` for those whose deadline has passed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from scherbelberg.cli.options import (
    json_option,
    load_settings,
    prefix_option,
    progress_option,
    token_option,
    verbosity_options,
)
from scherbelberg.cli.output import SCHEMA, Json, get_reporter, info, stderr_console, stdout_console
from scherbelberg.cli.signals import run
from scherbelberg.errors import BadInput, ClusterNotFound, LeftOver, ScherbelbergError, StateDamaged
from scherbelberg.spec.model import check_prefix

if TYPE_CHECKING:
    from scherbelberg.inventory.orphan_records import PaidOrphan
    from scherbelberg.lifecycle.gc import GcCandidate, GcReport
    from scherbelberg.settings import Settings


@click.command()
@prefix_option
@click.option(
    "--forget", is_flag=True, help="Forget volumes, IPs and snapshots that outlive the servers. You still pay for them."
)
@token_option
@progress_option
@json_option
@verbosity_options
def destroy(*, prefix: str, forget: bool, token_file: Path | None, as_json: bool) -> None:
    """Delete a cluster created on or imported to this computer, and check that nothing is left."""
    check_prefix(prefix)
    settings = load_settings(token_file)
    from scherbelberg.cli.actions import destroy_clusters  # noqa: PLC0415 - heavy
    from scherbelberg.inventory.listing import own_uids  # noqa: PLC0415

    document = destroy_clusters(prefix, run(own_uids(settings, prefix)), settings, stderr_console(), forgets=forget)
    _answer(document, as_json=as_json)


@click.command()
@prefix_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@token_option
@progress_option
@json_option
@verbosity_options
def nuke(*, prefix: str, yes: bool, token_file: Path | None, as_json: bool) -> None:
    """Delete all clusters with this name, including broken ones and other people's. Works on any computer."""
    check_prefix(prefix)
    settings = load_settings(token_file)
    from scherbelberg.cli.actions import destroy_clusters  # noqa: PLC0415 - heavy
    from scherbelberg.inventory.clusters import require_unprotected  # noqa: PLC0415
    from scherbelberg.inventory.listing import fetch_clusters  # noqa: PLC0415

    found = run(fetch_clusters(settings, prefix=prefix, with_warning=False))
    if not found:
        raise ClusterNotFound(f"There is no cluster '{prefix}' in this project.")
    for known in found:
        require_unprotected(known.cluster.resources, known.now_s)
    for known in found:
        info(f"To be deleted: {known.cluster.describe(known.now_s)}")
    if not yes and any(known.folder is None for known in found):
        _ask_for_name(prefix)
    document = destroy_clusters(prefix, tuple(known.cluster.uid for known in found), settings, stderr_console())
    _answer(document, as_json=as_json)


def _answer(document: Json, *, as_json: bool) -> None:
    from scherbelberg.cli.tables import bill_lines  # noqa: PLC0415 - heavy
    from scherbelberg.inventory.orphans import read_orphan  # noqa: PLC0415

    if as_json:
        get_reporter().answer(document)
        return
    forgotten = [read_orphan(row) for row in document["forgotten"]]
    lines = [f"Forgotten, and paid for on: {one.description} of {one.server}, {one.cost}." for one in forgotten]
    for line in (*bill_lines(document), *lines):
        stdout_console().print(line, highlight=False, soft_wrap=True)


def _ask_for_name(prefix: str) -> None:
    if get_reporter().is_for_programs or not sys.stdin.isatty():
        raise BadInput(f"'{prefix}' was not created on this computer. Use --yes to delete it without a question.")
    typed = click.prompt("Not created on this computer. Type the cluster's name to delete it", err=True, default="")
    if typed != prefix:
        raise BadInput(f"'{typed}' is not '{prefix}': nothing was deleted.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what gc would delete, and delete nothing.")
@click.option("--owner", metavar="OWNER", help="Only clusters of this owner, as shown by ls.")
@click.option("-p", "--prefix", metavar="NAME", help="Only clusters with this name.")
@token_option
@progress_option
@json_option
@verbosity_options
def gc(*, dry_run: bool, owner: str | None, prefix: str | None, token_file: Path | None, as_json: bool) -> None:
    """Delete all expired clusters of the project, including other people's. Works on any computer.

    Idle clusters are recognised only on computers that have their keys. Broken clusters that have not expired are
    reported, not deleted.
    """
    if prefix is not None:
        check_prefix(prefix)
    settings = load_settings(token_file)
    from scherbelberg.cli.documents import orphans_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import orphan_lines  # noqa: PLC0415
    from scherbelberg.inventory.orphan_records import read_paid_orphans  # noqa: PLC0415
    from scherbelberg.lifecycle.gc import find_expired  # noqa: PLC0415

    report = run(find_expired(settings, owner=owner, prefix=prefix))
    rows: list[Json] = []
    findings: Json = {"dry_run": dry_run, "clusters": rows, "strays": _strays(report)}
    get_reporter().findings = findings
    ends: list[tuple[str, _End]] = []
    left: tuple[PaidOrphan, ...] = ()
    try:
        for candidate in report.clusters:
            end = _end(candidate, settings, dry_run=dry_run)
            ends.append((candidate.known.cluster.prefix, end))
            rows.append(_end_document(candidate, end))
            if not as_json:
                _tell_end(candidate, end, dry_run=dry_run)
        left = run(read_paid_orphans(settings, prefix=prefix))
    finally:  # what went wrong before counts for more
        findings["outliving"] = orphans_document(left)
        _raise_failures(ends)
    if as_json:
        get_reporter().answer({"schema": SCHEMA, **findings})
        return
    for name in findings["strays"]:
        info(f"Of no cluster any more, since labels are gone; look at it in the console: {name}")
    for line in orphan_lines(left):
        stdout_console().print(line, highlight=False, markup=False, soft_wrap=True)
    if not any(candidate.verdict.should_delete for candidate in report.clusters):
        info("There is nothing to delete.")


@frozen(kw_only=True)
class _End:
    """What became of a cluster: whether it is gone, what was given back of it, and what went wrong."""

    is_gone: bool
    bills: tuple[Json, ...] = ()
    error: ScherbelbergError | None = None

    @property
    def left(self) -> tuple[str, ...]:
        """What is known to be left of it."""
        return self.error.left_over if isinstance(self.error, LeftOver) else ()


_STAYS = _End(is_gone=False)
#: Who was interrupted has heard of that when a deletion failed on its way out; no other one is begun then.
_NOT_BEGUN = _End(is_gone=False)


def _end(candidate: GcCandidate, settings: Settings, *, dry_run: bool) -> _End:
    if not candidate.verdict.should_delete or dry_run:
        return _STAYS
    return _delete_expired(candidate, settings) if get_reporter().interrupted_by is None else _NOT_BEGUN


def _delete_expired(candidate: GcCandidate, settings: Settings) -> _End:
    """Delete a cluster; one that cannot be deleted keeps no others."""
    from scherbelberg.cli.progress import show_progress  # noqa: PLC0415
    from scherbelberg.inventory.billing import read_entries  # noqa: PLC0415 - heavy
    from scherbelberg.inventory.ledger import entry_document  # noqa: PLC0415
    from scherbelberg.lifecycle.gc import collect  # noqa: PLC0415

    try:
        with show_progress(stderr_console()) as listen:
            entries = run(collect(settings, candidate, listener=listen))
    except ScherbelbergError as error:
        parts = read_entries(settings, [candidate.known.cluster.uid])
        # It is the folder of what is gone that makes trouble then, or something that is no part of it.
        is_gone = isinstance(error, StateDamaged) or (isinstance(error, LeftOver) and error.is_rest)
        return _End(is_gone=is_gone, bills=tuple(entry_document(part) for part in parts), error=error)
    return _STAYS if entries is None else _End(is_gone=True, bills=tuple(entry_document(entry) for entry in entries))


def _raise_failures(ends: list[tuple[str, _End]]) -> None:
    """Raise one error for all: what is left counts for more than what else there was, and the first for more then."""
    failed = [(prefix, end, end.error) for prefix, end in ends if end.error is not None]
    if not failed:
        return
    errors = [error for _, _, error in failed]
    worst = next((error for error in errors if isinstance(error, LeftOver)), errors[0])
    text = " ".join(f"Cluster '{prefix}': {error.message}" for prefix, _, error in failed)
    left = [end.left or (f"cluster {prefix}",) for prefix, end, _ in failed if end.left or not end.is_gone]
    get_reporter().remains = tuple(name for names in left for name in names)
    if isinstance(worst, LeftOver):
        raise LeftOver(text, left_over=get_reporter().remains) from worst
    worst.args = (text,)
    raise worst


def _end_document(candidate: GcCandidate, end: _End) -> Json:
    cluster, now_s = candidate.known.cluster, candidate.known.now_s
    return {
        "prefix": cluster.prefix,
        "uid": cluster.uid,
        "owner": cluster.owner,
        "state": cluster.state,
        "age_s": int(now_s) - cluster.created_s,
        "deadline_s": cluster.deadline_s,
        "idle_limit_s": cluster.idle_s,
        "quiet_s": candidate.idle_seconds,
        "machines": len(cluster.servers),
        "verdict": candidate.verdict.value,
        "deleted": end.is_gone,
        "bills": list(end.bills),
        "error": {"code": end.error.code, "message": end.error.message} if end.error else None,
    }


def _strays(report: GcReport) -> list[str]:
    return [resource.description for resource in report.strays]


def _tell_end(candidate: GcCandidate, end: _End, *, dry_run: bool) -> None:
    from scherbelberg.cli.tables import bill_lines  # noqa: PLC0415 - heavy
    from scherbelberg.inventory.deadlines import reason  # noqa: PLC0415

    cluster, now_s = candidate.known.cluster, candidate.known.now_s
    news = ""
    if candidate.verdict.should_delete:
        stays = "not all could be deleted" if end.error else "stays: somebody needs it again"
        stays = "not begun, since a signal came: it is rented on" if end is _NOT_BEGUN else stays
        news = f" -> {'would be deleted' if dry_run else 'deleted' if end.is_gone else stays}"
    why = reason(cluster, candidate.verdict, now_s, idle_seconds=candidate.idle_seconds)
    text = f"{cluster.describe(now_s)}: {why}{news}"
    for line in (text, *bill_lines({"bills": end.bills})):
        stdout_console().print(line, highlight=False, markup=False, soft_wrap=True)
