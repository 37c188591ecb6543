# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands that change a living cluster: its deadline, its protection, who is let in, who has its keys."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scherbelberg.cli.options import json_option, load_settings, prefix_option, token_option, verbosity_options
from scherbelberg.cli.output import SCHEMA, get_reporter, info
from scherbelberg.cli.signals import run
from scherbelberg.cloud.public_address import HERE, resolve_ranges
from scherbelberg.errors import BadInput
from scherbelberg.settings import Settings, address_url_in, home_folder, passphrase_in
from scherbelberg.spec.model import ANYWHERE, check_cidr, check_prefix
from scherbelberg.spec.toml import read_duration

_passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File whose first line is the passphrase, or - for stdin.  [default: SCHERBELBERG_PASSPHRASE, or a prompt]",
)


@click.command()
@click.argument("ttl", required=False)
@prefix_option
@click.option(
    "--idle-timeout",
    "idle",
    metavar="TIME",
    help="Also expire after this long without work: 30m, 2h, or none. Does not move the deadline.",
)
@click.option("--allow-shorter", "shorten", is_flag=True, help="Allow moving the deadline to an earlier time.")
@token_option
@json_option
@verbosity_options
def extend(
    *, ttl: str | None, prefix: str, idle: str | None, shorten: bool, token_file: Path | None, as_json: bool
) -> None:
    """Set a cluster's deadline to TTL from now.

    TTL is 12h (the default), 90m, 2d, a number of seconds, or none.
    """
    check_prefix(prefix)
    if ttl is None and idle is None:
        ttl = "12h"
    ttl_s, idle_s = read_duration(ttl or "none"), read_duration(idle or "none")
    settings = load_settings(token_file)
    from scherbelberg.lifecycle.update import UNCHANGED  # noqa: PLC0415 - heavy
    from scherbelberg.lifecycle.update import extend as move  # noqa: PLC0415

    known = run(
        move(
            settings,
            prefix,
            ttl_s=UNCHANGED if ttl is None else ttl_s,
            idle_s=UNCHANGED if idle is None else idle_s,
            may_shorten=shorten,
        )
    )
    cluster = known.cluster
    if as_json:
        get_reporter().answer(
            {
                "schema": SCHEMA,
                "prefix": prefix,
                "uid": cluster.uid,
                "deadline_s": cluster.deadline_s,
                "left_s": None if cluster.deadline_s is None else cluster.deadline_s - int(known.now_s),
                "idle_limit_s": cluster.idle_s,
            }
        )
        return
    news = []
    if ttl is not None:
        news.append("has no deadline any more" if ttl_s is None else f"may live for {ttl} from now on")
    if idle is not None:
        forgotten = "never counts as forgotten for being idle"
        news.append(forgotten if idle_s is None else f"counts as forgotten when it was idle for {idle}")
    click.echo(f"Cluster '{prefix}' of {cluster.owner} {' and '.join(news)}.")


@click.command()
@prefix_option
@token_option
@json_option
@verbosity_options
def protect(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Protect a cluster from deletion.

    destroy, nuke and gc refuse to delete it, and Hetzner refuses to delete its servers.
    """
    _set_protection(prefix, token_file, wanted=True, as_json=as_json)


@click.command()
@prefix_option
@token_option
@json_option
@verbosity_options
def unprotect(prefix: str, token_file: Path | None, as_json: bool) -> None:
    """Allow the deletion of a protected cluster again."""
    _set_protection(prefix, token_file, wanted=False, as_json=as_json)


def _set_protection(prefix: str, token_file: Path | None, *, wanted: bool, as_json: bool) -> None:
    check_prefix(prefix)
    settings = load_settings(token_file)
    from scherbelberg.lifecycle.update import protect as guard  # noqa: PLC0415 - heavy

    cluster = run(guard(settings, prefix, wanted=wanted))
    if as_json:
        get_reporter().answer({"schema": SCHEMA, "prefix": prefix, "uid": cluster.uid, "protected": wanted})
    else:
        click.echo(f"Cluster '{prefix}' of {cluster.owner} is {'protected' if wanted else 'not protected any more'}.")


@click.command()
@prefix_option
@click.option("--ssh-from", multiple=True, metavar="CIDR|here", help="Allow SSH from this range. Repeatable.")
@click.option(
    "--expose-scheduler",
    "direct",
    multiple=True,
    metavar="CIDR|here|none",
    help="Open the scheduler's TLS port to this range, or close it. Repeatable.",
)
@token_option
@json_option
@verbosity_options
def firewall(
    *, prefix: str, ssh_from: tuple[str, ...], direct: tuple[str, ...], token_file: Path | None, as_json: bool
) -> None:
    """Replace the source ranges allowed to reach a running cluster.

    Without --ssh-from, the ranges for SSH stay as they are, and without --expose-scheduler those for the scheduler.
    """
    check_prefix(prefix)
    _check_ranges(ssh_from, direct)
    settings = load_settings(token_file)
    from scherbelberg.lifecycle.update import set_source_ranges  # noqa: PLC0415 - heavy

    ranges = None if not direct else () if direct == ("none",) else _resolve_ranges(direct, settings)
    spec = run(set_source_ranges(settings, prefix, ssh_from=_resolve_ranges(ssh_from, settings) or None, direct=ranges))
    if as_json:
        document = {"schema": SCHEMA, "prefix": prefix, "ssh_from": list(spec.ssh_from), "direct": list(spec.direct)}
        get_reporter().answer(document)
        return
    click.echo(f"SSH is let in from {', '.join(spec.ssh_from)}.")
    if spec.direct or direct:
        click.echo(f"Dask over TLS is let in from {', '.join(spec.direct) or 'nowhere'}.")


def _check_ranges(ssh_from: tuple[str, ...], direct: tuple[str, ...]) -> None:
    if not ssh_from and not direct:
        raise BadInput("Name the ranges to let in: --ssh-from CIDR|here, --expose-scheduler CIDR|here|none, or both.")
    for text in (*ssh_from, *direct):
        if text != HERE and direct != ("none",):
            check_cidr(text)


def _resolve_ranges(ranges: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    return resolve_ranges(ranges, settings.access, address_url=address_url_in()) if ranges else ()


@click.command()
@prefix_option
@_passphrase_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@token_option
@json_option
@verbosity_options
def export(*, prefix: str, passphrase_file: Path | None, file: Path, token_file: Path | None, as_json: bool) -> None:
    """Write an encrypted FILE that lets another computer use and destroy a cluster.

    The key of the certificate authority stays here, so the other computer cannot resume an interrupted create.
    """
    check_prefix(prefix)
    settings = load_settings(token_file)
    passphrase = _read_passphrase(passphrase_file, confirm=True)
    from scherbelberg.lifecycle.share import export_cluster  # noqa: PLC0415
    from scherbelberg.nodes.connections import attach  # noqa: PLC0415 - heavy

    async def work() -> str:
        connections = await attach(settings, prefix)
        try:
            await export_cluster(settings, connections, file, passphrase=passphrase)
        finally:
            await connections.close()
        return connections.manifest.identity.uid

    uid = run(work())
    if as_json:
        get_reporter().answer({"schema": SCHEMA, "prefix": prefix, "uid": uid, "file": str(file)})
    else:
        info(f"Whoever has {file} and its passphrase can use cluster '{prefix}': scherbelberg import FILE")


@click.command("import")
@_passphrase_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@verbosity_options
def import_(passphrase_file: Path | None, file: Path, as_json: bool) -> None:
    """Import a cluster from a FILE that another computer exported, to use and destroy it from here."""
    passphrase = _read_passphrase(passphrase_file, confirm=False)
    from scherbelberg.lifecycle.share import import_file  # noqa: PLC0415 - heavy

    manifest = import_file(home_folder(), file, passphrase=passphrase)
    identity = manifest.identity
    if as_json:
        document = {"schema": SCHEMA, "prefix": identity.prefix, "uid": identity.uid, "endpoint": manifest.endpoint}
        get_reporter().answer(document | {"ssh_from": list(manifest.spec.ssh_from)})
        return
    info(f"Cluster '{identity.prefix}' at {manifest.endpoint} can be used here.")
    if manifest.spec.ssh_from != ANYWHERE:
        others = " ".join(f"--ssh-from {one}" for one in manifest.spec.ssh_from)
        info(
            f"SSH was let in from {', '.join(manifest.spec.ssh_from)} alone when it was last looked at. To add this"
            f" computer: scherbelberg firewall -p {identity.prefix} {others} --ssh-from here"
        )


def _read_passphrase(file: Path | None, *, confirm: bool) -> str:
    if file == Path("-"):
        return sys.stdin.readline().rstrip("\r\n")
    if given := passphrase_in(file):
        return given
    if get_reporter().is_for_programs or not sys.stdin.isatty():
        raise BadInput("There is no passphrase. Use --passphrase-file, or set SCHERBELBERG_PASSPHRASE.")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
