# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Answers that were found before."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.lock_cache import LockCache
from scherbelberg.environments.shipped import shipped_lock

_QUESTION = {"for": {"dask": "2026.7.1"}, "channels": ("conda-forge",)}


@pytest.fixture
def lock() -> EnvLock:
    """Any lock with records."""
    found = shipped_lock("main", "3.13", "linux-64")
    assert found is not None
    return found


def test_answer(lock: EnvLock, tmp_path: Path) -> None:
    """An answer is found again with all that its packages need, and nothing is left beside it."""
    cache = LockCache(tmp_path / "new" / "folder")
    assert cache.read(_QUESTION) is None
    cache.write(_QUESTION, lock)
    assert cache.read(dict(reversed(_QUESTION.items()))) == lock
    assert cache.read(_QUESTION | {"channels": ("other",)}) is None
    assert sorted(path.suffix for path in (tmp_path / "new" / "folder").iterdir()) == [".json", ".lock"]


def test_newer_answer(lock: EnvLock, tmp_path: Path) -> None:
    """A newer answer takes the place of an older one."""
    cache = LockCache(tmp_path)
    cache.write(_QUESTION, lock)
    cache.write(_QUESTION, evolve(lock, packages=lock.packages[:-1]))
    found = cache.read(_QUESTION)
    assert found is not None
    assert found.packages == lock.packages[:-1]


@pytest.mark.parametrize("suffix", [".lock", ".json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"# digest: 0\n@EXPLICIT\n", b"[]", b"{}"])
def test_damaged_answer(lock: EnvLock, tmp_path: Path, suffix: str, content: bytes | None) -> None:
    """An answer that was damaged or lost a part is none, and is written anew."""
    cache = LockCache(tmp_path)
    cache.write(_QUESTION, lock)
    (path,) = tmp_path.glob(f"*{suffix}")
    path.unlink() if content is None else path.write_bytes(content)
    assert cache.read(_QUESTION) is None
    cache.write(_QUESTION, lock)
    assert cache.read(_QUESTION) == lock


def test_no_folder(lock: EnvLock, tmp_path: Path) -> None:
    """Where nothing can be kept, nothing is, without complaint."""
    (tmp_path / "file").touch()
    cache = LockCache(tmp_path / "file" / "folder")
    cache.write(_QUESTION, lock)
    assert cache.read(_QUESTION) is None
