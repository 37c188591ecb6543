# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg with``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scherbelberg.cli.cluster_options import wish_options, wished
from scherbelberg.cli.create import written
from scherbelberg.cli.options import client_in, progress_option, token_option, voice_options, where
from scherbelberg.cli.output import err, say
from scherbelberg.cli.signals import postponed, run_program
from scherbelberg.cli.tables import bill_lines
from scherbelberg.errors import BadInput, ScherbelbergError
from scherbelberg.settings import environment_with

if TYPE_CHECKING:
    from scherbelberg.cluster import Cluster
    from scherbelberg.settings import Settings


@click.command("with", context_settings={"allow_interspersed_args": False})
@wish_options
@token_option
@progress_option
@voice_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def with_(context: click.Context, /, *, token_file: Path | None, command: tuple[str, ...], **_wishes: Any) -> None:
    """Make a cluster, run COMMAND with it, and give the cluster back, whatever happens: with [OPTIONS] -- COMMAND.

    COMMAND finds the scheduler by Client() without arguments, and gets the signals that come; the exit code is its own,
    or that of create if there is no cluster. A COMMAND that does not end within 10 seconds of a SIGTERM is ended.
    """
    wishes = wished(context)
    name = shutil.which(command[0])
    if name is None:
        raise BadInput(f"There is no program '{command[0]}' on this computer.")
    settings = where(token_file)
    spec = wishes.spec(settings)
    client = client_in(wishes.client)
    written(wishes, spec)
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy

    # Nothing may come between the cluster and its end: no signal, and nothing that cannot be told.
    with postponed() as signals:
        cluster = actions.create_cluster(spec, settings, err(), client=client, provisions=wishes.provisions)
        code = 0
        try:
            if not signals:
                code = run_program([name, *command[1:]], environment_with(_variables(cluster)))
        finally:
            _give_back(cluster, settings)
    sys.exit(code)


def _variables(cluster: Cluster) -> dict[str, str]:
    from scherbelberg.cli.signals import run  # noqa: PLC0415 - heavy

    return run(cluster.door()).variables


def _give_back(cluster: Cluster, settings: Settings) -> None:
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy

    say("Giving everything back ...")
    try:
        try:
            actions.close_cluster(cluster)
        finally:  # an interrupt may come now, too
            document = actions.destroy_clusters(cluster.prefix, (cluster.uid,), settings, err(), is_cancelled=False)
    except ScherbelbergError:
        say(f"Not everything was given back. To try again: scherbelberg destroy -p {cluster.prefix}")
        raise
    for line in bill_lines(document):
        say(line)
