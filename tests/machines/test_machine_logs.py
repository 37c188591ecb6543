# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The logs of booted machines: cloud-init's, the bootstrap's and Dask's, live, and of a create that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING

import pytest
from surroundings import environment_for, folders, held

from scherbelberg.errors import BootstrapFailed
from scherbelberg.nodes.logs import SOURCES
from scherbelberg.sync import Cluster

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
WITHIN_S = 60
#: Of silence, after which the logs are written once more.
ROUND_S = 3
_NEW = "something new"
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
            _wait(rented, "[ $(pgrep -c 'tail|journalctl') = 3 ]")
            _write_until_shown(rented, process.stdout)
            process.send_signal(signal.SIGINT)
            assert process.wait(WITHIN_S) == 0
            _wait(rented, "! pgrep 'tail|journalctl'")
        finally:
            process.kill()


def _wait(rented: Rented, condition: str) -> None:
    """Wait for a condition on the machine whose logs are followed."""
    rented.run("worker001", f"until {condition}; do sleep 0.1; done")


def _write_until_shown(rented: Rented, output: IO[str]) -> None:
    """Have each log written until a new line of each is shown: what follows a log may run, but not read its end yet."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in output:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    news = [
        ("cloud-init | ", _NEW),
        ("bootstrap  | ", _NEW),
        ("dask       | ", "Started scherbelberg-dask@worker.service"),
    ]
    deadline = time.monotonic() + WITHIN_S
    while news and time.monotonic() < deadline:
        rented.run("worker001", f"echo {_NEW} | tee -a {_OUTPUT} >>{_RECORD}")
        rented.run("worker001", "systemctl restart scherbelberg-dask@worker.service")
        with suppress(Empty):
            while news:
                line = lines.get(timeout=ROUND_S)
                news = [(log, words) for log, words in news if not (line.startswith(log) and words in line)]
    assert news == []


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
