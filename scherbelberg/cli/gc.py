# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg gc``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from scherbelberg.cli.options import json_option, progress_option, token_option, voice_options, where
from scherbelberg.cli.output import SCHEMA, Json, err, out, say, speaker
from scherbelberg.cli.signals import run
from scherbelberg.cli.tables import bill_lines
from scherbelberg.errors import LeftOver, ScherbelbergError, StateDamaged
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from scherbelberg.collecting import Garbage, Judged
    from scherbelberg.remaining import Remembered
    from scherbelberg.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Tell what would be deleted, and delete nothing.")
@click.option("--owner", help="Only clusters of this owner, as 'ls' shows it.")
@click.option("-p", "--prefix", help="Only clusters of this name.")
@token_option
@progress_option
@json_option
@voice_options
def gc(*, dry_run: bool, owner: str | None, prefix: str | None, token_file: Path | None, as_json: bool) -> None:
    """Delete the clusters whose deadline has passed, whoever made them; needs nothing on this computer.

    Whether a cluster is idle can only be found out where its keys are. What cannot be used and is not overdue is
    reported, and stays.
    """
    if prefix is not None:
        check_prefix(prefix)
    settings = where(token_file)
    from scherbelberg.cli.documents import outliving_document  # noqa: PLC0415
    from scherbelberg.cli.tables import outliving_lines  # noqa: PLC0415
    from scherbelberg.collecting import sift  # noqa: PLC0415
    from scherbelberg.keeping import paid_on  # noqa: PLC0415

    garbage = run(sift(settings, owner=owner, prefix=prefix))
    rows: list[Json] = []
    findings: Json = {"dry_run": dry_run, "clusters": rows, "strays": _strays(garbage)}
    speaker().findings = findings
    ends: list[tuple[str, _End]] = []
    left: tuple[Remembered, ...] = ()
    try:
        for judged in garbage.clusters:
            end = _end(judged, settings, dry_run=dry_run)
            ends.append((judged.kept.holding.prefix, end))
            rows.append(_row(judged, end))
            if not as_json:
                _tell(judged, end, dry_run=dry_run)
        left = run(paid_on(settings, prefix=prefix))
    finally:  # what went wrong before counts for more
        findings["outliving"] = outliving_document(left)
        _raise_failures(ends)
    if as_json:
        speaker().answer({"schema": SCHEMA, **findings})
        return
    for name in findings["strays"]:
        say(f"Of no cluster any more, since labels are gone; look at it in the console: {name}")
    for line in outliving_lines(left):
        out().print(line, highlight=False, markup=False, soft_wrap=True)
    if not any(judged.verdict.is_doomed for judged in garbage.clusters):
        say("There is nothing to delete.")


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


def _end(judged: Judged, settings: Settings, *, dry_run: bool) -> _End:
    if not judged.verdict.is_doomed or dry_run:
        return _STAYS
    return _delete(judged, settings) if speaker().interrupted_by is None else _NOT_BEGUN


def _delete(judged: Judged, settings: Settings) -> _End:
    """Delete a cluster; one that cannot be deleted keeps no others."""
    from scherbelberg.billing import noted  # noqa: PLC0415 - heavy
    from scherbelberg.cli.progress import shown  # noqa: PLC0415
    from scherbelberg.collecting import collect  # noqa: PLC0415
    from scherbelberg.ledger import entry_document  # noqa: PLC0415

    try:
        with shown(err()) as listen:
            entries = run(collect(settings, judged, listener=listen))
    except ScherbelbergError as error:
        parts = noted(settings, [judged.kept.holding.uid])
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
    speaker().remains = tuple(name for names in left for name in names)
    if isinstance(worst, LeftOver):
        raise LeftOver(text, left_over=speaker().remains) from worst
    worst.args = (text,)
    raise worst


def _row(judged: Judged, end: _End) -> Json:
    holding, now_s = judged.kept.holding, judged.kept.now_s
    return {
        "prefix": holding.prefix,
        "uid": holding.uid,
        "owner": holding.owner,
        "state": holding.state,
        "age_s": int(now_s) - holding.created_s,
        "deadline_s": holding.deadline_s,
        "idle_limit_s": holding.idle_s,
        "quiet_s": judged.quiet_s,
        "machines": len(holding.servers),
        "verdict": judged.verdict.value,
        "deleted": end.is_gone,
        "bills": list(end.bills),
        "error": {"code": end.error.code, "message": end.error.message} if end.error else None,
    }


def _strays(garbage: Garbage) -> list[str]:
    return [resource.described for resource in garbage.strays]


def _tell(judged: Judged, end: _End, *, dry_run: bool) -> None:
    from scherbelberg.deadlines import reason  # noqa: PLC0415

    holding, now_s = judged.kept.holding, judged.kept.now_s
    news = ""
    if judged.verdict.is_doomed:
        stays = "not all could be deleted" if end.error else "stays: somebody needs it again"
        stays = "not begun, since a signal came: it is rented on" if end is _NOT_BEGUN else stays
        news = f" -> {'would be deleted' if dry_run else 'deleted' if end.is_gone else stays}"
    text = f"{holding.described(now_s)}: {reason(holding, judged.verdict, now_s, quiet_s=judged.quiet_s)}{news}"
    for line in (text, *bill_lines({"bills": end.bills})):
        out().print(line, highlight=False, markup=False, soft_wrap=True)
