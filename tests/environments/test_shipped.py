# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The files for nodes that the package holds."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import scherbelberg
from scherbelberg.environments import shipped
from scherbelberg.environments.shipped import SCRIPT_FILES, read_pins, script_digest, shipped_files, shipped_pins
from scherbelberg.errors import BadInput
from scherbelberg.spec.toml import write_toml


def test_shipped_files() -> None:
    """All files below share but the locks are shipped by their paths with slashes, byte by byte."""
    share = Path(scherbelberg.__file__).parent / "share"
    paths = [path for path in share.rglob("*") if path.is_file() and path.parent.name not in {"__pycache__", "env"}]
    expected = {path.relative_to(share).as_posix(): path.read_bytes() for path in paths}
    assert shipped_files() == expected
    assert {"pins.toml", "bootstrap.sh", "10-scherbelberg.conf", "units/scherbelberg-dask@.service"} <= set(expected)


def test_compiled_files_stay_here(tmp_path: Path) -> None:
    """What pip compiles when it installs the package is not shipped."""
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "direct.cpython-311.pyc").write_bytes(b"\xa7\r\r\n")
    (tmp_path / "direct.py").write_bytes(b"pass\n")
    assert shipped._walk(tmp_path, "") == [("direct.py", b"pass\n")]


def test_shipped_text_is_for_unix() -> None:
    """What is pushed to nodes is UTF-8 with Unix line ends, also when it was checked out on Windows."""
    for path, content in shipped_files().items():
        assert b"\r" not in content, path
        assert content.decode().endswith("\n"), path


def test_script_runs_nothing_before_its_last_line() -> None:
    """A script that was cut off does nothing, since what starts it is its last line."""
    script = shipped_files()["bootstrap.sh"].decode()
    assert script.splitlines()[-1] == 'main "$@"'


def test_round_trip() -> None:
    """What is written of the pins reads back as it was."""
    pins = shipped_pins()
    assert read_pins(write_toml(pins.tables)) == pins
    assert set(pins.miniforge_sha256) == {"x86_64", "aarch64"}
    assert pins.miniforge_url.format(tag="T", machine="M").endswith("/T/Miniforge3-T-Linux-M.sh")


def test_simple_for_bash() -> None:
    """Each value is a text on a line of its own, so that a shell can read it, too."""
    lines = shipped_files()["pins.toml"].decode().splitlines()
    assert all(re.fullmatch(r'|#.*|\[[a-z0-9.]+\]|[a-z0-9_-]+ = "[^"\\]*"', line) for line in lines)


def test_script_digest() -> None:
    """Whatever runs on nodes is in the digest, in a fixed order; locks and pins are not."""
    files = shipped_files()
    assert set(SCRIPT_FILES) == set(files) - {"pins.toml"}
    assert script_digest(files) == hashlib.sha256(b"".join(files[name] for name in SCRIPT_FILES)).hexdigest()
    for name in SCRIPT_FILES:
        assert script_digest(files | {name: files[name] + b"x"}) != script_digest(files)


@pytest.mark.parametrize("text", ["", "[miniforge", "miniforge = 1", '[miniforge]\ntag = "1"\n', "[image]\n"])
def test_damaged(text: str) -> None:
    """Damaged pins are an error that says what to do."""
    with pytest.raises(BadInput, match=r"The pins of this installation, pins\.toml, cannot be read .*install it anew"):
        read_pins(text)
