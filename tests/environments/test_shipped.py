# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The files for nodes that the package holds."""

from __future__ import annotations

from pathlib import Path

import scherbelberg
from scherbelberg.environments import shipped
from scherbelberg.environments.shipped import shipped_files


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
