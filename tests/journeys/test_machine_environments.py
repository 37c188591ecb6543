# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What other programs are told of environments: each document as its schema says, which asks for each field."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mirror import Mirror
from own_share import share
from schemas import Json, read, unpromised
from shells import Shell

from scherbelberg.environments.interpreter import own_versions
from scherbelberg.environments.lock import read_lock
from scherbelberg.environments.shipped import shipped_locks
from scherbelberg.environments.versions import REQUIRED

__all__ = ["share"]
#: Of another Python than the one that runs this.
_OTHER = "main-py312-linux-64" if sys.version_info[:2] == (3, 13) else "main-py313-linux-64"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A lock whose versions are not this interpreter's."""
    lock = shipped_locks()[_OTHER]
    path = tmp_path / "their own.lock"
    lines = [f"{one.url}#sha256:{one.sha256}" for one in lock.packages]
    path.write_text("\n".join(["@EXPLICIT", *lines, ""]), encoding="utf-8")
    return path


def _client(folder: Path, python: str) -> Path:
    """A program that answers as a client's Python does, with versions of its own."""
    answer = {"python": python, "packages": dict.fromkeys(REQUIRED, "2026.8.0"), "own": []}
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _failure(answer: tuple[int, str, str]) -> tuple[int, str]:
    return answer[0], read("error", answer[1])["error"]["code"]


def test_show(shell: Shell, other: Path) -> None:
    """Shipped environments and those in files are listed in the same form, by platform where that is said."""
    shown = read("env-show", shell("env", "show", "--json")[1])
    digests = {lock["digest"] for lock in shown["locks"]}
    assert digests == {lock.digest for lock in shipped_locks().values()}
    assert unpromised("env-show", {**shown, "locks": shown["locks"][:1]}) == []
    (lock,) = read("env-show", shell("env", "show", str(other), "--json")[1])["locks"]
    assert (lock["profile"], lock["platform"], lock["bytes"]) == ("their-own", "linux-64", None)
    assert lock["digest"] in digests


def test_check(shell: Shell, other: Path, share: Path) -> None:
    """What is wrong and what is noted are in the document, which is printed also when the exit code is 15."""
    code, output, _ = shell("env", "check", str(other), "--json")
    found = read("env-check", output)
    assert (code, found["wrong"], len(found["noted"])) == (0, [], 1)
    (share / "bootstrap.sh").write_text("#!/bin/bash\n", encoding="utf-8")
    code, output, complaints = shell("env", "check", "--json")
    found = read("env-check", output)
    assert (code, complaints.startswith("Error: ")) == (15, True)
    assert found["wrong"][0].startswith("pins.toml has other digests")
    assert unpromised("env-check", found) == []


def _check_environment(document: Json, client: str) -> None:
    assert document["name"] == "their-own"
    assert (document["client"]["python"], document["client"]["source"]) == (client, "this program's own")
    assert {row["package"] for row in document["allowed"]} >= {"python"}
    assert [lock["platform"] for lock in document["locks"]] == ["linux-64"]


def test_what_may_differ(shell: Shell, other: Path) -> None:
    """A comparison and a plan describe the environment, its files, and what of it was allowed to differ."""
    words = ("--env", str(other), "--allow-mismatch", "--json")
    compared = read("env-diff", shell("env", "diff", *words)[1])
    planned = read("plan", shell("create", "--plan", "--worker-type", "cx23", "--scheduler-type", "cx23", *words)[1])
    for document in (compared, planned["environment"]):
        _check_environment(document, sys.executable)
    assert unpromised("env-diff", compared) == unpromised("plan", planned) == []


def test_refusals(shell: Shell, other: Path, tmp_path: Path) -> None:
    """Versions that differ are exit code 7; where there is no environment, or no answer of a channel, it is 15."""
    assert _failure(shell("env", "diff", "--env", str(other), "--json")) == (7, "version_mismatch")
    client = str(_client(tmp_path, "3.11.4"))
    answer = shell("env", "diff", "--env", "main", "--client", client, "--json")
    assert _failure(answer) == (15, "environment_unavailable")
    shell.monkeypatch.setenv("SCHERBELBERG_CHANNEL_MIRROR", "http://127.0.0.1:9")
    assert _failure(shell("env", "diff", "--client", client, "--json")) == (15, "channel_unreachable")


def test_solved(shell: Shell, mirror: Mirror) -> None:
    """What is solved for this interpreter is described as all else, and its text is a lock that can be read."""
    shell.monkeypatch.setenv("SCHERBELBERG_CHANNEL_MIRROR", mirror.url)
    code, output, complaints = shell("env", "diff", "--json")
    assert code == 0, complaints
    found = read("env-diff", output)
    own = own_versions()
    assert (found["name"], found["allowed"]) == ("solved", [])
    wanted = {name: found["versions"].get(name) for name in own.packages}
    assert wanted == own.packages
    code, output, complaints = shell("env", "lock", "--quiet")
    assert (code, complaints) == (0, "")
    assert read_lock(output, source="stdout").digest == found["locks"][0]["digest"]
