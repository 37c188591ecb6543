# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of what tools read and write, which a test may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from architecture import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of this tree that are pinned, derived or compared, and the tools themselves."""
    folder = tmp_path / "Klon & mehr"
    for name in ("tools", "nix", "scherbelberg/share"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder
