# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The logs of booted machines: cloud-init's, the bootstrap's and Dask's, live, and of a create that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from surroundings import environment_for, folders, held

from scherbelberg.errors import BootstrapFailed
from scherbelberg.logbook import SOURCES
from scherbelberg.sync import Cluster

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
WITHIN_S = 60
_RECORD = "/var/log/scherbelberg/bootstrap.log"
_OUTPUT = "/var/log/cloud-init-output.log"


def test_all_sources(rented: Rented) -> None:
    """Each log is what the machine's own parts have written: cloud-init, the script, and systemd with the unit."""
    logs = {log.source: "\n".join(log.lines) for log in rented.cluster.node("worker000").logs(*SOURCES, lines=1000)}
    assert "Cloud-init v. " in logs["cloud-init"]
    assert "finished at" in logs["cloud-init"]
    assert "phase environment done" in logs["bootstrap"]
    assert logs["bootstrap"].endswith(" up ends with exit code 0 ---")
    assert "Started scherbelberg-dask@worker.service" in logs["dask"]
    assert "distributed.worker" in logs["dask"]
    shown = rented.shell("logs", "-s", "all", "-n", "1").splitlines()
    assert [line.partition(" | ")[0].split() for line in shown] == [
        [node, source] for node in ("scheduler", "worker000", "worker001") for source in SOURCES
    ]


def test_record(rented: Rented) -> None:
    """What the bootstrap said is root's alone, and Dask's user cannot read it."""
    assert rented.run("worker000", f"stat -c '%a %U' {_RECORD}") == "600 root"
    refused = f"setpriv --reuid scherbelberg --clear-groups cat {_RECORD} 2>&1 || true"
    assert rented.run("worker000", refused).endswith("Permission denied")


def test_live(rented: Rented) -> None:
    """Lines of all logs come as they are written, until Ctrl-C; nothing is left on the machine then."""
    line = [sys.executable, "-m", "scherbelberg", "logs", "-f", "-n", "0", "-s", "all", "worker001"]
    environ = environment_for(rented.settings) | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            followers = "pgrep -c 'tail|journalctl'"
            rented.run("worker001", f"until [ $({followers}) = 3 ]; do sleep 0.1; done")
            rented.run("worker001", f"echo first boot >>{_OUTPUT}; echo another run >>{_RECORD}")
            rented.run("worker001", "systemctl restart scherbelberg-dask@worker.service")
            wanted = {"cloud-init | first boot", "bootstrap  | another run"}
            for text in process.stdout:
                wanted -= {text.rstrip("\n")}
                if not wanted and "Started scherbelberg-dask@worker.service" in text:
                    break
            assert wanted == set()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WITHIN_S)
            assert process.returncode == 0
            rented.run("worker001", f"until [ $({followers}) = 0 ]; do sleep 0.1; done")
        finally:
            process.kill()


def test_create_that_fails(rented: Rented) -> None:
    """Where Dask does not start, all logs of the machine are kept before it is gone, with their last lines shown."""
    before = held(rented.settings)
    with pytest.raises(BootstrapFailed, match=r"failed in phase service: .* is kept in ") as caught:
        Cluster.from_new(
            prefix="broken",
            workers=1,
            env=str(rented.settings.home.parent / "mein env.lock"),
            dask_config={"distributed": {"scheduler": {"worker-ttl": "never ever"}}},
            settings=rented.settings,
        )
    error = caught.value
    assert error.node == "scheduler"
    assert error.log_tail[-1].startswith("scheduler bootstrap: bootstrap.sh: Dask's scheduler does not answer at ")
    assert {line.split(":")[0] for line in error.log_tail} == {f"scheduler {source}" for source in SOURCES}
    assert error.log_file is not None
    text = Path(error.log_file).read_text(encoding="utf-8")
    parts = text.split("\n===== scheduler, ")[1:]
    assert [part.partition(" =====\n")[0] for part in parts] == list(SOURCES)
    for part, words in zip(
        parts, ("Cloud-init v. ", "phase service start", "Invalid time unit: neverever"), strict=True
    ):
        assert words in part
    assert "PRIVATE KEY" not in text
    assert held(rented.settings) == before
    assert len(folders(rented.settings)) == 1
