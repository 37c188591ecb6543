# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an interpreter tells of itself."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from other_python import make_venv, packages_of, pretend

from scherbelberg.environments import installed


def _tell(python: Path, *names: str, cwd: Path | None = None) -> dict[str, object]:
    text = Path(installed.__file__).read_text(encoding="utf-8")
    ran = subprocess.run(
        [python, "-c", text, *names], check=True, capture_output=True, text=True, timeout=60, cwd=cwd, env={"A": "b"}
    )
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def test_own() -> None:
    """The running interpreter tells its versions of what is there, and nothing of what is not."""
    found = installed.installed(["dask", "no-such-thing"])
    assert found["packages"] == {"dask": version("dask")}
    assert (found["python"], found["prefix"]) == (platform.python_version(), sys.prefix)


@pytest.mark.parametrize(
    ("number", "origin", "is_own"),
    [
        ("1.0", None, False),
        ("1.0+cpu", None, True),
        ("1.0", {"url": "file:///src", "dir_info": {"editable": True}}, True),
        ("1.0", {"url": "file:///src", "dir_info": {}}, False),
        ("1.0", {"url": "https://a.b/c.whl", "archive_info": {}}, False),
    ],
)
def test_no_release(tmp_path: Path, number: str, origin: dict[str, object] | None, is_own: bool) -> None:
    """A local version, and what is installed to be edited, is no release; another interpreter tells it, too."""
    python = make_venv(tmp_path / "eine Umgebung", has_ours=False)
    pretend(tmp_path / "eine Umgebung", dask=number)
    if origin is not None:
        info = packages_of(tmp_path / "eine Umgebung") / f"dask-{number}.dist-info"
        (info / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    found = _tell(python, "dask", "toolz", "numpy")
    assert found["packages"] == {"dask": number, "toolz": "1.0"}
    assert found["own"] == (["dask"] if is_own else [])
    assert found["prefix"] == str(tmp_path / "eine Umgebung")


def test_current_folder(tmp_path: Path) -> None:
    """What lies in the folder where somebody happens to be is not installed."""
    python = make_venv(tmp_path / "v", has_ours=False)
    info = tmp_path / "dask-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dask\nVersion: 9.9\n", encoding="utf-8")
    assert _tell(python, "dask", cwd=tmp_path)["packages"] == {}
