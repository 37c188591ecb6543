# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a sandbox, and settings that lead to it, in folders whose names are not plain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from surroundings import settings_for

from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

#: Fast, but slow enough that things still happen one after the other.
TIME_SCALE = 0.05


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a space and umlauts in its name."""
    return tmp_path / "Häuser & Höfe"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxThread]:
    """An emulated cloud of the test's own."""
    with SandboxThread(tmp_path / "sand kasten", time_scale=TIME_SCALE) as running:
        yield running


@pytest.fixture
def settings(sandbox: SandboxThread, home: Path) -> Settings:
    """Settings that lead to the test's own cloud."""
    return settings_for(sandbox, home)
