# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg sandbox start|faults|clock|stop|status``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import click

from scherbelberg.cli.common import json_option, say, voice_options
from scherbelberg.errors import BadInput, SandboxFailed
from scherbelberg.settings import home_folder

if TYPE_CHECKING:
    from scherbelberg.sandbox.server import SandboxSettings


@click.group()
def sandbox() -> None:
    """An emulated Hetzner Cloud on this computer, with real SSH hosts, to try and test things for nothing."""


@sandbox.command()
@click.option(
    "--time-scale", type=float, default=1.0, show_default=True, help="How slow it is; 0.1 is ten times faster."
)
@click.option("--realistic", is_flag=True, help="Servers take 20 to 40 seconds to boot, as the real ones do.")
@click.option(
    "--hosts",
    type=click.Choice(["process", "scripted", "machine"]),
    default="process",
    show_default=True,
    help="Servers with real shells and Dask, a hundred that only play their part, or whole machines (root on Linux).",
)
@click.option(
    "--node-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Python of the servers' image, such as VENV/bin/python with Dask in it; else the one that runs this.",
)
@click.option(
    "--base",
    type=click.Choice(["bookworm", "trixie", "sid"]),
    help="The release of Debian that machines boot; sid is most like Ubuntu 26.04. Default: that of this computer.",
)
@click.option("--faults", "faults_file", type=click.File(encoding="utf-8"), help="A JSON file: what goes wrong.")
@voice_options
def start(
    *,
    time_scale: float,
    realistic: bool,
    hosts: Literal["process", "scripted", "machine"],
    node_python: Path | None,
    base: Literal["bookworm", "trixie", "sid"] | None,
    faults_file: TextIO | None,
) -> None:
    """Start it in the background and print the lines that lead a shell to it: eval "$(scherbelberg sandbox start)"."""
    from scherbelberg.sandbox.daemon import start as begin  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.faults import NO_FAULTS  # noqa: PLC0415
    from scherbelberg.sandbox.options import Options, read_faults  # noqa: PLC0415

    wrong = read_faults(faults_file.read()) if faults_file else NO_FAULTS
    if hosts == "machine":
        say("Machines boot a system that is built once, which takes a minute or two ...")
    options = Options(
        hosts=hosts,
        time_scale=time_scale,
        realistic=realistic,
        faults=wrong,
        node_python=str(node_python.absolute()) if node_python else None,
        base=base,
    )
    settings = begin(_folder(), options)
    say(f"SANDBOX runs at {settings.endpoint}; 'scherbelberg sandbox stop' ends it.")
    for name, value in _variables(settings).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@sandbox.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@voice_options
def faults(file: TextIO) -> None:
    """Let things go wrong from now on, as FILE says; '-' reads standard input, and {} ends all faults."""
    from scherbelberg.sandbox.daemon import set_faults  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.options import read_faults  # noqa: PLC0415

    wrong = read_faults(file.read())
    set_faults(_running(), wrong)
    say("The faults are set; requests count from 1.")


@sandbox.command()
@click.argument("ahead")
@voice_options
def clock(ahead: str) -> None:
    """Let its clock be AHEAD of this computer's, such as 13h, so that deadlines pass; 0 puts it right again.

    A create needs 0 first: the clocks of hosts stay, and to them new certificates would not be valid yet.
    """
    from scherbelberg.sandbox.daemon import set_clock  # noqa: PLC0415 - heavy
    from scherbelberg.specfile import read_duration  # noqa: PLC0415

    seconds = read_duration(ahead)
    if seconds is None:
        raise BadInput("No clock can be ahead by none: write 13h, 90m, 2d, or a number of seconds.")
    set_clock(_running(), seconds)
    say(f"The sandbox's clock is {ahead} ahead of this computer's.")


@sandbox.command()
@voice_options
def stop() -> None:
    """Stop it with all its servers, and print the line that leads a shell away from it."""
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.daemon import stop as end  # noqa: PLC0415
    from scherbelberg.store import Store  # noqa: PLC0415

    settings = look(_folder())
    if not end(_folder()):
        say("There was no sandbox.")
    if settings is not None:
        for folder in Store(home_folder()).folders(endpoint=settings.endpoint):
            folder.drop()  # its clusters are gone with it
    click.echo(f"unset {' '.join(_NAMES)}")


@sandbox.command()
@json_option
@voice_options
def status(as_json: bool) -> None:
    """Tell whether it runs; exit code 1 if it does not."""
    from scherbelberg.cli.story import print_json  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415

    settings = look(_folder())
    if as_json:
        print_json({"schema": 1, "running": settings is not None, "endpoint": settings and settings.endpoint})
    else:
        click.echo(f"The sandbox runs at {settings.endpoint}." if settings else "The sandbox does not run.")
    if settings is None:
        raise click.exceptions.Exit(1)


def _running() -> SandboxSettings:
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415 - heavy

    settings = look(_folder())
    if settings is None:
        raise SandboxFailed("The sandbox does not run; 'scherbelberg sandbox start' starts it.")
    return settings


def _folder() -> Path:
    return home_folder() / "sandbox"


_NAMES = ("HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "SCHERBELBERG_SSH_PORT", "SCHERBELBERG_NETWORK")


def _variables(settings: SandboxSettings) -> dict[str, str]:
    values = (settings.token, settings.endpoint, str(settings.ssh_port), settings.network_range)
    return dict(zip(_NAMES, values, strict=True))
