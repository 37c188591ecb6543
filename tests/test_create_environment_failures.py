# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a mirror, a disk or a killed client does to installations on nodes, as the user sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from environment_world import World
from surroundings import folders, held

_CREATE = ("create", "-p", "broken", "-w", "1", "--progress", "json")
_TOOLZ = "/conda-forge/*/toolz-*"


def refused(world: World, lock: Path) -> dict[str, Any]:
    """The error with which a create ends, from which nothing is left."""
    code, output, complaints = world.shell(*_CREATE, "--env", str(lock))
    assert (code, output) == (13, ""), complaints
    error: dict[str, Any] = json.loads(complaints.splitlines()[-1])["error"]
    assert (error["code"], error["node"] in {"scheduler", "worker000"}) == ("bootstrap_failed", True)
    assert error["message"].startswith(f"Bootstrap of node {error['node']} failed in phase {error['phase']}: ")
    assert error["log_tail"][-1].startswith("bootstrap.sh: ")
    assert len(error["log_tail"]) <= 20
    assert error["message"].endswith(f": {error['log_tail'][-1].removeprefix('bootstrap.sh: ')}.")
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
    error = refused(world, lock)
    assert error["phase"] == "download"
    assert error["message"].endswith(words.format(toolz=world.channel.packages["toolz"].path.name))
    assert f"package {error['message'].split('package ')[1].split()[0]} from {world.mirror.url}/" in error["message"]


def test_mirror_that_is_gone(world: World) -> None:
    """A mirror that does not answer any more, after the environment was chosen, is named."""
    lock = world.lock()
    hurry(world)
    world.mirror.server_close()
    error = refused(world, lock)
    assert error["phase"] == "download"
    assert f": no connection to {world.mirror.url.removeprefix('http://')} (" in error["message"]
