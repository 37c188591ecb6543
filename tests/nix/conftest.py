# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: this project as a flake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flakes import Flake, clone, environment, stand_in
from programs import need


@pytest.fixture(scope="session")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Flake:
    """This project as a flake; all processes that test share one store."""
    need("nix", package="nix-bin")
    need("git", package="git")
    own = tmp_path_factory.mktemp("flake")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    environ = environment(shared / "nix")
    return Flake(folder=clone(own / "clone", environ), nixpkgs=stand_in(own / "nixpkgs"), environ=environ)


@pytest.fixture
def changed(flake: Flake, tmp_path: Path) -> Flake:
    """The same, to be changed."""
    return flake.copy(tmp_path / "changed")
