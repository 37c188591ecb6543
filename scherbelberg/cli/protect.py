# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg protect`` and ``scherbelberg unprotect``."""

from __future__ import annotations

from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.output import SCHEMA, speaker
from scherbelberg.cli.signals import run
from scherbelberg.spec import check_prefix


@click.command()
@prefix_option
@token_option
@json_option
@voice_options
def protect(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Guard a cluster against destroy, nuke and gc, whoever calls them, and its servers also against other programs."""
    _change(prefix, token_file, wanted=True, as_json=as_json)


@click.command()
@prefix_option
@token_option
@json_option
@voice_options
def unprotect(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Allow the deletion of a protected cluster again."""
    _change(prefix, token_file, wanted=False, as_json=as_json)


def _change(prefix: str, token_file: Path | None, *, wanted: bool, as_json: bool) -> None:
    check_prefix(prefix)
    settings = where(token_file)
    from scherbelberg.protecting import protect as guard  # noqa: PLC0415

    holding = run(guard(settings, prefix, wanted=wanted))
    if as_json:
        speaker().answer({"schema": SCHEMA, "prefix": prefix, "uid": holding.uid, "protected": wanted})
    else:
        click.echo(f"Cluster '{prefix}' of {holding.owner} is {'protected' if wanted else 'not protected any more'}.")
