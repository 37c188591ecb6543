# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""watch.sh: who is logged in, for how long nothing was done, and when the warden is woken."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from process_node import UID, Node, free_port, make_node

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="nodes run Linux, and process hosts a Unix")
_INSTALL = 'put "$BASE/etc/node.env" 0644 <"$PAYLOAD/node.env"; install -d "$WORK"; '


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A machine that has been pushed to."""
    return make_node(tmp_path, role="scheduler", scheduler_port=free_port())


def a_process(proc: Path, pid: int, name: str, parent: int, cmdline: str = "") -> None:
    """Put a process into a folder like /proc."""
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0\n", encoding="utf-8")
    (proc / str(pid) / "cmdline").write_bytes(cmdline.encode())


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([], 0),
        ([(20, "sshd", 2), (21, "sshd", 20)], 0),
        ([(20, "sshd-session", 2), (21, "sshd-session", 20), (22, "bash", 21)], 1),
        ([(20, "sshd", 2), (21, "sftp-server", 20), (30, "sshd", 2), (31, "bash", 30), (32, "vim", 31)], 2),
        ([(20, "sshd", 2, "sshd: root@internal-sftp")], 1),
        ([(20, "(sd-pam) x) S 1", 1), (21, "bash", 20)], 0),
    ],
)
async def test_sessions(
    node: Node, tmp_path: Path, processes: list[tuple[int, str, int] | tuple[int, str, int, str]], expected: int
) -> None:
    """A session is one that runs a program: a terminal, a transfer, a command, but not a tunnel."""
    proc = tmp_path / "proc"
    a_process(proc, 1, "systemd", 0)
    a_process(proc, 2, "sshd", 1)
    for row in processes:
        a_process(proc, *row)
    (proc / "self").mkdir()
    (proc / "99").mkdir()  # has ended
    assert (await node.source(f"sessions '{proc}'")).said == [str(expected)]


@pytest.mark.parametrize(
    ("since_s", "looked_s", "expected"),
    [(100, 1, 100), (0, 0, 0), (-50, -50, 0), (100, 181, None), (7200, 170, 7200)],
)
async def test_quiet(node: Node, since_s: int, looked_s: int, expected: int | None) -> None:
    """Dask's notes say since when nothing was done, unless they are old."""
    now_s = time.time()
    node.path("var/lib/scherbelberg").mkdir(parents=True)
    node.path("var/lib/scherbelberg/activity").write_text(f"{now_s - looked_s} {now_s - since_s}\n", encoding="utf-8")
    (said,) = (await node.source("sessions() { echo 0; }; quiet")).said
    assert said == "unknown" if expected is None else 0 <= int(said) - expected < 60


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3", "nan nan", "inf -inf", "1e999 0", "\x00" * 500])
async def test_notes_that_make_no_sense(node: Node, text: str) -> None:
    """Whoever writes the notes is not trusted: what cannot be read says that nobody knows."""
    node.path("var/lib/scherbelberg").mkdir(parents=True)
    node.path("var/lib/scherbelberg/activity").write_text(text, encoding="utf-8")
    assert (await node.source("sessions() { echo 0; }; quiet")).said == ["unknown"]


async def test_notes_that_are_a_trap(node: Node) -> None:
    """No link is followed and no pipe waited for, and without notes nobody knows."""
    folder = node.path("var/lib/scherbelberg")
    folder.mkdir(parents=True)
    script = "sessions() { echo 0; }; quiet"
    assert (await node.source(script)).said == ["unknown"]
    (folder / "good").write_text(f"{time.time()} {time.time()}", encoding="utf-8")
    (folder / "activity").symlink_to(folder / "good")
    assert (await node.source(script)).said == ["unknown"]
    (folder / "activity").unlink()
    os.mkfifo(folder / "activity")
    assert (await node.source(script)).said == ["unknown"]


async def test_sessions_count_as_work(node: Node) -> None:
    """Who is logged in now, or was since the last look, keeps a node from being idle; so does nobody who looks."""
    folder = node.path("var/lib/scherbelberg")
    folder.mkdir(parents=True)
    (folder / "activity").write_text(f"{time.time()} {time.time() - 5000}", encoding="utf-8")
    assert (await node.source("sessions() { echo 1; }; quiet")).said == ["0"]
    said = (await node.source('sessions() { echo 0; }; : >"$SESSION"; quiet')).said
    assert int(said[0]) < 60
    assert (await node.source('rm "$SESSION"; sessions() { echo 0; }; SUPERVISION=systemd; quiet')).said == ["unknown"]
    said = (await node.source('sessions() { echo 0; }; SUPERVISION=systemd; : >"$WATCHED"; quiet')).said
    assert int(said[0]) >= 5000


async def test_watch(node: Node) -> None:
    """The timer's call notes that it looked and who is logged in, and wakes a warden now and then."""
    node.push()
    fake = _INSTALL + "sessions() { echo 1; }; quiet() { echo 7; }; "
    wake = 'wake_warden() { echo woken; : >"$ASKED"; }; '
    assert (await node.source(fake + wake + "watch")).said == []
    assert node.path("run/scherbelberg/session").exists()
    assert node.path("run/scherbelberg/watched").exists()
    assert (await node.source(fake + wake + 'echo {} >"$WARDEN"; watch; watch')).said == ["woken"]
    failing = 'rm "$ASKED"; echo "import sys; sys.exit(str(sys.argv[1:]))" >"$BASE/bin/warden.py"; watch'
    ended = await node.source(fake + failing)
    assert ended.code == 1
    assert f"['{node.base}/etc/warden.json', '7']" in ended.log
    assert not node.path("run/scherbelberg/asked").exists()


async def test_token(node: Node) -> None:
    """A token is for root alone and leaves the payload; that of another cluster, from a snapshot, goes."""
    node.push()
    file = node.payload / "warden.json"
    file.write_text(f'{{"token": "secret", "uid": "{UID}"}}', encoding="utf-8")
    assert (await node.source("install_warden; install_warden")).code == 0
    kept = node.base / "etc/warden.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not file.exists()
    assert "secret" in kept.read_text(encoding="utf-8")
    assert (await node.source("CLUSTER_UID=other; install_warden")).code == 0
    assert not kept.exists()


async def test_units(node: Node) -> None:
    """Under systemd the timer's units are installed, and the timer begins at once and after each boot."""
    node.push()
    script = 'SUPERVISION=systemd; install -d "${UNIT_FILE%/*}"; start_watch; ls "${UNIT_FILE%/*}"'
    assert (await node.source(script)).said == ["scherbelberg-watch.service", "scherbelberg-watch.timer"]
    assert node.read("systemctl.calls").splitlines() == ["daemon-reload", "enable --now scherbelberg-watch.timer"]
