# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: this project as a flake."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from flakes import ROOT, WITHIN_S, Flake, clone, environment, path, stand_in
from programs import miss, need
from session_lock import alone

#: What the flake builds is checked by them.
LINTERS = ("mypy", "ruff", "shellcheck", "shfmt")


@pytest.fixture(scope="session")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """This project as a flake; all processes that test share one store."""
    need("nix", package="nix-bin")
    need("git", package="git")
    if not (ROOT / ".git").exists():
        miss("this is no clone, and flakes are")
    if missing := [name for name in LINTERS if shutil.which(name, path=path()) is None]:
        miss(f"no {', '.join(missing)} on this computer (the extra dev brings them)")
    own = tmp_path_factory.mktemp("flake")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with alone(shared / "nix.lock"):
        environ = environment(shared / "nix")
        # When several make the store's database at the same moment, Nix finds it busy and gives up.
        subprocess.run(["nix-store", "--init"], env=environ, check=True, capture_output=True, timeout=WITHIN_S)
    return Flake(folder=clone(own / "clone", environ), nixpkgs=stand_in(own / "nixpkgs"), environ=environ)


@pytest.fixture
def changed_flake(flake: Flake, tmp_path: Path) -> Flake:
    """The same, to be changed."""
    return flake.copy(tmp_path / "changed")
