# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The options that say which environment nodes get, for whose versions, and where from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import evolve

from scherbelberg.settings import Settings, Sources, active_client, cache_folder, mirror_in
from scherbelberg.spec.model import Timeouts
from scherbelberg.spec.urls import check_mirror

if TYPE_CHECKING:
    from scherbelberg.environments.versions import Client

Command = TypeVar("Command", bound=Callable[..., Any])
#: Fields of the wishes that such options set.
ENVIRONMENT_FIELDS = ("env", "packages", "channels", "allow_mismatch")


def _read_mirror(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[str(option.name)] = check_mirror(value)


ENVIRONMENT_OPTIONS = (
    click.option(
        "--env",
        metavar="NAME|FILE",
        help="Environment of the nodes: main, science, or a file (explicit list, pixi.lock, conda-lock.yml,"
        " environment.yml).  [default: what fits the client's versions]",
    ),
    click.option(
        "--with",
        "packages",
        multiple=True,
        metavar="PACKAGE",
        help="Add a conda package to the environment, such as 'xarray>=2025', or one of a Python index: pypi:NAME.",
    ),
    click.option(
        "--channel",
        "channels",
        multiple=True,
        metavar="NAME|URL",
        help="Where conda packages are looked for; repeat it, the first counts most.  [default: conda-forge]",
    ),
    click.option("--allow-mismatch", is_flag=True, help="Let the environment differ from the client's versions."),
    click.option(
        "--client",
        metavar="PYTHON",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="The client: the Python with which the cluster is used.  [default: the active environment's, or this"
        " program's own]",
    ),
    *(
        click.option(f"--{name}-mirror", metavar="URL", callback=_read_mirror, expose_value=False, help=text)
        for name, text in (
            ("channel", "What this computer and the nodes ask instead of https://conda.anaconda.org."),
            ("miniforge", "What nodes ask instead of Miniforge's releases on GitHub."),
        )
    ),
)


def environment_options(command: Command) -> Command:
    """Give a command all options that say which environment is wanted."""
    for option in reversed(ENVIRONMENT_OPTIONS):
        command = option(command)
    return command


def with_mirrors(settings: Settings) -> Settings:
    """The settings with the mirrors that the command line names."""
    return evolve(settings, **_given())


def sources() -> Sources:
    """Where environments come from, for commands that need nothing of a cloud."""
    mirror = _given().get("channel_mirror") or mirror_in("CHANNEL")
    return Sources(cache=cache_folder(), mirror=mirror, within_s=Timeouts().solve)


def _given() -> dict[str, Any]:
    return {name: url for name, url in click.get_current_context().meta.items() if name.endswith("_mirror")}


def client_in(path: Path | None) -> Client:
    """Read the client that the user named, or whose environment is active; else it is this program.

    Args:
        path: Its program, or None.

    Raises:
        BadInput: It is none that can be asked, or has no Dask.
    """
    from scherbelberg.environments.interpreter import own_client, read_client  # noqa: PLC0415 - needed by few

    if path is not None:
        return read_client(path, "--client")
    active = active_client()
    return own_client() if active is None else read_client(*active)
