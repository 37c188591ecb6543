# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The running interpreter's versions."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.metadata import PackageNotFoundError, version

import pytest

from scherbelberg.environment import OPTIONAL, REQUIRED
from scherbelberg.interpreter import own_versions


def test_own_versions() -> None:
    """Python's version is the full one, and what the client needs is there; nothing else is compared."""
    versions = own_versions()
    assert versions.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert set(REQUIRED) <= set(versions.packages) <= set(REQUIRED + OPTIONAL)
    assert versions.packages["dask"] == version("dask")


def test_absent_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed is left out."""
    there = metadata.distribution("dask")

    def only_dask(name: str) -> metadata.Distribution:
        if name != "dask":
            raise PackageNotFoundError(name)
        return there

    monkeypatch.setattr(metadata, "distribution", only_dask)
    assert own_versions().packages == {"dask": version("dask")}


def test_metadata_is_enough() -> None:
    """Reading versions loads none of the packages, which would take seconds."""
    code = "import sys; from scherbelberg.interpreter import own_versions as v; v(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"dask", "distributed", "tornado", "numpy"} & set(ran.stdout.split())
