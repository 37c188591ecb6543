# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg extend``."""

from __future__ import annotations

from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.output import SCHEMA, speaker
from scherbelberg.cli.signals import run
from scherbelberg.spec import check_prefix
from scherbelberg.specfile import read_duration


@click.command()
@click.argument("ttl", required=False)
@prefix_option
@click.option("--idle", help="Let it count as forgotten after so much time without work, or none; the deadline stays.")
@click.option("--shorten", is_flag=True, help="Also where the new deadline is earlier than the present one.")
@token_option
@json_option
@voice_options
def extend(
    *, ttl: str | None, prefix: str, idle: str | None, shorten: bool, token_file: Path | None, as_json: bool
) -> None:
    """Move a cluster's deadline to TTL from now on: 12h (the default), 90m, 2d, seconds, or none."""
    check_prefix(prefix)
    if ttl is None and idle is None:
        ttl = "12h"
    ttl_s, idle_s = read_duration(ttl or "none"), read_duration(idle or "none")
    settings = where(token_file)
    from scherbelberg.extending import UNCHANGED  # noqa: PLC0415
    from scherbelberg.extending import extend as move  # noqa: PLC0415

    kept = run(
        move(
            settings,
            prefix,
            ttl_s=UNCHANGED if ttl is None else ttl_s,
            idle_s=UNCHANGED if idle is None else idle_s,
            may_shorten=shorten,
        )
    )
    holding = kept.holding
    if as_json:
        speaker().answer(
            {
                "schema": SCHEMA,
                "prefix": prefix,
                "uid": holding.uid,
                "deadline_s": holding.deadline_s,
                "left_s": None if holding.deadline_s is None else holding.deadline_s - int(kept.now_s),
                "idle_limit_s": holding.idle_s,
            }
        )
        return
    news = []
    if ttl is not None:
        news.append("has no deadline any more" if ttl_s is None else f"may live for {ttl} from now on")
    if idle is not None:
        forgotten = "never counts as forgotten for being idle"
        news.append(forgotten if idle_s is None else f"counts as forgotten when it was idle for {idle}")
    click.echo(f"Cluster '{prefix}' of {holding.owner} {' and '.join(news)}.")
