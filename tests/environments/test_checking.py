# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether locks are whole: those that are shipped, and copies of them that were broken on purpose."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import CALM
from changed_locks import with_version, without
from hypothesis import given
from hypothesis import strategies as st
from own_share import share

from scherbelberg.environments.checking import LockReport, check_lock, check_shipped
from scherbelberg.environments.lock import EnvLock, Package, write_lock, write_records
from scherbelberg.environments.shipped import shipped_lock, shipped_locks, shipped_pins
from scherbelberg.errors import BadInput

__all__ = ["share"]


def _lock(name: str = "science-py313-linux-64") -> EnvLock:
    return shipped_locks()[name]


def _ship(share: Path, lock: EnvLock) -> None:
    (share / "env" / f"{lock.name}.lock").write_text(write_lock(lock), encoding="utf-8", newline="\n")
    (share / "env" / f"{lock.name}.json").write_text(write_records(lock), encoding="utf-8", newline="\n")


def test_everything_is_whole() -> None:
    """All shipped locks are closed and recorded, and the pins have their digests."""
    assert check_shipped() == LockReport(wrong=())
    names = {
        f"{profile}-py{minor}-{platform}"
        for profile in ("main", "science")
        for minor in ("312", "313")
        for platform in ("linux-64", "linux-aarch64")
    }
    assert set(shipped_locks()) == names
    assert all(one.is_recorded for lock in shipped_locks().values() for one in lock.packages)
    assert all(check_lock(lock) == LockReport(wrong=()) for lock in shipped_locks().values())


def test_lock_by_name(share: Path) -> None:
    """A shipped lock is found by profile, Python and platform, and where there is none there is None."""
    for name, lock in shipped_locks().items():
        assert shipped_lock(lock.profile, lock.versions.python_minor, lock.platform) == lock
        assert lock.name == name
        assert lock.digest == shipped_pins().locks[name]
    assert shipped_lock("main", "3.11", "linux-64") is None


def test_forbidden(share: Path) -> None:
    """What a package of a lock forbids is not in it."""
    lock = _lock()
    first = evolve(lock.packages[0], constrains=("numpy <1",))
    (line,) = check_lock(evolve(lock, packages=(first, *lock.packages[1:]))).wrong
    assert line.startswith(f"{first.file_name} forbids numpy=")


def test_unrecorded() -> None:
    """Of packages without records nothing is claimed, and that is said."""
    lock = _lock()
    bare = tuple(Package(url=one.url, sha256=one.sha256, is_recorded=False) for one in lock.packages)
    verdict = check_lock(evolve(lock, packages=bare))
    assert verdict.wrong == ()
    assert verdict.noted == (f"{len(bare)} packages without a record of what they need, such as {bare[0].file_name}",)


@pytest.mark.parametrize("name", ["main-py312-linux-64.lock", "bootstrap.sh", "pins.toml"])
def test_stale_pins(share: Path, name: str) -> None:
    """An installation whose scripts or locks are not those that are pinned is found, and what helps is said."""
    if name == "pins.toml":
        text = (share / name).read_text(encoding="utf-8")
        digest = shipped_pins().script
        (share / name).write_text(text.replace(digest, digest[::-1]), encoding="utf-8")
    elif name.endswith(".sh"):
        (share / name).write_bytes((share / name).read_bytes() + b"# more\n")
    else:
        _ship(share, without(_lock("main-py312-linux-64"), "tzdata"))
    (line,) = [line for line in check_shipped().wrong if line.startswith("pins.toml has other digests than")]
    assert line.endswith(": install scherbelberg anew, or run 'python tools/derive.py' in a clone")


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        (without(_lock(), "lz4"), "science-py313-linux-64: lz4 was asked for, and is not there"),
        (with_version(_lock(), "libzlib", "1.2.0"), "needs libzlib >="),
    ],
)
def test_broken_lock(share: Path, lock: EnvLock, words: str) -> None:
    """A shipped lock that has not all that its packages need is found."""
    _ship(share, lock)
    assert any(words in line for line in check_shipped().wrong)


@CALM
@given(st.text(max_size=20), st.lists(st.text(max_size=12), max_size=2).map(tuple))
def test_any_header(platform: str, specs: tuple[str, ...]) -> None:
    """Whatever a lock says of its platform and of what was asked for, there is a verdict or a sentence."""
    lock = next(iter(shipped_locks().values()))
    for one in (evolve(lock, platform=platform), evolve(lock, specs=specs)):
        with contextlib.suppress(BadInput):
            check_lock(one)


def test_other_platform() -> None:
    """A list for what no node can be is refused, and a package for another platform is found."""
    lock = next(one for one in shipped_locks().values() if one.platform == "linux-64")
    with pytest.raises(BadInput, match="is for win-64, which no node can be"):
        check_lock(evolve(lock, platform="win-64"))
    wrong = check_lock(evolve(lock, platform="linux-aarch64")).wrong
    assert any("is for linux-64, and its lock for" in line for line in wrong)
    with pytest.raises(BadInput, match="which makes no sense"):
        check_lock(evolve(lock, specs=("numpy ===[",)))
