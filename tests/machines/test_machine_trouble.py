# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Machines with first-boot noise and wrong clocks, whose bootstrap is killed, and killed again, and run once more."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import psutil
import pytest
from conda_channel import Channel
from doctored import doctored
from sandbox_helpers import Waiter

from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.sync import Cluster

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_WITHIN_S = 60
_PREFIX = "noisy"
_NODES = ("scheduler", "worker000", "worker001")
#: In the folder where Dask works: until it is there, work goes on.
_GO = "/var/lib/scherbelberg/go"
_SECRET = "Oberammergau-0815"
#: What holds a secret, by the end of its path.
_PRIVATE = re.compile(r"(new\.key|new\.pem|node\.pem|work\.env|work\.yaml|_key)(\.new)?\Z")


def _scripts() -> list[psutil.Process]:
    """The scripts that run on machines, as this computer sees them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-2:] == ["scherbelberg-payload/bootstrap.sh", "up"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _create(rented: Rented, image: str, *, kill_at: str | None) -> None:
    """Create by the command line; kill it, and the script on every node, when a worker comes to a phase."""
    wishes = ("-p", _PREFIX, "-w", "2", "--image", image, "--env", str(rented.lock), "--secret", "GEHEIM")
    line, environ = rented.command("create", *wishes, "--progress", "json")
    said: list[str] = []
    with subprocess.Popen(
        line, env=environ | {"GEHEIM": _SECRET}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr is not None
        for text in process.stderr:
            said.append(text)
            event = json.loads(text)
            if (event.get("phase"), event.get("state")) == (kill_at, "start") and event["node"] != "scheduler":
                for script in _scripts():
                    with suppress(psutil.NoSuchProcess):  # its parts end with it
                        script.send_signal(SIGKILL)
                process.kill()
        code = process.wait(timeout=_WITHIN_S)
    assert code == (0 if kill_at is None else -SIGKILL), said[-3:]


@pytest.fixture(scope="module")
def rented(
    machines: SandboxThread, machines_folder: Path, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rented]:
    """A cluster whose machines do not make it easy, and whose making was killed twice."""
    from machine_fixtures import prepared

    noise = (Path(__file__).parent / "first_boot_noise.py").read_text(encoding="utf-8")
    image = doctored(machines, machines_folder, "noise", noise, once=False)
    with prepared(machines, conda_channel, tmp_path_factory.mktemp("rented") / "noisy") as rented:
        for moment in ("environment", "service", None):
            _create(rented, image, kill_at=moment)
        rented.clusters.append(Cluster.from_existing(_PREFIX, settings=rented.settings))
        yield rented
        rented.cluster.destroy()


def test_killed_halfway(rented: Rented) -> None:
    """A bootstrap that was killed in two phases, with its client, is healed by the same create: all nodes compute."""
    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        assert client.gather(client.map(lambda number: number + 1, range(20))) == list(range(1, 21))
        assert set(client.run(lambda: __import__("os").environ["GEHEIM"]).values()) == {_SECRET}
    for node in _NODES:
        assert rented.run(node, "ls /opt/scherbelberg/etc/tls | tr '\\n' ' '") == "ca.pem node.pem"
        assert rented.run(node, "pgrep -f '[b]ootstrap.sh up' || echo none") == "none"


def test_noise(rented: Rented) -> None:
    """Other programs' locks on packages do not matter, nor does a disk that is kept busy."""
    for node in _NODES:
        said = rented.run(node, "apt-get -o DPkg::Lock::Timeout=0 install -y nothing 2>&1 || true")
        assert "Could not get lock" in said


def test_clocks(rented: Rented) -> None:
    """Clocks that are 90 s late or early, three minutes from each other, keep nobody from TLS."""
    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        now_s = time.time()
        scheduler = client.run_on_scheduler(time.time) - now_s
        workers = [theirs - now_s for theirs in client.run(time.time).values()]
    assert [round(offset / 90) for offset in (scheduler, *workers)] == [1, -1, -1]


def test_modes(rented: Rented) -> None:
    """Whatever holds a secret was never seen with a mode or owner that lets anybody else read it."""
    for node in _NODES:
        group = int(rented.run(node, "id -g scherbelberg"))
        user = int(rented.run(node, "id -u scherbelberg"))
        seen = json.loads(rented.run(node, "cat /root/seen.json"))
        private = [row for row in seen if _PRIVATE.search(row[0])]
        names = {Path(row[0]).name for row in private}
        assert {"new.key", "new.pem", "node.pem", "work.env", "scherbelberg_host_ed25519_key"} <= names
        for path, mode, owner, owning_group in private:
            readers = {owner} - {0, user}
            assert (path, mode & 0o037, readers) == (path, 0, set())
            assert mode & 0o040 == 0 or owning_group == group, path
        assert {mode for path, mode, *_ in seen if path.endswith("payload")} == {0o700}


def test_run_again(rented: Rented) -> None:
    """The script, run on nodes that work, changes nothing there and disturbs no work."""
    unit = "systemctl show 'scherbelberg-dask@*' -p MainPID -p ExecMainStartTimestampMonotonic"

    def slow(number: int) -> tuple[int, int]:
        for _ in range(600):
            if Path(_GO).exists():
                return os.getpid(), number
            select.select([], [], [], 0.1)  # time.sleep fails under libfaketime
        raise AssertionError("nobody said go")

    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        before = {node: rented.run(node, unit) for node in _NODES}
        futures = client.map(slow, range(60))
        Waiter().wait(lambda: any(client.processing().values()), what="the beginning of work")
        for node in _NODES:
            said = rented.run(node, "echo pinned | bash scherbelberg-payload/bootstrap.sh up").splitlines()
            ends = [line.split()[2] for line in said if line.startswith("@phase") and line.split()[2] != "start"]
            assert (node, ends) == (node, ["skipped"] * 4)
        assert not any(future.done() for future in futures)
        for node in _NODES[1:]:
            rented.run(node, f"touch {_GO}")
        results = client.gather(futures)
    assert ([number for _, number in results], len({pid for pid, _ in results})) == (list(range(60)), 2)
    assert {node: rented.run(node, unit) for node in _NODES} == before
