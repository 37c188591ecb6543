# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a mirror, a disk or a killed client does to installations on nodes, as the user sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environment_world import World
from surroundings import environment_for, folders, held

from scherbelberg import Event
from scherbelberg.errors import BootstrapFailed
from scherbelberg.sync import Cluster

_CREATE = ("create", "-p", "broken", "-w", "1", "--progress", "json")
_TOOLZ = "/conda-forge/*/toolz-*"


def refused(world: World, lock: Path, *, code: str = "bootstrap_failed") -> dict[str, Any]:
    """The error with which a create ends, from which nothing is left."""
    ended, output, complaints = world.shell(*_CREATE, "--env", str(lock))
    assert (ended, output) == (13, ""), complaints
    error: dict[str, Any] = json.loads(complaints.splitlines()[-1])["error"]
    assert (error["code"], error["node"] in {"scheduler", "worker000"}) == (code, True)
    assert error["message"].startswith(f"Bootstrap of node {error['node']} failed in phase {error['phase']}: ")
    said = error["log_tail"][-1].removeprefix(f"{error['node']} bootstrap: bootstrap.sh: ")
    assert 0 < len(error["log_tail"]) <= 20
    assert error["message"].endswith(f": {said}. What the nodes concerned have logged is kept in {error['log_file']}.")
    assert f"bootstrap.sh: {said}\n" in Path(error["log_file"]).read_text(encoding="utf-8")
    assert (held(world.settings), folders(world.settings)) == ([], [])
    return error


def hurry(world: World) -> None:
    """Let nodes not pause between their tries, of which there are as many as always."""
    script = world.share / "downloads.sh"
    text = script.read_text(encoding="utf-8")
    script.unlink()
    script.write_text(text.replace("PAUSE_S=1 ", "PAUSE_S=0 "), encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "fault", "words"),
    [
        (_TOOLZ, {"corrupt": True}, "/noarch/{toolz} has another SHA-256 than its lock says."),
        (_TOOLZ, {"status": 404}, "/noarch/{toolz}: HTTP status 404."),
        ("/miniforge/*", {"corrupt": True}, "Linux-x86_64.sh has another SHA-256 than its lock says."),
    ],
)
def test_mirror_that_has_something_else(world: World, pattern: str, fault: dict[str, Any], words: str) -> None:
    """A file that is not what the lock says, or not there, is named with its address; nothing of it is used."""
    lock = world.lock()
    world.mirror.misbehave(pattern, **fault)
    hurry(world)
    error = refused(world, lock, code="bootstrap_hopeless")
    assert error["phase"] == "download"
    assert f"{words.format(toolz=world.channel.packages['toolz'].path.name)} What " in error["message"]
    assert f"package {error['message'].split('package ')[1].split()[0]} from {world.mirror.url}/" in error["message"]


def test_mirror_that_is_gone(world: World) -> None:
    """A mirror that does not answer any more, after the environment was chosen, is named."""
    lock = world.lock()
    hurry(world)
    world.mirror.server_close()
    error = refused(world, lock)
    assert error["phase"] == "download"
    assert f": no connection to {world.mirror.url.removeprefix('http://')} (" in error["message"]


#: The command line, with the pins of the test.
_PROGRAM = """
import sys
from pathlib import Path
from scherbelberg.environments import shipped
from scherbelberg.cli import main
shipped._share = lambda: Path(sys.argv[1])
main(sys.argv[2:])
"""


class _EnoughError(BaseException):
    """What comes after it is tested elsewhere."""


def test_killed_client(world: World) -> None:
    """A create that was killed while nodes download is continued by the next one, which fetches but what is missing."""
    lock = world.lock()
    python = world.mirror.misbehave("/conda-forge/*/python-3*", hold_after=50_000)
    words = ["create", "-p", "killed", "-w", "1", "--env", str(lock), *world.mirrors]
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(world.share), *words],
        env=environment_for(world.settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        world.mirror.wait_for(lambda seen: sum("/python-3" in one.path for one in seen) >= 2, within_s=60)
        process.kill()
    world.mirror.forget()

    whole: set[str | None] = set()

    def listen(event: Event) -> None:
        if (event.phase, event.state) == ("download", "start"):
            python.release()
        elif (event.phase, event.state) == ("download", "done"):
            whole.add(event.node)  # each file has the hash that the lock says
            if whole == {"scheduler", "worker000"}:
                raise _EnoughError

    with pytest.raises(_EnoughError):
        Cluster.from_new(prefix="killed", workers=1, env=str(lock), settings=world.settings, listen=listen)
    assert {seen.range for seen in world.mirror.seen if "/python-3" in seen.path} != {None}
    assert (held(world.settings), folders(world.settings)) == ([], [])


def test_full_disk(world: World) -> None:
    """A node whose disk is full says so, with what is free on it, and is given back with the others."""
    tried = world.folder / "mount"
    tried.mkdir()
    if not mount(tried):
        pytest.skip("not even root may mount anything here")
    unmount(tried)
    mounted: list[Path] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state, event.node) == ("push", "done", "scheduler"):
            (base,) = (
                env.parents[2] for env in hosts.glob("*/root/scherbelberg-payload/node.env") if is_scheduler(env)
            )
            mounted.append(base / "opt/scherbelberg/download")
            mounted[0].mkdir()
            assert mount(mounted[0])
        elif event.state == "failed":
            unmount(*mounted)  # nobody could delete the host otherwise

    hosts = world.sandbox.sandbox.folder / "hosts"
    with pytest.raises(BootstrapFailed, match=r"failed in phase download: package .*: no space is left in ") as caught:
        Cluster.from_new(workers=1, env=str(world.lock()), settings=world.settings, listen=listen)
    assert (caught.value.node, caught.value.phase) == ("scheduler", "download")
    assert 0 < len(caught.value.log_tail) <= 20
    assert (held(world.settings), folders(world.settings)) == ([], [])


def mount(folder: Path) -> bool:
    """Put a small disk there."""
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def unmount(*folders: Path) -> None:
    """Take it away."""
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=True)


def is_scheduler(env: Path) -> bool:
    """Whether a node's settings are the scheduler's."""
    return "NODE_NAME=scheduler\n" in env.read_text(encoding="utf-8")
