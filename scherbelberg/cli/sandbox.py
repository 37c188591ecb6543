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
    from scherbelberg.sandbox.server import SandboxSettings
    from scherbelberg.settings import Settings

_VARIABLES = ("HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "SCHERBELBERG_SSH_PORT", "SCHERBELBERG_NETWORK")
_DEMO_PREFIX = "demo"


@click.group()
def sandbox() -> None:
    """Run an emulated Hetzner Cloud with real SSH hosts on this computer, free of charge."""


@sandbox.command()
@click.option(
    "--time-scale",
    type=float,
    metavar="FACTOR",
    default=1.0,
    show_default=True,
    help="Factor for all delays: 0.1 is ten times faster.",
)
@click.option("--realistic", is_flag=True, help="Let servers take 20 to 40 seconds to boot, like real ones.")
@click.option(
    "--hosts",
    type=click.Choice(["process", "scripted", "machine"]),
    default="process",
    show_default=True,
    help="Kind of servers: real shells and Dask, scripted answers only, or booted machines (root on Linux).",
)
@click.option(
    "--node-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python of the servers' image, such as VENV/bin/python with Dask.  [default: this program's]",
)
@click.option(
    "--base",
    type=click.Choice(["bookworm", "trixie", "sid"]),
    help="Release that machines boot, on Debian; sid is closest to Ubuntu 26.04.  [default: this computer's]",
)
@click.option("--faults", "faults_file", type=click.File(encoding="utf-8"), help="JSON file with faults to inject.")
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
    """Start the sandbox in the background. Use it in a shell with: eval "$(scherbelberg sandbox start)"."""
    from scherbelberg.sandbox.daemon import start as begin  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.faults import NO_FAULTS  # noqa: PLC0415
    from scherbelberg.sandbox.options import Options, read_faults  # noqa: PLC0415

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
    """Inject the faults in FILE from now on; - reads stdin, and {} ends all faults."""
    from scherbelberg.sandbox.daemon import set_faults  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.options import read_faults  # noqa: PLC0415

    wrong = read_faults(file.read())
    set_faults(_running(), wrong)
    info("The faults are set; requests count from 1.")


@sandbox.command()
@click.argument("ahead")
@verbosity_options
def clock(ahead: str) -> None:
    """Set the sandbox's clock AHEAD of this computer's, such as 13h; 0 resets it.

    Use it to let deadlines pass. Reset it before the next create: hosts keep this computer's clock and would reject
    new certificates.
    """
    from scherbelberg.sandbox.daemon import set_clock  # noqa: PLC0415 - heavy
    from scherbelberg.spec.toml import read_duration  # noqa: PLC0415

    seconds = read_duration(ahead)
    if seconds is None:
        raise BadInput("Invalid duration 'none'. Use 13h, 90m, 2d, or a number of seconds.")
    set_clock(_running(), seconds)
    info(f"The sandbox's clock is {ahead} ahead of this computer's.")


@sandbox.command()
@verbosity_options
def stop() -> None:
    """Stop the sandbox and its servers. Print the line that unsets its variables in a shell."""
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
    """Show whether the sandbox runs. The exit code is 1 if it does not."""
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
        raise SandboxFailed("The sandbox does not run. Start it with 'scherbelberg sandbox start'.")
    return settings


def _sandbox_folder() -> Path:
    return home_folder() / "sandbox"


def _variables_of(settings: SandboxSettings) -> dict[str, str]:
    values = (settings.token, settings.endpoint, str(settings.ssh_port), settings.network_range)
    return dict(zip(_VARIABLES, values, strict=True))


@click.command()
@click.option("-w", "--workers", type=int, metavar="N", default=2, show_default=True, help="Number of worker nodes.")
@click.option(
    "--time-scale",
    type=float,
    metavar="FACTOR",
    default=1.0,
    show_default=True,
    help="Factor for all delays: 0.1 is ten times faster.",
)
@progress_option
@verbosity_options
def demo(workers: int, time_scale: float) -> None:
    """Create a cluster on an emulated cloud, compute with it, and delete it, free of charge.

    The servers are SSH servers on loopback addresses of this computer that run real Dask.
    """
    ClusterSpec(prefix=_DEMO_PREFIX, workers=workers)
    from scherbelberg.sandbox import daemon  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.options import Options  # noqa: PLC0415

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
    from scherbelberg.inventory.listing import fetch_clusters  # noqa: PLC0415 - heavy

    left = run(fetch_clusters(settings))
    if left:
        raise ScherbelbergError(f"The cloud still lists {len(left)} clusters.")
    stdout_console().print("The cloud lists no server, network, firewall or key any more.")
