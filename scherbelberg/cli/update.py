# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg export`` and ``scherbelberg import``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scherbelberg.cli.options import json_option, prefix_option, token_option, voice_options, where
from scherbelberg.cli.output import SCHEMA, say, speaker
from scherbelberg.cli.signals import run
from scherbelberg.errors import BadInput
from scherbelberg.settings import home_folder, passphrase_in
from scherbelberg.spec import ANYWHERE, check_prefix

_passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A file whose first line is the passphrase, or -; without it SCHERBELBERG_PASSPHRASE, or a question.",
)


@click.command()
@prefix_option
@_passphrase_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@token_option
@json_option
@voice_options
def export(*, prefix: str, passphrase_file: Path | None, file: Path, token_file: Path | None, as_json: bool) -> None:
    """Write an encrypted FILE with which another computer can compute on a cluster and destroy it.

    The key of the cluster's authority stays here, so nothing that needs a new certificate can be done there.
    """
    check_prefix(prefix)
    settings = where(token_file)
    passphrase = _passphrase(passphrase_file, confirm=True)
    from scherbelberg.keeping import attached  # noqa: PLC0415
    from scherbelberg.sharing import export_cluster  # noqa: PLC0415

    async def work() -> str:
        links = await attached(settings, prefix)
        try:
            await export_cluster(settings, links, file, passphrase=passphrase)
        finally:
            await links.close()
        return links.manifest.identity.uid

    uid = run(work())
    if as_json:
        speaker().answer({"schema": SCHEMA, "prefix": prefix, "uid": uid, "file": str(file)})
    else:
        say(f"Whoever has {file} and its passphrase can use cluster '{prefix}': scherbelberg import FILE")


@click.command("import")
@_passphrase_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@voice_options
def import_(passphrase_file: Path | None, file: Path, as_json: bool) -> None:
    """Take in a FILE that another computer has exported, to compute on its cluster and destroy it from here."""
    passphrase = _passphrase(passphrase_file, confirm=False)
    from scherbelberg.sharing import take_in  # noqa: PLC0415

    manifest = take_in(home_folder(), file, passphrase=passphrase)
    identity = manifest.identity
    if as_json:
        document = {"schema": SCHEMA, "prefix": identity.prefix, "uid": identity.uid, "endpoint": manifest.endpoint}
        speaker().answer(document | {"ssh_from": list(manifest.spec.ssh_from)})
        return
    say(f"Cluster '{identity.prefix}' at {manifest.endpoint} can be used here.")
    if manifest.spec.ssh_from != ANYWHERE:
        others = " ".join(f"--cidr {one}" for one in manifest.spec.ssh_from)
        say(
            f"SSH was let in from {', '.join(manifest.spec.ssh_from)} alone when it was last looked at. To add this"
            f" computer: scherbelberg firewall -p {identity.prefix} {others} --here"
        )


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file == Path("-"):
        return sys.stdin.readline().rstrip("\r\n")
    if given := passphrase_in(file):
        return given
    if speaker().is_for_programs or not sys.stdin.isatty():
        raise BadInput("There is no passphrase: name a file with --passphrase-file, or set SCHERBELBERG_PASSPHRASE.")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
