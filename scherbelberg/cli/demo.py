# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg demo``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from scherbelberg.cli.bill import bill_lines
from scherbelberg.cli.common import err, out, progress_option, say, voice_options
from scherbelberg.cli.interrupts import raised
from scherbelberg.errors import ScherbelbergError
from scherbelberg.spec import ClusterSpec

if TYPE_CHECKING:
    from scherbelberg.cluster import Cluster
    from scherbelberg.libstats import Statistics
    from scherbelberg.sandbox.server import SandboxSettings
    from scherbelberg.settings import Settings

_PREFIX = "demo"


@click.command()
@click.option("-w", "--workers", type=int, default=2, show_default=True, help="Number of worker machines.")
@click.option("--time-scale", type=float, default=1.0, show_default=True, help="How slow the emulated cloud is.")
@progress_option
@voice_options
def demo(workers: int, time_scale: float) -> None:
    """Rent, bootstrap, compute and give back, on an emulated cloud on this computer, for nothing.

    The servers are SSH servers on loopback addresses, and Dask on them is real.
    """
    ClusterSpec(prefix=_PREFIX, workers=workers)
    from scherbelberg.sandbox import daemon  # noqa: PLC0415 - heavy
    from scherbelberg.sandbox.options import Options  # noqa: PLC0415

    # A termination becomes an exception here, so that everything below is unwound whenever it comes.
    with raised(), tempfile.TemporaryDirectory(prefix="scherbelberg-demo-") as folder:
        say("Starting an emulated Hetzner Cloud on this computer ...")
        with daemon.running(Path(folder) / "sandbox", Options(time_scale=time_scale)) as sandbox:
            _rent_and_compute(sandbox, Path(folder), workers)
    out().print("The sandbox is stopped: no process, no file and no bill is left.")


def _rent_and_compute(sandbox: SandboxSettings, home: Path, workers: int) -> None:
    from scherbelberg.access import Access  # noqa: PLC0415
    from scherbelberg.cli import story  # noqa: PLC0415
    from scherbelberg.settings import Settings  # noqa: PLC0415

    access = Access(endpoint=sandbox.endpoint, token=sandbox.token, token_source="the sandbox")  # noqa: S106
    settings = Settings(
        access=access, ssh_port=sandbox.ssh_port, network_range=sandbox.network_range, home=home, owner="demo"
    )
    say(f"{access.place} at {access.endpoint}")
    spec = ClusterSpec(prefix=_PREFIX, workers=workers, network_range=sandbox.network_range)
    cluster = story.created(spec, settings, err())
    try:
        story.described(_PREFIX, settings, out(), as_json=False)
        _compute(cluster, out())
    finally:
        story.left(cluster)
        say("Giving everything back ...")
        document = story.returned(_PREFIX, (cluster.uid,), settings, err())
    for line in bill_lines(document):
        out().print(line, highlight=False, soft_wrap=True)
    _show_nothing_left(settings)


def _compute(cluster: Cluster, console: Console) -> None:
    """Count on the cluster, count here, compare."""
    from scherbelberg import libstats  # noqa: PLC0415
    from scherbelberg.cli.interrupts import run  # noqa: PLC0415

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
    import cloudpickle  # noqa: PLC0415
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
    from scherbelberg.cli.interrupts import run  # noqa: PLC0415
    from scherbelberg.keeping import overview  # noqa: PLC0415

    left = run(overview(settings))
    if left:
        raise ScherbelbergError(f"The cloud still lists {len(left)} clusters.")
    out().print("The cloud lists no server, network, firewall or key any more.")
