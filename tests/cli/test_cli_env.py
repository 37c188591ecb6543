# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg env``: environments without a cluster, against small channels over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_channel import HAD
from mirror import Mirror
from other_python import make_venv, pretend
from own_share import share
from shells import Shell
from surroundings import held

from scherbelberg.cloud.access import Access
from scherbelberg.environments.lock import EnvLock, read_lock
from scherbelberg.environments.shipped import shipped_lock, shipped_locks
from scherbelberg.settings import Settings

__all__ = ["share"]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """A shell that has no cloud, and no environment that is active."""
    access = Access(endpoint="http://127.0.0.1:9", token="t", token_source="the test")
    settings = Settings(
        access=access, ssh_port=22, network_range="10.0.0.0/16", home=tmp_path / "Häuser", owner="anna_at_laptop"
    )
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    return Shell(settings, monkeypatch, capfd)


@pytest.fixture
def fitting(tmp_path: Path) -> Path:
    """An interpreter that has what the small channel has."""
    return _client(tmp_path / "client", **HAD)


def _client(folder: Path, **versions: str) -> Path:
    """Make an interpreter that says that it has these packages and is Python 3.13."""
    python = make_venv(folder, has_ours=False)
    pretend(folder, **versions)
    asked = "import platform; platform.python_version = lambda: '3.13.14'"
    (next(folder.glob("lib/python*/site-packages")) / "older.pth").write_text(f"{asked}\n", encoding="utf-8")
    return python


def _main(platform: str = "linux-64") -> EnvLock:
    lock = shipped_lock("main", "3.13", platform)
    assert lock is not None
    return lock


def test_show(shell: Shell) -> None:
    """Without a name all shipped environments are shown, with one those of that name."""
    code, output, _ = shell("env", "show")
    assert (code, len(output.splitlines())) == (0, 9)
    code, output, _ = shell("env", "show", "main", "--json")
    document = json.loads(output)
    assert [row["digest"] for row in document["locks"]] == [
        lock.digest for lock in shipped_locks().values() if lock.profile == "main"
    ]
    row = document["locks"][2]
    assert (row["platform"], row["versions"]["python"], row["wheels"]) == ("linux-64", "3.13.14", 0)
    assert row["bytes"] == _main().size


def test_show_a_file(shell: Shell, tmp_path: Path) -> None:
    """A file is shown by its own name, for its platform."""
    path = tmp_path / "Liste.txt"
    path.write_text("@EXPLICIT\n" + "".join(f"{one.url}#{one.sha256}\n" for one in _main().packages), encoding="utf-8")
    code, output, _ = shell("env", "show", str(path), "--platform", "linux-64", "--json")
    (row,) = json.loads(output)["locks"]
    assert (code, row["profile"], row["bytes"], row["packages"]) == (0, "liste", None, len(_main().packages))
    code, _, complaints = shell("env", "show", str(tmp_path / "none"))
    assert code == 2
    assert "cannot be read" in complaints


def test_diff_with_a_shipped_one(shell: Shell, tmp_path: Path, fake: Mirror) -> None:
    """The client is compared with what it would get; one that differs from what it named is refused with the table."""
    python = _client(tmp_path / "c", **_main().versions.packages)
    words = ("env", "diff", "--client", str(python), "--channel-mirror", fake.url)
    code, output, _ = shell(*words)
    assert (code, "Environment main (Python 3.13.14, dask 2026.7.1)" in output) == (0, True)
    assert f"{python} (--client)" in output
    other = _client(tmp_path / "o", **{**_main().versions.packages, "dask": "2026.6.0"})
    code, output, complaints = shell("env", "diff", "--client", str(other), "--env", "main")
    assert code == 7
    assert "has dask 2026.7.1 and the client's Python" in complaints
    code, output, _ = shell("env", "diff", "--client", str(other), "--env", "main", "--allow-mismatch", "--json")
    document = json.loads(output)
    assert document["allowed"] == [{"package": "dask", "client": "2026.6.0", "nodes": "2026.7.1"}]
    assert document["client"]["python"] == str(other)
    assert fake.seen == []


def test_diff_with_a_solved_one(shell: Shell, tmp_path: Path, fake: Mirror) -> None:
    """What is solved and differs is shown in words and in the table."""
    python = _client(tmp_path / "c", **{**HAD, "numpy": "2.4.5"})
    code, output, complaints = shell("env", "diff", "--client", str(python), "--channel-mirror", f"{fake.url}/")
    assert (code, complaints.count("Error")) == (0, 0)
    assert re.search(r"^allowed to differ +client +nodes *\nnumpy +2\.4\.5 +2\.4\.6", output, re.MULTILINE)
    assert [line.split() for line in output.splitlines() if line.startswith("numpy  ")] == [
        ["numpy", "2.4.5", "2.4.6"]
    ] * 2


def test_lock(shell: Shell, fitting: Path, fake: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is written to stdout and nothing else, or to a file with records beside it, which can be used again."""
    monkeypatch.setenv("SCHERBELBERG_CHANNEL_MIRROR", fake.url)
    code, output, _ = shell("env", "lock", "--client", str(fitting))
    lock = read_lock(output, source="stdout")
    assert (code, lock.profile, lock.versions.packages) == (0, "solved", HAD)
    file = tmp_path / "Mein.lock"
    code, output, complaints = shell("env", "lock", "--client", str(fitting), "--package", "more", "-o", str(file))
    assert (code, output) == (0, "")
    assert f"use it with 'scherbelberg create --env {file}'" in complaints.replace("\n", " ")
    fake.forget()
    code, output, _ = shell("env", "diff", "--client", str(fitting), "--env", str(file), "--json")
    assert json.loads(output)["locks"][0]["digest"] == read_lock(file.read_text(encoding="utf-8"), source="it").digest
    code, output, complaints = shell("env", "check", str(file))
    assert (code, output) == (0, "")
    assert "Everything is in order." in complaints
    assert fake.seen == []


def test_lock_cannot_be(shell: Shell, fitting: Path, fake: Mirror, tmp_path: Path) -> None:
    """Words that do not go together, and a place that cannot be written, are the user's mistakes."""
    words = ("env", "lock", "--client", str(fitting), "--channel-mirror", fake.url)
    code, _, complaints = shell(*words, "--platform", "linux-64", "--platform", "linux-aarch64")
    assert (code, "Use one --platform" in complaints) == (2, True)
    code, _, complaints = shell(*words, "-o", str(tmp_path / "no" / "file.lock"))
    assert (code, "cannot be written" in complaints) == (2, True)
    code, _, complaints = shell(*words[:-1], "https://anna:s3cret@a.b")
    assert (code, "Put credentials into ~/.netrc" in complaints, "s3cret" in complaints) == (2, True, False)


def test_not_in_channel(shell: Shell, fake: Mirror, tmp_path: Path) -> None:
    """What the channel has not yet is refused with an exit code of its own, and with the ways out."""
    python = _client(tmp_path / "c", **{**HAD, "dask": "2026.8.0", "distributed": "2026.8.0"})
    code, output, complaints = shell("env", "lock", "--client", str(python), "--channel-mirror", fake.url)
    assert (code, output) == (15, "")
    assert "pip install 'dask==2026.7.1' 'distributed==2026.7.1'" in complaints.replace("\n", " ")


def test_solvers_words(shell: Shell, fake: Mirror, fitting: Path) -> None:
    """Why nothing goes together is shown in the solver's words."""
    words = ("env", "lock", "--client", str(fitting), "--channel-mirror", fake.url)
    code, _, complaints = shell(*words, "--package", "ancient")
    assert code == 15
    assert "ancient" in complaints
    assert "numpy" in complaints


def test_active_environment(
    shell: Shell, fake: Mirror, fitting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is that of the active environment, which is named; one without Dask is told what to do."""
    monkeypatch.setenv("CONDA_PREFIX", str(fitting.parent.parent))
    words = ("env", "diff", "--channel-mirror", fake.url)
    code, output, _ = shell(*words, "--json")
    client = json.loads(output)["client"]
    assert (code, client["python"], client["source"]) == (0, str(fitting), "CONDA_PREFIX")
    monkeypatch.setenv("VIRTUAL_ENV", str(make_venv(tmp_path / "bare", has_ours=False).parent.parent))
    code, _, complaints = shell(*words)
    assert code == 2
    assert "(from VIRTUAL_ENV) has no dask" in complaints.replace("\n", " ")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("SCHERBELBERG_CHANNEL_MIRROR", fake.url)
    code, output, complaints = shell("env", "diff", "--env", "main", "--allow-mismatch", "--json")
    if code == 0:  # this Python has a shipped environment
        assert json.loads(output)["client"]["source"] == "this program's own"
    else:
        assert f"of {sys.executable}" in complaints.replace("\n", " ")


def test_check(shell: Shell, share: Path) -> None:
    """What is shipped is in order; what is not is told line by line and ends in an error."""
    code, output, complaints = shell("env", "check")
    assert (code, output) == (0, "")
    assert "Everything is in order." in complaints
    (share / "bootstrap.sh").write_text("#!/bin/bash\n", encoding="utf-8")
    code, output, complaints = shell("env", "check", "--json")
    assert code == 15
    (line,) = json.loads(output)["wrong"]
    assert line.startswith("pins.toml has other digests than scripts and locks")
    assert "1 finding in all" in complaints


def test_check_a_file_for_any_platform(shell: Shell, share: Path, tmp_path: Path) -> None:
    """A file is checked for the platform that it is for."""
    for name in ("main-py313-linux-aarch64.lock", "main-py313-linux-aarch64.json"):
        (tmp_path / name).write_bytes((share / "env" / name).read_bytes())
    assert shell("env", "check", str(tmp_path / "main-py313-linux-aarch64.lock"))[0] == 0
    (tmp_path / "main-py313-linux-aarch64.json").unlink()
    code, output, _ = shell("env", "check", str(tmp_path / "main-py313-linux-aarch64.lock"))
    assert (code, "without a record of what they need" in output) == (0, True)


def test_mirrors_of_create(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: Mirror
) -> None:
    """A create asks the mirror that the command line names, and ends without renting where it has nothing that fits."""
    cloud = Shell(settings, monkeypatch, capfd)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    code, output, complaints = cloud("create", "--package", "more", "--channel-mirror", fake.url)
    assert (code, output) == (15, "")
    assert "The channel has no" in complaints
    assert fake.seen != []
    assert held(settings) == []


def test_nothing_heavy_is_loaded() -> None:
    """Help comes without a library that takes long to load."""
    code = "import sys\nfrom scherbelberg.cli import main\n"
    code += "try:\n main(['env', 'lock', '--help'])\nfinally:\n print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"rattler", "distributed", "yaml", "scherbelberg.environments.channels"} & set(ran.stdout.split())
