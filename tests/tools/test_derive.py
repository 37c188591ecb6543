# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What follows from other files is written, and what does not agree is found: in copies that were broken on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from architecture import ROOT
from changed_locks import with_version, without
from clones import clone
from derive import check, main
from refresh_locks import ship
from repository import locks_in, share_in

from scherbelberg.environments.checking import LockReport
from scherbelberg.environments.lock import EnvLock

__all__ = ["clone"]

LOCK = "science-py313-linux-64"
DERIVED = ("scherbelberg/share/pins.toml", "pyproject.toml", "nix/verify.sh")
STALE = "{} is stale: run 'python tools/derive.py' in a clone"


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def test_this_tree() -> None:
    """All that is pinned in this tree agrees; what may differ is named."""
    noted = ("wrapt of science on Python 3.13 is 2.2.2 on linux-64 and 2.2.1 on linux-aarch64",)
    assert check(ROOT) == LockReport(wrong=(), noted=noted)


def test_from_a_shell(clone: Path) -> None:
    """The program works on the clone that it is in, wherever it is started; checking writes nothing."""
    before = _contents(clone)
    script = share_in(clone) / "bootstrap.sh"
    script.write_bytes(script.read_bytes() + b"# more\n")

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, str(clone / "tools" / "derive.py"), *words]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=clone.parent, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    code, output, complaints = run("--check")
    assert (code, complaints) == (1, "1 finding in all.\n")
    assert STALE.format(DERIVED[0]) in output
    assert {name for name, text in _contents(clone).items() if text != before[name]} == {
        "scherbelberg/share/bootstrap.sh"
    }
    code, output, complaints = run()
    assert (code, complaints) == (0, "")
    assert output.startswith(f"Wrote {DERIVED[0]}.\nwrapt of science")
    assert run("--check")[0] == 0


def test_written_as_it_is(clone: Path) -> None:
    """Whoever ships anew what has not changed, and derives the rest, writes the very same files."""
    before = _contents(clone)
    for lock in locks_in(clone).values():
        ship(lock, clone)
    main([], clone)
    assert _contents(clone) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (DERIVED[0], 'digest = "', 'digest = "0'),
        (DERIVED[0], 'main-py312-linux-64 = "', 'main-py312-linux-64 = "0'),
        (DERIVED[1], "dask==2026.7.1", "dask==2026.7.2"),
        (DERIVED[1], "pandas==2.3.3", "pandas>=2.3.3"),
        (DERIVED[1], "numpy==2.4.6;", "numpy==2.4.6,<3;"),
        (DERIVED[1], "  \"toolz==1.1.0; python_version >= '3.12' and python_version < '3.14'\",\n", ""),
        (DERIVED[2], "service.sh record.sh", "record.sh service.sh"),
    ],
)
def test_stale(clone: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str) -> None:
    """What is not as other files have it is found, and written as it was."""
    before = _contents(clone)
    _replace(clone / name, old, new)
    with pytest.raises(SystemExit, match="1 finding in all"):
        main(["--check"], clone)
    assert STALE.format(name) in capsys.readouterr().out
    main([], clone)
    assert _contents(clone) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lock: without(lock, "libzlib"), "needs libzlib"),
        (lambda lock: without(lock, "lz4"), f"{LOCK}: lz4 was asked for, and is not there"),
        (lambda lock: with_version(lock, "libzlib", "1.2.0"), "needs libzlib >="),
        (lambda lock: with_version(lock, "scipy", "1.0"), "scipy of science on Python 3.13 is 1.0 on linux-64 and"),
        (lambda lock: with_version(lock, "cloudpickle", "3.1.9"), "cloudpickle of science on Python 3.13 is 3.1.9 on"),
        (lambda lock: with_version(lock, "cloudpickle", "3.1.9"), "constraints.txt has cloudpickle==3.1.2 for Pyth"),
        (lambda lock: with_version(lock, "cloudpickle", "3.1.9"), f"nix/pins.json is stale: {LOCK} and main-py313-li"),
    ],
)
def test_broken_lock(clone: Path, change: Callable[[EnvLock], EnvLock], words: str) -> None:
    """A package that is missing, or of another version on one platform, is found, whoever derives the rest anew."""
    ship(change(locks_in(clone)[LOCK]), clone)
    with pytest.raises(SystemExit):
        main([], clone)
    wrong = check(clone).wrong
    assert any(words in line for line in wrong), wrong
    assert not any("tools/derive.py" in line for line in wrong)


def test_constraints(clone: Path) -> None:
    """Constraints that pin a compared package otherwise are found, and who writes them is named."""
    _replace(clone / "constraints.txt", "\ndask==2026.7.1", "\ndask==2026.7.0")
    expected = "constraints.txt has dask==2026.7.0 for Python 3.12, main-py312-linux-64 2026.7.1: run"
    assert any(line.startswith(expected) for line in check(clone).wrong)


def test_nix(clone: Path) -> None:
    """Wheels of Nix' that are of another version are found, and who writes them is named."""
    path = clone / "nix" / "pins.json"
    pins = json.loads(path.read_text(encoding="utf-8"))
    pins["toolz"]["version"] = "1"
    path.write_text(json.dumps(pins), encoding="utf-8")
    line = "nix/pins.json is stale: it has toolz 1, and main-py313-linux-64 has 1.1.0; run 'python tools/nix_pins.py'"
    assert any(one.startswith(line) for one in check(clone).wrong)


def test_damaged(clone: Path) -> None:
    """What cannot be read, and a file that has no place for what is derived, ends in one sentence."""
    _replace(clone / "nix" / "verify.sh", "SCRIPTS=(", "FILES=(")
    with pytest.raises(SystemExit, match=r"nix/verify\.sh has 0 parts that match"):
        main(["--check"], clone)
    for path in (share_in(clone) / "env").glob("science-*-linux-64.*"):
        path.unlink()
    with pytest.raises(SystemExit, match=r"There is no lock of science for linux-64\."):
        main([], clone)
    (share_in(clone) / "pins.toml").write_text("[", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"pins\.toml, cannot be read"):
        main([], clone)
