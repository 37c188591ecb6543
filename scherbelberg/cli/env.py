# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg env show|diff|lock|check``: environments of nodes, without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scherbelberg.cli.options import Command, client_in, environment_options, json_option, sources, verbosity_options
from scherbelberg.cli.output import SCHEMA, get_reporter, info, stdout_console
from scherbelberg.cli.signals import run
from scherbelberg.errors import BadInput, EnvironmentUnavailable, pluralize
from scherbelberg.spec.model import ClusterSpec

if TYPE_CHECKING:
    from scherbelberg.environments.fit import Environment
    from scherbelberg.environments.lock import EnvLock

_PLATFORMS = ("linux-64", "linux-aarch64")
_FILE = click.Path(path_type=Path, dir_okay=False)


def _platform_option(words: str) -> Callable[[Command], Command]:
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        type=click.Choice(_PLATFORMS),
        default=_PLATFORMS[:1],
        show_default=True,
        help=words,
    )


@click.group()
def env() -> None:
    """Show, compare, lock and check environments of nodes, without renting anything."""


@env.command()
@click.argument("name", metavar="[NAME|FILE]", required=False)
@_platform_option("Platform to read from a FILE. Repeatable.")
@json_option
@verbosity_options
def show(name: str | None, platforms: tuple[str, ...], as_json: bool) -> None:
    """Show the shipped environments, one of them (NAME), or a lock FILE: versions, packages, size, digest."""
    from scherbelberg.cli.documents import lock_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_locks  # noqa: PLC0415

    documents = [lock_document(lock) for lock in _named(name, platforms)]
    if as_json:
        get_reporter().answer({"schema": SCHEMA, "locks": documents})
    else:
        print_locks(documents, stdout_console())


def _named(name: str | None, platforms: tuple[str, ...]) -> list[EnvLock]:
    from scherbelberg.environments.choose import read_environment  # noqa: PLC0415
    from scherbelberg.environments.fit import PROFILES  # noqa: PLC0415 - heavy
    from scherbelberg.environments.shipped import shipped_locks  # noqa: PLC0415

    if name is None or name in PROFILES:
        return [lock for lock in shipped_locks().values() if name in {None, lock.profile}]
    return [read_environment(Path(name), platform) for platform in platforms]


@env.command()
@environment_options
@_platform_option("Platform of the nodes. Repeatable.")
@json_option
@verbosity_options
def diff(*, client: Path | None, platforms: tuple[str, ...], as_json: bool, **wishes: Any) -> None:
    """Compare the client with the environment that create would install on nodes."""
    from scherbelberg.cli.documents import environment_document  # noqa: PLC0415 - heavy
    from scherbelberg.cli.tables import print_environment, print_versions  # noqa: PLC0415

    document = environment_document(_chosen(wishes, client, platforms))
    if as_json:
        get_reporter().answer({"schema": SCHEMA, **document})
        return
    print_environment(document, stdout_console())
    print_versions({"client": document["client"]["versions"], "nodes": document["versions"]}, stdout_console())


@env.command()
@environment_options
@_platform_option("Platform of the nodes.")
@click.option(
    "-o",
    "--output",
    type=_FILE,
    help="File to write; a JSON file with its metadata is written next to it.  [default: stdout]",
)
@verbosity_options
def lock(*, client: Path | None, platforms: tuple[str, ...], output: Path | None, **wishes: Any) -> None:
    """Write the environment that create would install as an explicit lock file with hashes.

    Use the file with create --env FILE, or with conda and mamba.
    """
    if len(platforms) > 1:
        raise BadInput("A lock is for one platform. Use one --platform.")
    chosen = _chosen(wishes, client, platforms)
    if not chosen.locks:
        raise BadInput("There is nothing to write.")
    _write(chosen.locks[platforms[0]], output)


def _write(lock: EnvLock, output: Path | None) -> None:
    from scherbelberg.environments.lock import write_lock, write_records  # noqa: PLC0415 - needed by few

    if output is None:
        click.echo(write_lock(lock), nl=False)
        return
    try:
        output.write_text(write_lock(lock), encoding="utf-8", newline="\n")
        output.with_suffix(".json").write_text(write_records(lock), encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error}.") from None
    info(f"Wrote {output} and {output.with_suffix('.json').name}: use it with 'scherbelberg create --env {output}'.")


@env.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_platform_option("Platform to check in FILES with several platforms. Repeatable.")
@json_option
@verbosity_options
def check(*, files: tuple[Path, ...], platforms: tuple[str, ...], as_json: bool) -> None:
    """Check lock FILES, or the shipped locks with their pins.

    The exit code is 15 if something is wrong.
    """
    from scherbelberg.environments.checking import LockReport, check_lock, check_shipped  # noqa: PLC0415 - heavy
    from scherbelberg.environments.foreign_locks import read_any_lock  # noqa: PLC0415

    if files:
        found = [check_lock(read_any_lock(path, platform=one)) for path in files for one in platforms]
    else:
        found = [check_shipped()]
    verdict = LockReport(
        wrong=tuple(line for one in found for line in one.wrong),
        noted=tuple(line for one in found for line in one.noted),
    )
    if as_json:
        get_reporter().answer({"schema": SCHEMA, "wrong": list(verdict.wrong), "noted": list(verdict.noted)})
    else:
        for line in (*verdict.noted, *verdict.wrong):
            stdout_console().print(line, highlight=False, markup=False)
    if verdict.wrong:
        raise EnvironmentUnavailable(f"{verdict.wrong[0]} ({pluralize(len(verdict.wrong), 'finding')} in all).")
    info("Everything is in order.")


def _chosen(wishes: dict[str, Any], client: Path | None, platforms: tuple[str, ...]) -> Environment:
    from scherbelberg.environments.choose import choose  # noqa: PLC0415 - heavy

    spec = ClusterSpec(**wishes)
    return run(choose(spec, client_in(client), platforms, sources=sources(), image=None))
