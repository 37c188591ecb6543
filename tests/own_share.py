# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of the package's files that a test may break, and the extras of this tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from architecture import ROOT

from scherbelberg.environments import checking, shipped


def extras() -> list[str]:
    """Requirements as an installation has them, from the file that they come from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [*project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        for requirement, _, marker in (line.partition(";") for line in lines):
            found.append(f"{requirement}; {f'({marker}) and ' if marker else ''}extra == '{extra}'")
    return found


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's files, and this tree's own extras instead of those of an older installation."""
    original = shipped._share()
    assert isinstance(original, Path)
    copy = tmp_path / "share"
    copy.mkdir()
    for path in sorted(original.rglob("*")):
        target = copy / path.relative_to(original)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    monkeypatch.setattr(shipped, "_share", lambda: copy)
    monkeypatch.setattr(checking, "requires", lambda name: extras())
    return copy
