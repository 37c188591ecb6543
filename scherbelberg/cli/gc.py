# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg gc``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.bill import bill_lines
from scherbelberg.cli.common import (
    err,
    json_option,
    out,
    progress_option,
    say,
    token_option,
    voice_options,
    where,
)
from scherbelberg.cli.speaker import SCHEMA, Json
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from scherbelberg.collecting import Garbage, Judged
    from scherbelberg.errors import LeftOver
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
    from scherbelberg.cli.interrupts import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.story import print_json  # noqa: PLC0415
    from scherbelberg.collecting import sift  # noqa: PLC0415

    garbage = run(sift(settings, owner=owner, prefix=prefix))
    rows, failures = [], []
    for judged in garbage.clusters:
        bills: list[Json] | None = None
        if judged.verdict.is_doomed and not dry_run:
            bills, failure = _delete(judged, settings)
            failures += [failure] if failure else []
        rows.append(_row(judged, bills))
        if not as_json:
            _tell(judged, bills, dry_run=dry_run)
    if failures:
        raise _together(failures)
    if as_json:
        print_json({"schema": SCHEMA, "dry_run": dry_run, "clusters": rows, "strays": _strays(garbage)})
        return
    for name in _strays(garbage):
        say(f"Of no cluster any more, since labels are gone; look at it in the console: {name}")
    if not any(judged.verdict.is_doomed for judged in garbage.clusters):
        say("There is nothing to delete.")


def _delete(judged: Judged, settings: Settings) -> tuple[list[Json] | None, LeftOver | None]:
    """Delete a cluster and say what it has cost, None if it stays; one that cannot be deleted keeps no others."""
    from scherbelberg.cli.interrupts import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.progress import shown  # noqa: PLC0415
    from scherbelberg.collecting import collect  # noqa: PLC0415
    from scherbelberg.errors import LeftOver  # noqa: PLC0415
    from scherbelberg.ledger import entry_document  # noqa: PLC0415

    try:
        with shown(err()) as listen:
            entries = run(collect(settings, judged, listener=listen))
    except LeftOver as error:
        return None, error
    return (None if entries is None else [entry_document(entry) for entry in entries]), None


def _together(failures: list[LeftOver]) -> LeftOver:
    from scherbelberg.errors import LeftOver  # noqa: PLC0415

    left = tuple(name for failure in failures for name in failure.left_over)
    return LeftOver(" ".join(failure.message for failure in failures), left_over=left)


def _row(judged: Judged, bills: list[Json] | None) -> Json:
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
        "deleted": bills is not None,
        "bills": bills or [],
    }


def _strays(garbage: Garbage) -> list[str]:
    return [resource.described for resource in garbage.strays]


def _tell(judged: Judged, bills: list[Json] | None, *, dry_run: bool) -> None:
    from scherbelberg.deadlines import reason  # noqa: PLC0415

    holding, now_s = judged.kept.holding, judged.kept.now_s
    end = ""
    if judged.verdict.is_doomed:
        would_be = "would be deleted" if dry_run else "stays: somebody needs it again, or not all could be deleted"
        end = f" -> {would_be if bills is None else 'deleted'}"
    text = f"{holding.described(now_s)}: {reason(holding, judged.verdict, now_s, quiet_s=judged.quiet_s)}{end}"
    for line in (text, *bill_lines({"bills": bills or []})):
        out().print(line, highlight=False, markup=False, soft_wrap=True)
