# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Completion: what shells are told, from this computer's memory alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import credentials, identity, manifest
from shells import Shell

from scherbelberg.spec.urls import HETZNER
from scherbelberg.state.store import Store

HEAVY = ("distributed", "dask", "asyncssh", "hcloud", "cryptography", "tornado", "requests")
_ASK = """
import runpy, sys
try:
    runpy.run_module("scherbelberg", run_name="__main__", alter_sys=True)
finally:
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A computer that remembers clusters of two clouds, one of them damaged."""
    home = tmp_path / "Häuser & Höfe"
    store = Store(home)
    for prefix, uid, endpoint in (
        ("cluster", "01", HETZNER),
        ("clever-one", "02", HETZNER),
        ("clean", "03", HETZNER),
        ("clouded", "04", "http://127.0.0.1:9/v1"),
    ):
        kept = evolve(manifest(endpoint=endpoint), identity=evolve(identity(uid=uid), prefix=prefix))
        folder = store.claim(kept, credentials())
        if prefix == "clean":
            (folder.path / "manifest.json").write_text("{", encoding="utf-8")
    (home / "clusters" / "stray").touch()
    return home


def _environ(home: Path, **more: str) -> dict[str, str]:
    # No token, and a proxy that is not there: nobody can be asked.
    return {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "SCHERBELBERG_HOME": str(home), **more}


def offered(home: Path, *words: str) -> list[str]:
    """What is offered for the last of some words, and proof that nothing heavy was loaded."""
    environ = _environ(home, COMP_WORDS=" ".join(("scherbelberg", *words)), COMP_CWORD=str(len(words)))
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        env=environ | {"_SCHERBELBERG_COMPLETE": "bash_complete", "PYTHONPATH": str(Path.cwd())},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stderr == ""
    *lines, loaded = done.stdout.splitlines()
    assert [name for name in HEAVY if name in loaded.split()] == []
    return [line.partition(",")[2] for line in lines if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("fire",), ["firewall"]),
        (("with", "--ssh"), ["--ssh-from"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("show", "-p", ""), ["clean", "clever-one", "cluster"]),
        (("show", "-p", "cle"), ["clean", "clever-one"]),
        (("destroy", "--prefix", "clo"), []),
        (("ssh", "s"), ["scheduler"]),
        (("ssh", "-p", "clever-one", "w"), ["worker000"]),
        (("ssh", "-p", "clean", ""), []),
        (("ssh", "-p", "nobody", ""), []),
        (("logs", "-f", "work"), ["worker000"]),
        (("cp", "x", "a"), ["all:"]),
        (("cp", "work"), ["worker000:"]),
        (("scp", "sch"), ["scheduler:"]),
        (("scp", "x", "work"), ["worker000:"]),
    ],
)
def test_offers(home: Path, words: tuple[str, ...], expected: list[str]) -> None:
    """Commands, options, clusters of this cloud and their nodes are offered; nobody is asked, nothing heavy loaded."""
    assert offered(home, *words) == expected


def test_files_are_offered(home: Path) -> None:
    """Where a file of this computer may stand, the shell is told to look for files."""
    environ = _environ(home, COMP_WORDS="scherbelberg scp x/", COMP_CWORD="2", _SCHERBELBERG_COMPLETE="bash_complete")
    line = [sys.executable, "-m", "scherbelberg"]
    done = subprocess.run(line, env=environ, capture_output=True, timeout=60, check=False)
    assert done.stdout == b"file,x/\n"


def test_strange_surroundings(home: Path) -> None:
    """What is wrong with the surroundings offers nothing, and is no error in the middle of somebody's typing."""
    (home / "clusters" / "cluster-01" / "endpoint").unlink()
    assert offered(home, "show", "-p", "clu") == []
    shutil.rmtree(home)
    assert offered(home, "show", "-p", "") == []


@pytest.mark.parametrize(
    ("shell_name", "sign"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef scherbelberg"), ("fish", "complete --no-files --command")],
)
def test_scripts(shell: Shell, shell_name: str, sign: str) -> None:
    """Each shell gets a script of its own."""
    code, output, complaints = shell("completion", shell_name)
    assert (code, complaints) == (0, "")
    assert sign in output
    assert shell("completion", "tcsh")[0] == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_bash(home: Path, tmp_path: Path) -> None:
    """A real bash that has loaded the script completes names of clusters."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "scherbelberg"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scherbelberg "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environ = _environ(home)
    environ["PATH"] = f"{folder}:{environ['PATH']}"
    lines = (
        'eval "$(scherbelberg completion bash)"; bound=$(complete -p scherbelberg); bound=${bound##*-F }; '
        'COMP_WORDS=(scherbelberg show -p cle); COMP_CWORD=3; "${bound%% *}" scherbelberg; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", lines], env=environ, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["clean", "clever-one"], done.stderr
    assert done.stderr == ""
