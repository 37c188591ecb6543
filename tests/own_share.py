# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of the package's files that a test may break."""

from __future__ import annotations

from pathlib import Path

import pytest

from scherbelberg.environments import shipped


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's files, which the package reads instead of its own."""
    original = shipped._share()
    assert isinstance(original, Path)
    copy = tmp_path / "share"
    copy.mkdir()
    for path in sorted(original.rglob("*")):
        target = copy / path.relative_to(original)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    monkeypatch.setattr(shipped, "_share", lambda: copy)
    return copy
