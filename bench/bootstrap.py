# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the installation of an environment takes on a node, against the sum of its parts, and again when it is there.

Usage: python bench/bootstrap.py [ROUNDS]

The real script installs the environment of this interpreter's versions from a mirror on this computer that sends no
more than so many bytes a second over all connections. First the parts are done one after the other on one machine, each
alone: the download of all packages, Miniforge with its own download, the creation of the environment. Then another
machine does the whole, in which they overlap, and once more. The target: the whole takes no longer than download or
Miniforge, whichever is longer, and the creation, and 2 s; the second time takes less than one.

Channel, installer and mamba are the tests' stand-ins, the real ones have not run here. Since the installer's stand-in
has nothing to unpack, it is made larger and made to work for a while. All of it shares the cores of this computer:
of each part and of the whole, the best round counts, which other work disturbed least.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder holds a file with the name of a library, and is where Python looks first.
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

import asyncio  # noqa: E402
import hashlib  # noqa: E402
import platform  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import conda_channel  # noqa: E402
import process_node  # noqa: E402
from attrs import evolve  # noqa: E402
from miniforge_standin import installer  # noqa: E402
from mirror import Mirror  # noqa: E402

from scherbelberg.environments.choose import choose  # noqa: E402
from scherbelberg.environments.interpreter import own_client  # noqa: E402
from scherbelberg.environments.lock import EnvLock, write_lock  # noqa: E402
from scherbelberg.environments.shipped import shipped_pins  # noqa: E402
from scherbelberg.settings import Sources  # noqa: E402
from scherbelberg.spec.model import ClusterSpec  # noqa: E402
from scherbelberg.spec.toml import write_toml  # noqa: E402

ROUNDS = 2
RATE_BYTES_S = 20e6
#: Until a single part has ended.
WITHIN_S = 300.0
#: Sent with the installer, which in truth is about that large, and what it works through.
PADDING_BYTES = 20_000_000
WORK_BYTES = 1_000_000_000
SLACK_S = 2.0
SECOND_S = 1.0
WHOLE, AGAIN = "whole", "again"
#: Parts of the installation that are left out where another one is measured.
NO_PACKAGES = "fetch_packages() { :; }; "
NO_MINIFORGE = "provide_miniforge() { :; }; HEAD_START_S=0; "
NO_ENVIRONMENT = "make_environment() { :; }; "


def slow_installer() -> bytes:
    """The stand-in for Miniforge's installer, as long and as busy as if it had something to unpack."""
    text = installer().decode()
    work = f"head -c {WORK_BYTES} /dev/zero | sha256sum >/dev/null\n"
    return (text + work + "exit 0\n" + "#" * PADDING_BYTES + "\n").encode()


def lock(mirror: Mirror, folder: Path, subdir: str) -> EnvLock:
    """Solve for this interpreter's versions."""
    sources = Sources(cache=folder / "cache", mirror=mirror.url, within_s=60)
    chosen = asyncio.run(choose(ClusterSpec(), own_client(), (subdir,), sources=sources, image_fits=False))
    return chosen.locks[subdir]


def node(folder: Path, mirror: Mirror, wanted: EnvLock, sha256: str) -> process_node.Node:
    """A machine without the environment, to which all has been pushed."""
    made = process_node.make_node(folder, role="scheduler", scheduler_port=process_node.free_port())
    made.push(ENV_DIGEST=wanted.digest, CHANNEL_MIRROR=mirror.url, MINIFORGE_MIRROR=f"{mirror.url}/miniforge")
    (made.payload / "env.lock").write_text(write_lock(wanted), encoding="utf-8")
    pins = shipped_pins()
    pins = evolve(pins, miniforge_sha256=dict.fromkeys(pins.miniforge_sha256, sha256))
    (made.payload / "pins.toml").write_text(write_toml(pins.tables), encoding="utf-8")
    return made


def timed(machine: process_node.Node, snippet: str, *, since: str = "", until: str = "") -> float:
    """Run a part of the script; returns the seconds between two of its lines, or that all of it took."""
    told: dict[str, float] = {}

    def hear(line: str) -> bool:
        told.setdefault(line, time.monotonic())
        return False

    begin_s = time.monotonic()
    ended = asyncio.run(machine.watch(snippet, heard=hear))
    end_s = time.monotonic()
    assert ended.code == 0, ended
    return told.get(until, end_s) - told.get(since, begin_s)


def parts(machine: process_node.Node) -> dict[str, float]:
    """Do one thing after the other, each alone."""
    begin, end = ("@phase environment start", "@phase environment done")
    download = NO_MINIFORGE + NO_ENVIRONMENT + "install_environment"
    miniforge = NO_PACKAGES + NO_ENVIRONMENT + "install_environment"
    return {
        "download": timed(machine, download, until="@phase download done"),
        "Miniforge": timed(machine, miniforge, until="@phase miniforge done"),
        "environment": timed(machine, "phase_environment", since=begin, until=end),
    }


def round_of(folder: Path, mirror: Mirror, wanted: EnvLock, sha256: str) -> dict[str, float]:
    """Do the parts, and the whole twice."""
    alone = parts(node(folder / "one", mirror, wanted, sha256))
    machine = node(folder / "other", mirror, wanted, sha256)
    return alone | {name: timed(machine, "phase_environment") for name in (WHOLE, AGAIN)}


def main() -> int:
    """Measure, and say whether it is as fast as it should be."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    process_node.WITHIN_S = WITHIN_S
    with tempfile.TemporaryDirectory(prefix="scherbelberg-bench-") as name:
        folder = Path(name)
        channel = conda_channel.make_channel(folder / "channel")
        tag = shipped_pins().miniforge_tag
        path = channel.root / "miniforge" / tag / f"Miniforge3-{tag}-Linux-{platform.machine()}.sh"
        path.parent.mkdir(parents=True)
        path.write_bytes(slow_installer())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with Mirror(channel.root) as mirror:
            wanted = lock(mirror, folder, channel.subdir)
            mirror.rate_bytes_s = RATE_BYTES_S
            took = [round_of(folder / str(number), mirror, wanted, digest) for number in range(rounds)]
    size_mb, rate_mb_s = (wanted.size or 0) / 1e6, RATE_BYTES_S / 1e6
    print(f"{size_mb:.0f} MB of packages and {PADDING_BYTES / 1e6:.0f} MB of Miniforge at {rate_mb_s:.0f} MB/s")
    return report({name: min(one[name] for one in took) for name in took[0]})


def report(best: dict[str, float]) -> int:
    """Print ratios; returns the exit code."""
    whole_s, again_s = best.pop(WHOLE), best.pop(AGAIN)
    sum_s = sum(best.values())
    target_s = max(best["download"], best["Miniforge"]) + best["environment"] + SLACK_S
    print("each part alone: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items()))
    print(f"the whole {whole_s:.2f} s: {whole_s / sum_s:.2f} of the sum of its parts, {sum_s:.2f} s")
    print(f"{whole_s / target_s:.2f} of the target, {target_s:.2f} s")
    print(f"the second time {again_s:.2f} s: {again_s / SECOND_S:.2f} of the target, {SECOND_S:.2f} s")
    return 0 if whole_s <= target_s and again_s <= SECOND_S else 1


if __name__ == "__main__":
    sys.exit(main())
