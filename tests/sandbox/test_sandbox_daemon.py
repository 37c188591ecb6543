# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The sandbox in the background: found again, and ended without a trace, whatever became of it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_helpers import (
    WITHIN_S,
    Api,
    Machine,
    Waiter,
    commands,
    rent,
    run,
    running,
)

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox import daemon
from scherbelberg.sandbox.options import Options

SCALE = 0.02


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for a sandbox in the background, which is ended whatever happens."""
    place = tmp_path / "daemon über alles"
    yield place
    daemon.stop(place)


def busy_machine(place: Path) -> Machine:
    """A machine of a background sandbox, with a process that nobody waits for."""
    settings = daemon.status(place)
    assert settings
    api = Api(settings)
    machine = rent(api, place)
    asyncio.run(run_in_background(machine))
    api.close()
    assert commands(machine)
    return machine


async def run_in_background(machine: Machine) -> None:
    """Leave a daemon on a machine."""
    assert (await run(machine, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")).exit_status == 0
    await until(lambda: running(machine, "sleep"), every_s=0.02, within_s=WITHIN_S, what="the daemon")


def test_daemon(place: Path) -> None:
    """A background sandbox starts once, is found, and goes without a trace."""
    settings = daemon.start(place, Options(time_scale=SCALE))
    assert daemon.start(place) == settings == daemon.status(place)
    assert stat.S_IMODE((place / "sandbox.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    machine = busy_machine(place)
    found = daemon.read_state(place)
    assert found
    assert daemon.stop(place)
    assert found.process() is None
    assert commands(machine) == []
    assert not place.exists()
    assert daemon.status(place) is None
    assert not daemon.stop(place)


def test_daemon_that_was_killed(place: Path) -> None:
    """After kill -9 of the server, stop still ends its hosts' processes; so does the next start."""
    for end in (daemon.stop, daemon.start):
        daemon.start(place, Options(time_scale=SCALE))
        machine = busy_machine(place)
        kill_server(place)
        assert daemon.status(place) is None
        assert commands(machine)
        assert end(place)
        assert commands(machine) == []
        assert not machine.root.exists()


def kill_server(place: Path) -> None:
    """End a background sandbox the hard way."""
    found = daemon.read_state(place)
    assert found
    os.kill(found.pid, signal.SIGKILL)
    Waiter().wait(lambda: found.process() is None, what="the end of the server")


def test_recycled_pid_is_left_alone(place: Path) -> None:
    """A process that merely has the pid of a dead server is not touched."""
    place.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        daemon.write_state(place, daemon.State(pid=stranger.pid, create_time=1.0))
        assert daemon.status(place) is None
        assert daemon.stop(place)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert not place.exists()


CLIENT = """
import pathlib, sys
from scherbelberg.sandbox import daemon
from scherbelberg.sandbox.options import Options
with daemon.running(pathlib.Path(sys.argv[1]), Options(time_scale=0.02)):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_sandbox_ends_with_its_client(place: Path) -> None:
    """Kill -9 of the client that runs a sandbox leaves no process and no file."""
    words = [sys.executable, "-c", CLIENT, str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout
        assert client.stdout.readline() == b"up\n"
        machine = busy_machine(place)
        found = daemon.read_state(place)
        client.kill()
    assert found
    Waiter().wait(lambda: found.process() is None, what="the end of the sandbox")
    assert commands(machine) == []
    assert not place.exists()


def test_running_sandbox(place: Path) -> None:
    """A sandbox for a block of code is there inside the block only."""
    with daemon.running(place, Options(time_scale=SCALE)) as settings:
        assert daemon.status(place) == settings
        with pytest.raises(SandboxFailed, match="already"), daemon.running(place):
            pass
    assert not place.exists()


def test_failed_start_tells_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that cannot start says so in one sentence, shows its log, and leaves nothing."""
    place.mkdir()
    (place / "thesis.txt").touch()
    with pytest.raises(SandboxFailed, match="not empty"):
        daemon.start(place)
    (place / "thesis.txt").unlink()
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(SandboxFailed, match="need bash"):
        daemon.start(place)
    monkeypatch.undo()
    monkeypatch.setattr(daemon, "write_json", lambda _options: "no JSON")
    with pytest.raises(SandboxFailed, match="did not start: This is no JSON"):
        daemon.start(place)
    assert not place.exists()
