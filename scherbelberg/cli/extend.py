# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg extend``."""

from __future__ import annotations

from pathlib import Path

import click

from scherbelberg.cli.common import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.speaker import SCHEMA
from scherbelberg.spec import ClusterSpec, check_prefix
from scherbelberg.specfile import read_duration


@click.command()
@click.argument("ttl", default="12h")
@prefix_option
@click.option("--shorten", is_flag=True, help="Also where the new deadline is earlier than the present one.")
@token_option
@json_option
@voice_options
def extend(*, ttl: str, prefix: str, shorten: bool, token_file: Path | None, as_json: bool) -> None:
    """Move a cluster's deadline to TTL from now on: 12h (the default), 90m, 2d, seconds, or none."""
    check_prefix(prefix)
    ttl_s = read_duration(ttl)
    ClusterSpec(ttl_s=ttl_s)  # which knows what cannot be
    settings = where(token_file)
    from scherbelberg.cli.interrupts import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.story import print_json  # noqa: PLC0415
    from scherbelberg.extending import extend as move  # noqa: PLC0415

    kept = run(move(settings, prefix, ttl_s, may_shorten=shorten))
    holding = kept.holding
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "prefix": prefix,
                "uid": holding.uid,
                "deadline_s": holding.deadline_s,
                "left_s": ttl_s,
            }
        )
    else:
        until = "has no deadline any more" if ttl_s is None else f"may live for {ttl} from now on"
        click.echo(f"Cluster '{prefix}' of {holding.owner} {until}.")
