# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg sandbox start|faults|clock|stop|status``, and ``scherbelberg demo``, which needs nothing else."""

from __future__ import annotations

import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import click
from rich.console import Console

from scherbelberg.cli.options import json_option, progress_option, verbosity_options
from scherbelberg.cli.output import SCHEMA, get_reporter, info, stderr_console, stdout_console
from scherbelberg.cli.signals import run, signals_as_exceptions
from scherbelberg.errors import BadInput, SandboxFailed, ScherbelbergError
from scherbelberg.settings import home_folder
from scherbelberg.spec.model import ClusterSpec

if TYPE_CHECKING:
    from scherbelberg.cluster import Cluster
    from scherbelberg.libstats import Statistics
    from scherbelberg.sandbox.words import SandboxSettings
    from scherbelberg.settings import Settings

_VARIABLES = ("HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "SCHERBELBERG_SSH_PORT", "SCHERBELBERG_NETWORK")
_DEMO_PREFIX = "demo"


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
@verbosity_options
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
    from scherbelberg.sandbox.documents import read_faults  # noqa: PLC0415
    from scherbelberg.sandbox.words import NO_FAULTS, Options  # noqa: PLC0415

    wrong = read_faults(faults_file.read()) if faults_file else NO_FAULTS
    if hosts == "machine":
        info("Machines boot a system that is built once, which takes a minute or two ...")
    options = Options(
        hosts=hosts,
        time_scale=time_scale,
        realistic=realistic,
        faults=wrong,
        node_python=str(node_python.absolute()) if node_python else None,
        base=base,
    )
    settings = begin(_sandbox_folder(), options)
    info(f"SANDBOX runs at {settings.endpoint}; 'scherbelberg sandbox stop' ends it.")
    for name, value in _variables_of(settings).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@sandbox.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@verbosity_options
def faults(file: TextIO) -> None:
    """Let things go wrong from now on, as FILE says; '-' reads standard input, and {} ends all faults."""
    from scherbelberg.sandbox.daemon import set_faults  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.documents import read_faults  # noqa: PLC0415

    wrong = read_faults(file.read())
    set_faults(_running(), wrong)
    info("The faults are set; requests count from 1.")


@sandbox.command()
@click.argument("ahead")
@verbosity_options
def clock(ahead: str) -> None:
    """Let its clock be AHEAD of this computer's, such as 13h, so that deadlines pass; 0 puts it right again.

    A create needs 0 first: the clocks of hosts stay, and to them new certificates would not be valid yet.
    """
    from scherbelberg.sandbox.daemon import set_clock  # noqa: PLC0415 - heavy
    from scherbelberg.spec.toml import read_duration  # noqa: PLC0415

    seconds = read_duration(ahead)
    if seconds is None:
        raise BadInput("No clock can be ahead by none: write 13h, 90m, 2d, or a number of seconds.")
    set_clock(_running(), seconds)
    info(f"The sandbox's clock is {ahead} ahead of this computer's.")


@sandbox.command()
@verbosity_options
def stop() -> None:
    """Stop it with all its servers, and print the line that leads a shell away from it."""
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.daemon import stop as end  # noqa: PLC0415
    from scherbelberg.state.store import Store  # noqa: PLC0415

    settings = look(_sandbox_folder())
    if not end(_sandbox_folder()):
        info("There was no sandbox.")
    if settings is not None:
        for folder in Store(home_folder()).folders(endpoint=settings.endpoint):
            folder.drop()  # its clusters are gone with it
    click.echo(f"unset {' '.join(_VARIABLES)}")


@sandbox.command()
@json_option
@verbosity_options
def status(as_json: bool) -> None:
    """Tell whether it runs; exit code 1 if it does not."""
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415 - heavy

    settings = look(_sandbox_folder())
    if as_json:
        get_reporter().answer(
            {"schema": SCHEMA, "running": settings is not None, "endpoint": settings and settings.endpoint}
        )
    else:
        click.echo(f"The sandbox runs at {settings.endpoint}." if settings else "The sandbox does not run.")
    if settings is None:
        raise click.exceptions.Exit(1)


def _running() -> SandboxSettings:
    from scherbelberg.sandbox.daemon import status as look  # noqa: PLC0415 - heavy

    settings = look(_sandbox_folder())
    if settings is None:
        raise SandboxFailed("The sandbox does not run; 'scherbelberg sandbox start' starts it.")
    return settings


def _sandbox_folder() -> Path:
    return home_folder() / "sandbox"


def _variables_of(settings: SandboxSettings) -> dict[str, str]:
    values = (settings.token, settings.endpoint, str(settings.ssh_port), settings.network_range)
    return dict(zip(_VARIABLES, values, strict=True))


@click.command()
@click.option("-w", "--workers", type=int, default=2, show_default=True, help="Number of worker machines.")
@click.option("--time-scale", type=float, default=1.0, show_default=True, help="How slow the emulated cloud is.")
@progress_option
@verbosity_options
def demo(workers: int, time_scale: float) -> None:
    """Rent, bootstrap, compute and give back, on an emulated cloud on this computer, for nothing.

    The servers are SSH servers on loopback addresses, and Dask on them is real.
    """
    ClusterSpec(prefix=_DEMO_PREFIX, workers=workers)
    from scherbelberg.sandbox import daemon  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.words import Options  # noqa: PLC0415

    # A termination becomes an exception here, so that everything below is unwound whenever it comes.
    with signals_as_exceptions(), tempfile.TemporaryDirectory(prefix="scherbelberg-demo-") as folder:
        info("Starting an emulated Hetzner Cloud on this computer ...")
        with daemon.running(Path(folder) / "sandbox", Options(time_scale=time_scale)) as emulated:
            _rent_and_compute(emulated, Path(folder), workers)
    stdout_console().print("The sandbox is stopped: no process, no file and no bill is left.")


def _rent_and_compute(emulated: SandboxSettings, home: Path, workers: int) -> None:
    from scherbelberg.cli import actions  # noqa: PLC0415
    from scherbelberg.cli.tables import bill_lines  # noqa: PLC0415
    from scherbelberg.cloud.access import Access  # noqa: PLC0415 - heavy
    from scherbelberg.settings import Settings  # noqa: PLC0415

    access = Access(endpoint=emulated.endpoint, token=emulated.token, token_source="the sandbox")  # noqa: S106
    settings = Settings(
        access=access, ssh_port=emulated.ssh_port, network_range=emulated.network_range, home=home, owner="demo"
    )
    info(f"{access.place} at {access.endpoint}")
    spec = ClusterSpec(prefix=_DEMO_PREFIX, workers=workers, network_range=emulated.network_range)
    cluster = actions.create_cluster(spec, settings, stderr_console())
    try:
        actions.print_cluster_of(_DEMO_PREFIX, settings, stdout_console(), as_json=False)
        _compute(cluster, stdout_console())
    finally:
        actions.close_cluster(cluster)
        info("Giving everything back ...")
        document = actions.destroy_clusters(_DEMO_PREFIX, (cluster.uid,), settings, stderr_console())
    for line in bill_lines(document):
        stdout_console().print(line, highlight=False, soft_wrap=True)
    _show_nothing_left(settings)


def _compute(cluster: Cluster, console: Console) -> None:
    """Count on the cluster, count here, compare."""
    from scherbelberg import libstats  # noqa: PLC0415 - heavy

    names = libstats.library_files()
    console.print(f"\nCounting in {len(names)} files of Python's standard library on the cluster ...", highlight=False)
    client = run(cluster.get_client())
    try:
        begin = time.monotonic()
        there = _count_on_cluster(names, partitions=4 * (len(cluster.nodes) - 1))
        middle = time.monotonic()
    finally:
        client.close()
    here = libstats.total(libstats.measure(name) for name in names)
    _show_counts(there, console)
    console.print(
        f"On the cluster {middle - begin:.1f} s, the same here {time.monotonic() - middle:.1f} s.", highlight=False
    )
    if here != there:
        raise ScherbelbergError(f"The cluster's result is wrong: it counted {there}, this computer {here}.")
    console.print("The cluster's result and this computer's own are equal.")


def _count_on_cluster(names: list[str], *, partitions: int) -> Statistics:
    import cloudpickle  # noqa: PLC0415 - heavy
    from dask import bag  # noqa: PLC0415

    from scherbelberg import libstats  # noqa: PLC0415

    # By value: nodes have Dask, and need nothing of ours.
    cloudpickle.register_pickle_by_value(libstats)
    try:
        counts = bag.from_sequence(names, npartitions=partitions).map(libstats.measure)
        return libstats.Statistics(*counts.fold(libstats.add, initial=libstats.NOTHING).compute())
    finally:
        cloudpickle.unregister_pickle_by_value(libstats)


def _show_counts(counted: Statistics, console: Console) -> None:
    words = ", ".join(f"{value:,} {name}" for name, value in counted._asdict().items())
    console.print(f"Counted: {words}", highlight=False)


def _show_nothing_left(settings: Settings) -> None:
    from scherbelberg.inventory.listing import overview  # noqa: PLC0415 - heavy

    left = run(overview(settings))
    if left:
        raise ScherbelbergError(f"The cloud still lists {len(left)} clusters.")
    stdout_console().print("The cloud lists no server, network, firewall or key any more.")
