# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg firewall``."""

from __future__ import annotations

from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.output import speaker
from scherbelberg.cli.signals import run
from scherbelberg.errors import BadInput
from scherbelberg.settings import Settings, address_url_in
from scherbelberg.spec import check_cidr, check_prefix
from scherbelberg.whereabouts import HERE, resolved


@click.command()
@prefix_option
@click.option("--here", is_flag=True, help="Let SSH in from this computer's public address.")
@click.option("--cidr", "cidrs", multiple=True, metavar="CIDR", help="Let SSH in from this range of addresses.")
@click.option(
    "--direct", multiple=True, metavar="CIDR|here|none", help="Let Dask over TLS in from there, or from nowhere."
)
@token_option
@json_option
@voice_options
def firewall(
    *, prefix: str, here: bool, cidrs: tuple[str, ...], direct: tuple[str, ...], token_file: Path | None, as_json: bool
) -> None:
    """Change from where a living cluster can be reached: what is named is let in, and what was before is not.

    Without --here and --cidr, who is let in over SSH stays as it is; without --direct, so does Dask's own port.
    """
    check_prefix(prefix)
    ssh_from = (*cidrs, *([HERE] if here else []))
    _check(ssh_from, direct)
    settings = where(token_file)
    from scherbelberg.gate import let_in  # noqa: PLC0415

    ranges = None if not direct else () if direct == ("none",) else _resolved(direct, settings)
    spec = run(let_in(settings, prefix, ssh_from=_resolved(ssh_from, settings) or None, direct=ranges))
    if as_json:
        document = {"schema": 1, "prefix": prefix, "ssh_from": list(spec.ssh_from), "direct": list(spec.direct)}
        speaker().answer(document)
        return
    click.echo(f"SSH is let in from {', '.join(spec.ssh_from)}.")
    if spec.direct or direct:
        click.echo(f"Dask over TLS is let in from {', '.join(spec.direct) or 'nowhere'}.")


def _check(ssh_from: tuple[str, ...], direct: tuple[str, ...]) -> None:
    if not ssh_from and not direct:
        raise BadInput("Say who is to be let in: --here, --cidr CIDR, or --direct CIDR.")
    for text in (*ssh_from, *direct):
        if text != HERE and direct != ("none",):
            check_cidr(text)


def _resolved(ranges: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    return resolved(ranges, settings.access, address_url=address_url_in()) if ranges else ()
