# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a create takes on real hosts, phase by phase.

Usage: python bench/create.py [WORKERS]

The sandbox runs in another process, its servers are SSH servers with real shells, on which the real bootstrap script
starts real Dask; only the cloud's own delays are made as short as can be. Nodes go through the phases side by side:
for each phase the fastest and the slowest node are given, and the cluster's own phases once.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder holds a file with the name of a library, and is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
sys.path.insert(0, str(Path(__file__).parents[1]))

import tempfile  # noqa: E402
import time  # noqa: E402

from bench.common import around  # noqa: E402
from scherbelberg import Event  # noqa: E402
from scherbelberg.sandbox import daemon  # noqa: E402
from scherbelberg.sandbox.options import Options  # noqa: E402
from scherbelberg.sync import Cluster  # noqa: E402

WORKERS = 2
TIME_SCALE = 0.01
CLUSTER = "cluster"


class Watch:
    """Notes how long each phase takes on each node."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], float] = {}
        self.took: dict[str, dict[str, float]] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        key = (str(event.phase), event.node or CLUSTER)
        if event.state == "start":
            self._begun[key] = time.monotonic()
        elif event.state == "done" and key in self._begun:
            self.took.setdefault(key[0], {})[key[1]] = time.monotonic() - self._begun[key]


def show(watch: Watch) -> None:
    """Print the phases in the order in which they ended."""
    for phase, nodes in watch.took.items():
        if len(nodes) == 1:
            ((node, seconds),) = nodes.items()
            print(f"{phase:<12} {seconds:6.2f} s ({node})")
            continue
        first, last = min(nodes, key=nodes.__getitem__), max(nodes, key=nodes.__getitem__)
        print(f"{phase:<12} {nodes[first]:6.2f} s ({first}) to {nodes[last]:.2f} s ({last}) on {len(nodes)} nodes")


def main() -> int:
    """Create and destroy one cluster."""
    workers = int(sys.argv[1]) if sys.argv[1:] else WORKERS
    watch = Watch()
    with (
        tempfile.TemporaryDirectory(prefix="scherbelberg-bench-") as name,
        daemon.running(Path(name) / "sandbox", Options(time_scale=TIME_SCALE)) as sandbox,
    ):
        begin_s = time.monotonic()
        cluster = Cluster.from_new(
            prefix="bench", workers=workers, listen=watch, settings=around(sandbox, Path(name) / "home")
        )
        create_s = time.monotonic() - begin_s
        begin_s = time.monotonic()
        cluster.destroy()
        destroy_s = time.monotonic() - begin_s
    show(watch)
    print(f"{workers} workers on process hosts: create {create_s:.1f} s, destroy {destroy_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
