# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a cluster of N workers costs in API requests, and in time above that of its slowest node.

Usage: python bench/requests.py [N ...]

Creates, proves and destroys clusters in a sandbox of scripted hosts whose servers take as long as the real ones, in
another process. Requests are counted by the sandbox, every page of a list as one.

A node's own time is given twice: as the client sees it, from the answer to its POST until its service runs; and as the
sandbox knows it, from its order until its SSH answers, plus what its script takes. The first hides what the client
loses while it waits for a node, the second does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This file has the name of a library that others import, and its folder is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncio  # noqa: E402
import re  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

from attrs import frozen  # noqa: E402

from bench.common import around  # noqa: E402
from scherbelberg import Cluster, Event  # noqa: E402
from scherbelberg.events import Phase  # noqa: E402
from scherbelberg.sandbox import daemon  # noqa: E402
from scherbelberg.sandbox.daemon import LOG  # noqa: E402
from scherbelberg.sandbox.hosts.scripted.host import BAKED  # noqa: E402
from scherbelberg.sandbox.options import Options  # noqa: E402

SIZES = (1, 10, 50, 99)
CREATE_ABOVE, DESTROY_ABOVE = 25, 15
SHARE_ABOVE, SECONDS_ABOVE = 0.05, 1.0
#: What the script takes on a scripted host.
SCRIPT_S = BAKED.hostkey_s + BAKED.environment_s + BAKED.tls_s + BAKED.service_s
_REQUEST = re.compile(r" \d{3} (?:GET|POST|PUT|DELETE) /v1/")
_ANSWERS = re.compile(r" answers ([\d.]+) s after its order")


@frozen(kw_only=True)
class Run:
    """What was measured for one size."""

    workers: int
    create_requests: int
    destroy_requests: int
    wall_s: float
    seen_s: float
    known_s: float
    destroy_s: float


class Clock:
    """Notes when each node's POST was answered and when its service ran."""

    def __init__(self) -> None:
        self._rented: dict[str, float] = {}
        self.own: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.node is None:
            return
        if (event.phase, event.state) == (Phase.REACH, "start"):
            self._rented[event.node] = time.monotonic()
        elif (event.phase, event.state) == (Phase.SERVICE, "done"):
            self.own[event.node] = time.monotonic() - self._rented[event.node]


class Log:
    """The sandbox's own words."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def requests(self) -> int:
        """The number of requests so far."""
        return len(_REQUEST.findall(self._path.read_text(encoding="utf-8")))

    def slowest_boot_s(self) -> float:
        """The longest time from an order to an answer of SSH."""
        return max(map(float, _ANSWERS.findall(self._path.read_text(encoding="utf-8"))))


async def measure(workers: int, folder: Path) -> Run:
    """Create, prove and destroy one cluster in a sandbox of its own."""
    clock = Clock()
    with daemon.running(folder / "sandbox", Options(hosts="scripted", realistic=True)) as sandbox:
        log = Log(folder / "sandbox" / LOG)
        begin_s = time.monotonic()
        cluster = await Cluster.from_new(
            prefix="bench", workers=workers, listen=clock, settings=around(sandbox, folder / "home")
        )
        wall_s = time.monotonic() - begin_s
        created = log.requests()
        begin_s = time.monotonic()
        await cluster.destroy()
        return Run(
            workers=workers,
            create_requests=created,
            destroy_requests=log.requests() - created,
            wall_s=wall_s,
            seen_s=max(clock.own.values()),
            known_s=log.slowest_boot_s() + SCRIPT_S,
            destroy_s=time.monotonic() - begin_s,
        )


def show(run: Run) -> bool:
    """Print a run; returns whether its targets are met."""
    limit_s = run.seen_s * (1 + SHARE_ABOVE) + SECONDS_ABOVE
    good = (
        run.create_requests <= run.workers + CREATE_ABOVE
        and run.destroy_requests <= run.workers + DESTROY_ABOVE
        and run.wall_s <= limit_s
    )
    create, destroy = run.create_requests - run.workers, run.destroy_requests - run.workers
    print(
        f"{run.workers:>3} workers: create N + {create} requests (target N + {CREATE_ABOVE}),"
        f" destroy N + {destroy} (N + {DESTROY_ABOVE}) in {run.destroy_s:.1f} s;"
        f" wall {run.wall_s:.1f} s = {run.wall_s / run.seen_s:.3f} x slowest node as seen {run.seen_s:.1f} s"
        f" (target at most {limit_s:.1f} s) = {run.wall_s / run.known_s:.3f} x as the sandbox knows it"
        f" {run.known_s:.1f} s: {'met' if good else 'MISSED'}",
        flush=True,
    )
    return good


def main() -> int:
    """Measure all sizes."""
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    met = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="scherbelberg-bench-") as folder:
            met.append(show(asyncio.run(measure(size, Path(folder)))))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
