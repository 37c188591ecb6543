# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Shipped locks made anew, from a channel and from collected records."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from attrs import evolve
from conda_channel import reindex
from fake_channel import add, channels, client, remove
from mirror import Mirror

from scherbelberg.environments import refreshing
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.refreshing import read_collected, refresh
from scherbelberg.environments.shipped import shipped_locks
from scherbelberg.environments.solver import solve_for
from scherbelberg.errors import BadInput, EnvironmentUnavailable


async def _old(fake: Mirror, cache: Path) -> dict[str, EnvLock]:
    """Locks such as are shipped, of a Python that is old by now."""
    specs = ("python 3.13.*", "dask-core", "distributed", "numpy", "pip")
    opened = channels(fake, cache)
    locks = [await solve_for(client(numpy="2.4.2"), opened, platform=name) for name in ("linux-64", "linux-aarch64")]
    return {lock.name: evolve(lock, profile="main", specs=specs) for lock in locks}


async def test_refresh(own_fake: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All locks get the newest versions of what was asked for, the second platform those of the first."""
    old = await _old(own_fake, tmp_path / "cache")
    monkeypatch.setattr(refreshing, "shipped_locks", lambda: old)
    add(own_fake.root, "numpy", "2.5.0", subdir="linux-aarch64")
    add(own_fake.root, "beneath", "0.2", subdir="linux-aarch64")
    await asyncio.to_thread(reindex, own_fake.root)
    first, second = await refresh(channels(own_fake, tmp_path / "fresh"))
    assert [(lock.profile, lock.platform, lock.specs) for lock in (first, second)] == [
        (lock.profile, lock.platform, lock.specs) for lock in old.values()
    ]
    assert first.versions == second.versions
    assert first.versions.packages["numpy"] == "2.4.6"
    assert {one.name for one in first.packages} >= {"pip", "python"}


async def test_no_refresh(own_fake: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such environment any more, that is said in the solver's words."""
    old = await _old(own_fake, tmp_path / "cache")
    monkeypatch.setattr(refreshing, "shipped_locks", lambda: old)
    remove(own_fake, "numpy-*")
    await asyncio.to_thread(reindex, own_fake.root)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await refresh(channels(own_fake, tmp_path / "fresh"))
    assert any("numpy" in line for line in caught.value.log_tail)


def _collect(folder: Path, lock: EnvLock) -> Path:
    rows = [
        {
            "url": one.url,
            "sha256": one.sha256,
            "size": one.size,
            "depends": [*one.depends],
            "constrains": [*one.constrains],
            "md5": "0" * 32,
        }
        for one in lock.packages
    ]
    specs = ["python" if spec.startswith("python ") else spec for spec in lock.specs]
    document = {"profile": lock.profile, "platform": lock.platform, "specs": specs, "packages": rows}
    path = folder / f"{lock.name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_collected(tmp_path: Path) -> None:
    """Collected records give the very locks that are shipped."""
    locks = shipped_locks()
    for lock in locks.values():
        _collect(tmp_path, lock)
    assert {lock.name: lock for lock in read_collected(tmp_path)} == locks


def test_nothing_collected(tmp_path: Path) -> None:
    """A folder without records, or with a file that has none, is named."""
    with pytest.raises(BadInput, match=r"There are no files such as main-py313-linux-64\.json in"):
        read_collected(tmp_path)
    path = _collect(tmp_path, next(iter(shipped_locks().values())))
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match=r"The records in .*main-py312-linux-64\.json cannot be read: KeyError"):
        read_collected(tmp_path)
