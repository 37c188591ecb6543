# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the tunnel costs: one cluster, reached through it and directly, in turns.

Usage: python bench/tunnel.py [ROUNDS]

The sandbox's nodes are on this computer, so their private addresses can be reached past the tunnel, with the cluster's
own certificates: both ways speak the same TLS to the same scheduler, and differ by SSH and one more hop. Sandbox,
cluster and client share the cores of this computer, so seconds say little; what counts is the ratio of each way's best
round, which other work disturbed least. On a real network the direct way is not this short, and the ratio is smaller.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder holds a file with the name of a library, and is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
sys.path.insert(0, str(Path(__file__).parents[1]))

import os  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402
from contextlib import contextmanager  # noqa: E402

from distributed import Client, Security, wait  # noqa: E402

from bench.common import around  # noqa: E402
from scherbelberg.sandbox import daemon  # noqa: E402
from scherbelberg.sandbox.options import Options  # noqa: E402
from scherbelberg.settings import Settings  # noqa: E402
from scherbelberg.state.manifest import AUTHORITY, CLIENT, CLIENT_KEY  # noqa: E402
from scherbelberg.state.store import Store  # noqa: E402
from scherbelberg.sync import Cluster  # noqa: E402

ROUNDS = 3
WORKERS = 2
TIME_SCALE = 0.01
CHUNKS, CHUNK_BYTES = 16, 16 * 2**20
TASKS = 10_000
WITHIN_S = 300.0
TUNNEL, DIRECT = "tunnel", "direct"
Took = dict[str, float]


def do_nothing(number: int) -> None:
    """The task."""


def move_data(client: Client, count: int) -> Took:
    """Scatter and gather chunks that cannot be compressed."""
    chunks = [os.urandom(CHUNK_BYTES) for _ in range(count)]
    begin_s = time.perf_counter()
    futures = client.scatter(chunks, hash=False, direct=False, timeout=WITHIN_S)
    wait(futures, timeout=WITHIN_S)
    middle_s = time.perf_counter()
    back = client.gather(futures, direct=False)
    end_s = time.perf_counter()
    assert back == chunks
    size = f"{count * CHUNK_BYTES // 2**20} MiB"
    return {f"scatter {size}": middle_s - begin_s, f"gather {size}": end_s - middle_s}


def run_tasks(client: Client, count: int) -> Took:
    """Run tasks that do nothing."""
    begin_s = time.perf_counter()
    futures = client.map(do_nothing, range(count), pure=False)
    wait(futures, timeout=WITHIN_S)
    return {f"{count:,} no-op tasks": time.perf_counter() - begin_s}


@contextmanager
def both_ways(cluster: Cluster, settings: Settings) -> Iterator[Mapping[str, Client]]:
    """Two clients of one cluster."""
    (folder,) = Store(settings.home).folders(prefix=cluster.prefix)
    security = Security(
        require_encryption=True,
        tls_ca_file=str(folder.path / AUTHORITY),
        tls_client_cert=str(folder.path / CLIENT),
        tls_client_key=str(folder.path / CLIENT_KEY),
    )
    address = f"tls://{cluster.nodes[0].private_ip}:8786"
    with (
        Client(address, security=security, direct_to_workers=False, set_as_default=False) as direct,
        cluster.get_client() as tunnelled,
    ):
        print(f"{tunnelled.scheduler.address} leads through the tunnel to {direct.scheduler.address}", flush=True)
        yield {TUNNEL: tunnelled, DIRECT: direct}


def measure(clients: Mapping[str, Client], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Let the ways take turns, after each has done a little that does not count."""
    for client in clients.values():
        move_data(client, 1)
        run_tasks(client, 100)
    took: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for way, client in clients.items():
            row = move_data(client, CHUNKS) | run_tasks(client, TASKS)
            print(f"round {number} {way}: " + ", ".join(f"{what} {row[what]:.2f} s" for what in row), flush=True)
            for what, seconds in row.items():
                took.setdefault(what, {}).setdefault(way, []).append(seconds)
    return took


def main() -> int:
    """Measure a cluster."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    with (
        tempfile.TemporaryDirectory(prefix="scherbelberg-bench-") as name,
        daemon.running(Path(name) / "sandbox", Options(time_scale=TIME_SCALE)) as sandbox,
    ):
        settings = around(sandbox, Path(name) / "home")
        cluster = Cluster.from_new(prefix="bench", workers=WORKERS, settings=settings)
        try:
            with both_ways(cluster, settings) as clients:
                took = measure(clients, rounds)
        finally:
            cluster.destroy()
    for what, ways in took.items():
        tunnel_s, direct_s = (min(ways[way]) for way in (TUNNEL, DIRECT))
        print(f"{what:<20} tunnel {tunnel_s:6.2f} s, direct {direct_s:6.2f} s: {tunnel_s / direct_s:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
