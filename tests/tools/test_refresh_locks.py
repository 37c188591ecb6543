# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Shipped locks made anew, from a channel and from collected records."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from architecture import ROOT
from attrs import evolve
from clones import clone
from conda_channel import reindex
from fake_channel import add, channels, client, remove
from mirror import Mirror
from refresh_locks import main, read_collected, refresh, ship
from repository import locks_in

from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.solver import solve_for
from scherbelberg.errors import BadInput, EnvironmentUnavailable

__all__ = ["clone"]


async def _old(fake: Mirror, cache: Path) -> dict[str, EnvLock]:
    """Locks such as are shipped, of a Python that is old by now."""
    specs = ("python 3.13.*", "dask-core", "distributed", "numpy", "pip")
    opened = channels(fake, cache)
    locks = [await solve_for(client(numpy="2.4.2"), opened, platform=name) for name in ("linux-64", "linux-aarch64")]
    return {lock.name: evolve(lock, profile="main", specs=specs) for lock in locks}


async def test_refresh(own_fake: Mirror, tmp_path: Path) -> None:
    """All locks get the newest versions of what was asked for, the second platform those of the first."""
    old = await _old(own_fake, tmp_path / "cache")
    add(own_fake.root, "numpy", "2.5.0", subdir="linux-aarch64")
    add(own_fake.root, "beneath", "0.2", subdir="linux-aarch64")
    await asyncio.to_thread(reindex, own_fake.root)
    first, second = await refresh(old.values(), channels(own_fake, tmp_path / "fresh"))
    assert [(lock.profile, lock.platform, lock.specs) for lock in (first, second)] == [
        (lock.profile, lock.platform, lock.specs) for lock in old.values()
    ]
    assert first.versions == second.versions
    assert first.versions.packages["numpy"] == "2.4.6"
    assert {one.name for one in first.packages} >= {"pip", "python"}


async def test_no_refresh(own_fake: Mirror, tmp_path: Path) -> None:
    """Where there is no such environment any more, that is said in the solver's words."""
    old = await _old(own_fake, tmp_path / "cache")
    remove(own_fake, "numpy-*")
    await asyncio.to_thread(reindex, own_fake.root)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await refresh(old.values(), channels(own_fake, tmp_path / "fresh"))
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
    locks = locks_in(ROOT)
    for lock in locks.values():
        _collect(tmp_path, lock)
    assert {lock.name: lock for lock in read_collected(tmp_path)} == locks


def test_nothing_collected(tmp_path: Path) -> None:
    """A folder without records, or with a file that has none, is named."""
    with pytest.raises(BadInput, match=r"There are no files such as main-py313-linux-64\.json in"):
        read_collected(tmp_path)
    path = _collect(tmp_path, next(iter(locks_in(ROOT).values())))
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match=r"The records in .*main-py312-linux-64\.json cannot be read: KeyError"):
        read_collected(tmp_path)


def test_from_collected_records(clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shipped locks are made anew from collected records, and what follows from them is derived."""
    lock = locks_in(clone)["main-py312-linux-64"]
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    _collect(tmp_path, lock)
    ship(evolve(lock, packages=lock.packages[:-1]), clone)
    main(["--from", str(tmp_path)], clone)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{lock.name}: {len(lock.packages)} packages, digest {lock.digest[:12]}"
    assert lines[-1].startswith("Next: 'tools/constraints'")
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before


def test_from_a_channel(
    clone: Path, fake: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A channel by way of a mirror is asked for all locks; where it lacks something, nothing is written."""
    monkeypatch.setenv("SCHERBELBERG_HOME", str(tmp_path / "home"))
    for path in (clone / "scherbelberg" / "share" / "env").glob("science-*"):
        path.unlink()
    before = locks_in(clone)
    with pytest.raises(SystemExit, match=r"no such environment|The channel has"):
        main(["--channel-mirror", fake.url], clone)
    assert locks_in(clone) == before
    for lock in before.values():
        ship(evolve(lock, specs=(lock.specs[0], "dask-core", "distributed")), clone)
    with pytest.raises(SystemExit, match=r"There is no lock of science for linux-64\."):
        main(["--channel", "conda-forge", "--channel-mirror", fake.url], clone)
    assert {lock.versions.packages["dask"] for lock in locks_in(clone).values()} == {"2026.7.1"}
    assert "main-py313-linux-aarch64: " in capsys.readouterr().out


def test_one_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records and a channel are not asked for at once, and a folder without records is named."""
    with pytest.raises(SystemExit):
        main(["--from", str(tmp_path), "--channel", "conda-forge"], tmp_path)
    assert "--from asks no channel" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="There are no files such as"):
        main(["--from", str(tmp_path)], tmp_path)
