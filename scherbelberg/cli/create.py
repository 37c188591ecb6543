# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg create``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from scherbelberg.cli.cluster_options import Wishes, wish_options, wished
from scherbelberg.cli.options import client_in, json_option, progress_option, token_option, voice_options, where
from scherbelberg.cli.output import err, out, say, speaker
from scherbelberg.cli.signals import signals_as_exceptions
from scherbelberg.errors import BadInput
from scherbelberg.specfile import write_spec

if TYPE_CHECKING:
    from scherbelberg.environment import Client
    from scherbelberg.settings import Settings
    from scherbelberg.spec import ClusterSpec


@click.command()
@wish_options
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be made and what it costs; make nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, also where a person could answer.")
@click.option("--keep", is_flag=True, help="If it fails, keep what was made, to look at it; you pay for it.")
@click.option("--protect", "protected", is_flag=True, help="Guard it against destroy, nuke and gc when it is ready.")
@token_option
@json_option
@progress_option
@voice_options
@click.pass_context
def create(
    context: click.Context,
    /,
    *,
    only_plan: bool,
    yes: bool,
    keep: bool,
    protected: bool,
    token_file: Path | None,
    as_json: bool,
    **_wishes: Any,
) -> None:
    """Rent machines and start a Dask cluster on them.

    The cluster is proven to compute before this ends. If anything fails, or you press Ctrl-C, everything is given back.
    """
    # The user's words are checked before anything is asked or read.
    wishes = wished(context)
    settings = where(token_file)
    spec = wishes.spec(settings)
    client = client_in(wishes.client)
    written(wishes, spec)
    if only_plan:
        _show_plan(spec, settings, client, as_json=as_json)
        return
    from scherbelberg.cli import actions  # noqa: PLC0415 - heavy
    from scherbelberg.cli.instead import made_or_asked  # noqa: PLC0415
    from scherbelberg.cli.kept import told_what_is_kept  # noqa: PLC0415

    prefix = spec.prefix
    with signals_as_exceptions(), actions.warn_if_it_stays(prefix, settings):
        with told_what_is_kept(prefix, settings, is_kept=keep):
            make = partial(actions.create_cluster, settings=settings, console=err(), client=client, keep=keep)
            cluster = made_or_asked(
                spec,
                lambda wanted, is_new: make(wanted, provisions=wishes.provisions, asks=is_new and not yes),
                asks=not yes and not keep,  # what was kept of one try would be in the way of the next
            )
        actions.close_cluster(cluster)
        if protected:
            actions.protect_new(prefix, settings)
        actions.print_cluster_of(prefix, settings, out(), as_json=as_json)
    say(f"Compute with it: scherbelberg.sync.Cluster.from_existing('{prefix}').get_client()")
    first = f"scherbelberg unprotect -p {prefix}, then " if protected else ""
    say(f"Give it back: {first}scherbelberg destroy -p {prefix}")


def written(wishes: Wishes, spec: ClusterSpec) -> None:
    """Write the wishes down where that was asked for.

    Args:
        wishes: Say where.
        spec: All of them.

    Raises:
        BadInput: The file cannot be written.
    """
    if wishes.spec_out is None:
        return
    try:
        wishes.spec_out.write_text(write_spec(spec), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{wishes.spec_out} cannot be written: {error}.") from None


def _show_plan(spec: ClusterSpec, settings: Settings, client: Client, *, as_json: bool) -> None:
    from scherbelberg.cli.documents import plan_document  # noqa: PLC0415
    from scherbelberg.cli.signals import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_plan  # noqa: PLC0415
    from scherbelberg.keeping import planned  # noqa: PLC0415

    document = plan_document(*run(planned(settings, evolve(spec, network_range=settings.network_range), client)))
    if as_json:
        speaker().answer(document)
    else:
        print_plan(document, out())
