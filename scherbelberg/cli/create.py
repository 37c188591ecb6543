# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg create``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scherbelberg.cli.common import err, json_option, out, prefix_option, say, token_option, where
from scherbelberg.cli.interrupts import raised
from scherbelberg.spec import ClusterSpec


@click.command()
@prefix_option
@click.option("-w", "--workers", type=int, default=2, show_default=True, help="Number of worker machines.")
@click.option("--worker", metavar="TYPE", help="Server type of the workers.  [default: the cheapest that fits]")
@click.option("--scheduler", metavar="TYPE", help="Server type of the scheduler.  [default: the cheapest that fits]")
@click.option("--location", help="Location, such as fsn1.  [default: the best in eu-central]")
@click.option("--image", help="Image of the nodes.  [default: the newest Ubuntu LTS]")
@token_option
@json_option
def create(*, prefix: str, workers: int, token_file: Path | None, as_json: bool, **wishes: Any) -> None:
    """Rent machines and start a Dask cluster on them.

    The cluster is proven to compute before this ends. If anything fails, or you press Ctrl-C, everything is given back.
    """
    # The user's words are checked before anything is asked or read.
    ClusterSpec(prefix=prefix, workers=workers)
    settings = where(token_file)
    spec = ClusterSpec(prefix=prefix, workers=workers, network_range=settings.network_range, **wishes)
    from scherbelberg.cli import story  # noqa: PLC0415 - heavy

    with raised(), story.told_if_it_stays(prefix, settings):
        story.left(story.created(spec, settings, err()))
        story.described(prefix, settings, out(), as_json=as_json)
    say(f"Compute with it: scherbelberg.sync.Cluster.from_existing('{prefix}').get_client()")
    say(f"Give it back: scherbelberg destroy -p {prefix}")
