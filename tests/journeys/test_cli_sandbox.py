# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The sandbox and the demo as commands, in processes of their own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scherbelberg.sandbox.daemon import stop
from scherbelberg.sandbox.hosts.system import MARKER, marked
from scherbelberg.sandbox.server import sandbox_id

WITHIN_S = 90
COMMAND = (sys.executable, "-m", "scherbelberg")
#: What a client on Windows lacks.
POSIX_ONLY = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment variables of a user who has never used this, in a home with an umlaut; no sandbox is left over."""
    home = tmp_path / "Zuhause von Jörg"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HCLOUD", "HETZNER"))}
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = kept | {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "TMPDIR": str(temporary)}
    environment.pop("SCHERBELBERG_HOME", None)
    yield environment
    stop(home / "data/scherbelberg/sandbox")


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WITHIN_S,
        check=False,
    )


def test_background(surroundings: dict[str, str]) -> None:
    """A shell is led to the sandbox and away from it, a cluster lives there, and stop leaves no process and no file."""
    home = Path(surroundings["HOME"])
    assert run(surroundings, "sandbox", "status").returncode == 1
    started = run(surroundings, "sandbox", "start", "--time-scale", "0.05")
    assert started.returncode == 0, started.stderr
    exported = dict(shlex.split(line)[1].split("=", 1) for line in started.stdout.splitlines())
    names = ["HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "SCHERBELBERG_SSH_PORT", "SCHERBELBERG_NETWORK"]
    assert list(exported) == names
    assert run(surroundings, "sandbox", "start").stdout == started.stdout
    status = json.loads(run(surroundings, "sandbox", "status", "--json").stdout)
    assert status == {"schema": 1, "running": True, "endpoint": exported["HCLOUD_ENDPOINT"]}

    made = run(surroundings | exported, "create", "--workers", "1")
    assert made.returncode == 0, made.stderr
    mark = f"{sandbox_id(home / 'data/scherbelberg/sandbox')}."
    assert marked(mark)

    moved = run(surroundings, "sandbox", "clock", "13h")
    assert (moved.returncode, moved.stderr) == (0, "The sandbox's clock is 13h ahead of this computer's.\n")
    assert "overdue by 1 h" in run(surroundings | exported, "ls").stdout
    assert run(surroundings, "sandbox", "clock", "none").returncode == 2

    stopped = run(surroundings, "sandbox", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"unset {' '.join(exported)}\n")
    assert marked(mark) == []
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert run(surroundings, "sandbox", "stop").returncode == 0


def plain_path(folder: Path) -> str:
    """A PATH with all programs of this one but OpenSSH's and OpenSSL's, which a small machine lacks."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).iterdir() if os.access(place, os.R_OK | os.X_OK) else ():
            if not program.name.startswith(("ssh", "scp", "sftp", "openssl")):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_demo(surroundings: dict[str, str], tmp_path: Path) -> None:
    """The demo computes for real and gives back with nothing but Python and bash: no ssh, no openssl."""
    plain = surroundings | {"PATH": plain_path(tmp_path / "bin")}
    assert shutil.which("ssh-keygen", path=plain["PATH"]) is None
    done = run(plain, "demo", "--workers", "1", "--time-scale", "0.05")
    assert done.returncode == 0, done.stderr
    assert "Cluster demo (ready" in done.stdout
    assert "Cluster demo (2 machines, " in done.stdout  # and what it would have cost
    assert "The same on client, scheduler and workers: python" in done.stdout
    assert "The cluster's result and this computer's own are equal." in done.stdout
    assert "proof done (1 workers compute)" in done.stderr
    assert done.stdout.endswith("The sandbox is stopped: no process, no file and no bill is left.\n")
    assert list(Path(surroundings["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "number", "code"), [("service start", signal.SIGINT, 130), ("rent start", signal.SIGTERM, 143)]
)
def test_demo_interrupted(surroundings: dict[str, str], moment: str, number: signal.Signals, code: int) -> None:
    """A demo that is interrupted, early or late, leaves no process and no file."""
    command = [*COMMAND, "demo", "--time-scale", "0.05"]
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, encoding="utf-8") as process:
        for line in process.stderr or ():
            if moment in line:
                process.send_signal(number)
        process.wait(WITHIN_S)
    assert process.returncode == code
    assert list(Path(surroundings["TMPDIR"]).iterdir()) == []
    assert processes_below(surroundings["TMPDIR"]) == []


def processes_below(folder: str) -> list[psutil.Process]:
    """All processes on hosts whose files are in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if MARKER in environment and environment.get("SCHERBELBERG_SYSROOT", "").startswith(folder):
            found.append(process)
    return found


def test_windows_hears_a_sentence(surroundings: dict[str, str]) -> None:
    """Without POSIX, the sandbox and the demo are one sentence and an exit code, not a traceback."""
    pretend = (
        "import asyncio, asyncssh, click, psutil, rich.live, subprocess, sys, tempfile, tornado.httpserver\n"
        f"sys.modules.update(dict.fromkeys({POSIX_ONLY!r}))\n"
        "sys.platform = 'win32'\n"
        "from scherbelberg.cli import main\n"
        "for words in (['sandbox', 'start'], ['demo']):\n"
        "    try: main(words)\n"
        "    except SystemExit as end: print(end.code)\n"
    )
    environment = surroundings | {"SCHERBELBERG_HOME": surroundings["HOME"]}  # asking Windows for one takes a real one
    command = [sys.executable, "-c", pretend]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["14", "14"]), done.stderr
    assert done.stderr.count("does not run on Windows; use it in WSL 2.") == 2
    assert "Traceback" not in done.stderr
