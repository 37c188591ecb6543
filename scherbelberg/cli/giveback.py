# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg destroy`` and ``scherbelberg nuke``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, progress_option, token_option, voice_options, where
from scherbelberg.cli.output import Json, err, out, say, speaker
from scherbelberg.cli.signals import run
from scherbelberg.cli.tables import bill_lines
from scherbelberg.errors import BadInput, ClusterNotFound
from scherbelberg.spec import check_prefix


@click.command()
@prefix_option
@click.option("--forget", is_flag=True, help="Do not mind what outlives servers, is paid for on, and is never deleted.")
@token_option
@progress_option
@json_option
@voice_options
def destroy(*, prefix: str, forget: bool, token_file: Path | None, as_json: bool) -> None:
    """Give back a cluster that was made on this computer, and prove that nothing of it is left."""
    check_prefix(prefix)
    settings = where(token_file)
    from scherbelberg.cli.actions import destroy_clusters  # noqa: PLC0415
    from scherbelberg.keeping import own_uids  # noqa: PLC0415

    document = destroy_clusters(prefix, run(own_uids(settings, prefix)), settings, err(), forgets=forget)
    _answer(document, as_json=as_json)


@click.command()
@prefix_option
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
@token_option
@progress_option
@json_option
@voice_options
def nuke(*, prefix: str, yes: bool, token_file: Path | None, as_json: bool) -> None:
    """Delete all clusters of a name, broken ones and other people's included; needs nothing on this computer."""
    check_prefix(prefix)
    settings = where(token_file)
    from scherbelberg.cli.actions import destroy_clusters  # noqa: PLC0415
    from scherbelberg.holdings import require_unprotected  # noqa: PLC0415
    from scherbelberg.keeping import overview  # noqa: PLC0415

    found = run(overview(settings, prefix=prefix, is_told=False))
    if not found:
        raise ClusterNotFound(f"There is nothing of a cluster '{prefix}' in this project.")
    for kept in found:
        require_unprotected(kept.holding.resources, kept.now_s)
    for kept in found:
        say(f"To be deleted: {kept.holding.described(kept.now_s)}")
    if not yes and any(kept.folder is None for kept in found):
        _ask(prefix)
    document = destroy_clusters(prefix, tuple(kept.holding.uid for kept in found), settings, err())
    _answer(document, as_json=as_json)


def _answer(document: Json, *, as_json: bool) -> None:
    from scherbelberg.outliving import read_outliving  # noqa: PLC0415

    if as_json:
        speaker().answer(document)
        return
    forgotten = [read_outliving(row) for row in document["forgotten"]]
    lines = [f"Forgotten, and paid for on: {one.described} of {one.server}, {one.cost}." for one in forgotten]
    for line in (*bill_lines(document), *lines):
        out().print(line, highlight=False, soft_wrap=True)


def _ask(prefix: str) -> None:
    if speaker().is_for_programs or not sys.stdin.isatty():
        raise BadInput(f"'{prefix}' was not made on this computer; a script deletes it with --yes.")
    typed = click.prompt("Not made on this computer. Type the cluster's name to delete it", err=True, default="")
    if typed != prefix:
        raise BadInput(f"'{typed}' is not '{prefix}': nothing was deleted.")
