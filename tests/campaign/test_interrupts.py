# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals to the real program in a process of its own: it undoes what it began, and its exit code says why it ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bare_clusters import make, now_s
from catalogues import credentials, manifest
from sandbox_helpers import Api
from standstill import STANDSTILL
from surroundings import KINDS, environment_for, folders, held

from scherbelberg import sync
from scherbelberg.concurrency.waiting import Deadline
from scherbelberg.errors import ClusterBroken, ClusterExists
from scherbelberg.inventory.history import History
from scherbelberg.sandbox.faults import NO_FAULTS, Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60
#: So that the second signal comes while everything is given back, and not after.
_SLOW = Faults(slow_s=0.3)
#: So that a create is killed before its end, however late.
_NEVER_READY = Faults(requests=(RequestFault(method="PUT", path="/networks/*", how="drop_before", times=None),))
_HOUR = 3600
CREATE = ("create", "-p", "signal", "--workers", "1")


@contextmanager
def program(settings: Settings, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which is gone at the end whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scherbelberg", *words],
        env=environment_for(settings),
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(WITHIN_S)
        if process.stderr:
            process.stderr.close()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the program's complaints up to a line with these words."""
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"ended without '{words}': {''.join(lines)}")


def rest(process: subprocess.Popen[str]) -> str:
    """Wait for the program's end and read what it still had to say."""
    return process.communicate(timeout=WITHIN_S)[1]


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("network start", signal.SIGINT, 130),
        ("reach start", signal.SIGTERM, 143),
        ("environment start", signal.SIGINT, 130),
        ("proof start", signal.SIGTERM, 143),
    ],
)
def test_first_signal(
    sandbox: SandboxThread, settings: Settings, moment: str, number: signal.Signals, code: int
) -> None:
    """The first signal gives everything back, whenever it comes."""
    sandbox.set_faults(STANDSTILL[moment])
    with program(settings, *CREATE) as process:
        read_until(process, moment)
        process.send_signal(number)
        said = rest(process)
        assert "giving everything back" in said
        assert process.returncode == code, said
    assert held(settings) == []
    assert folders(settings) == []


def test_terminate_after_interrupt(sandbox: SandboxThread, settings: Settings) -> None:
    """CI systems send SIGINT and then SIGTERM: the second does not stop the clean-up."""
    sandbox.set_faults(STANDSTILL["tls start"])
    with program(settings, *CREATE) as process:
        read_until(process, "tls start")
        sandbox.set_faults(_SLOW)
        process.send_signal(signal.SIGINT)
        read_until(process, "giving everything back")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)  # nobody sits at a terminal here, so this does not abandon it either
        assert "nothing is left" in rest(process)
        assert process.returncode == 130
    assert held(settings) == []


def test_second_interrupt_at_a_terminal(sandbox: SandboxThread, settings: Settings) -> None:
    """A person at a terminal who presses Ctrl-C twice may leave at once, and is told how to finish the work."""
    sandbox.set_faults(STANDSTILL["environment start"])
    master, slave = pty.openpty()
    try:
        with program(settings, *CREATE, stdin=slave) as process:
            read_until(process, "environment start")
            sandbox.set_faults(_SLOW)
            process.send_signal(signal.SIGINT)
            read_until(process, "giving everything back")
            process.send_signal(signal.SIGINT)
            assert "scherbelberg nuke -p signal" in rest(process)
            assert process.returncode == 130
    finally:
        os.close(master)
        os.close(slave)
    sandbox.set_faults(NO_FAULTS)
    nuked = subprocess.run(
        [sys.executable, "-m", "scherbelberg", "nuke", "-p", "signal", "--yes"],
        env=environment_for(settings),
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert nuked.returncode in {0, 10}  # 10: the deletions had done it already
    assert held(settings) == []


@pytest.mark.parametrize("moment", ["network done", "service done"])
def test_killed_create_is_resumed(sandbox: SandboxThread, settings: Settings, moment: str) -> None:
    """What was begun by a process that was killed is continued by create on this computer, with the same machines."""
    sandbox.set_faults(_NEVER_READY)
    with program(settings, *CREATE) as process:
        read_until(process, moment)
    sandbox.set_faults(NO_FAULTS)
    (name,) = folders(settings)
    if moment != "network done":
        with pytest.raises(ClusterBroken, match="repeat its create with the same options"):
            sync.Cluster.from_existing("signal", settings=settings)
    with pytest.raises(ClusterExists, match="had other options"):
        sync.Cluster.from_new(prefix="signal", workers=2, settings=settings)
    assert folders(settings) == [name]
    cluster = sync.Cluster.from_new(prefix="signal", workers=1, settings=settings)
    assert name == f"signal-{cluster.uid}"
    assert sum(method == "POST" and path.endswith("/servers") for method, path in sandbox.sandbox.requests) == 2
    with cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    cluster.destroy()
    assert held(settings) == []
    assert folders(settings) == []


@pytest.mark.parametrize("moment", ["network done", "service done"])
def test_resumed_create_has_its_time_to_live(sandbox: SandboxThread, settings: Settings, moment: str) -> None:
    """What is resumed after its deadline has a new one, as far away as if it began now, on all that is of it."""
    sandbox.set_faults(_NEVER_READY)
    sandbox.set_clock(-10 * _HOUR)  # certificates of later than now would not be taken
    words = (*CREATE, "--ttl", "1h")
    with program(settings, *words) as process:
        read_until(process, moment)
    sandbox.set_faults(NO_FAULTS)
    sandbox.set_clock(0)
    (folder,) = Store(settings.home).folders()
    old_s = folder.read().identity.deadline_s or 0
    with program(settings, *words) as process:
        said = rest(process)
    assert process.returncode == 0, said
    assert "gross within 11 h" in said
    cloud = Api(sandbox.settings)
    deadlines = {row["labels"]["deadline"] for kind in KINDS for row in cloud("GET", f"/{kind}").body[kind]}
    assert deadlines == {str(folder.read().identity.deadline_s)}
    assert old_s + 10 * _HOUR <= int(*deadlines) <= now_s(cloud) + _HOUR
    cloud.close()


@pytest.mark.parametrize("stuck", ["networks", "servers"])
def test_killed_destroy_is_billed(sandbox: SandboxThread, settings: Settings, stuck: str) -> None:
    """What a destroy deleted that was killed then is billed by the next one, until the first, and nothing twice."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "signal", ttl_s=None)
    Store(settings.home).claim(manifest("signal", who.uid, endpoint=settings.access.endpoint), credentials())
    last = cloud("GET", f"/{stuck}").body[stuck][-1]["id"]
    sandbox.set_faults(
        Faults(requests=(RequestFault(method="DELETE", path=f"/{stuck}/{last}", times=None, how="drop_before"),))
    )
    left = 1 if stuck == "servers" else 0
    with program(settings, "destroy", "-p", "signal") as process:
        deadline = Deadline(WITHIN_S)
        while sum(name.startswith("servers/") for name in held(settings)) > left:
            assert deadline.left_s
            assert process.poll() is None
    assert History(settings.home).read() == ((), ())
    sandbox.set_faults(NO_FAULTS)
    sandbox.set_clock(10 * _HOUR)
    with program(settings, "destroy", "-p", "signal") as process:
        said = rest(process)
    assert (process.returncode, held(settings), folders(settings)) == (0, [], []), said
    entries, _ = History(settings.home).read()
    assert sorted(machine.name for entry in entries for machine in entry.machines) == [
        "signal-scheduler",
        "signal-worker",
    ]
    assert [entry.ended_s - entry.created_s > 9 * _HOUR for entry in entries] == [False, True][: 1 + left]
    cloud.close()


def test_killed_create_is_nuked_from_anywhere(settings: Settings) -> None:
    """What was left by a process that was killed is deleted on a computer that knows nothing of it."""
    with program(settings, *CREATE) as process:
        read_until(process, "reach start")
    environment = environment_for(settings) | {"SCHERBELBERG_HOME": str(settings.home / "elsewhere")}
    command = [sys.executable, "-m", "scherbelberg", "nuke", "-p", "signal", "--yes"]
    nuked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert nuked.returncode == 0, nuked.stderr
    assert "To be deleted: 'signal' of " in nuked.stderr
    assert held(settings) == []
