# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether all that is pinned agrees: as it is shipped, and in copies of it that were broken on purpose."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from architecture import ROOT
from attrs import evolve
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st
from own_share import extras, share

from scherbelberg.environments.agreement import between_platforms, pinned_lines, with_requirements
from scherbelberg.environments.checking import Verdict, check_extras, check_lock, check_shipped
from scherbelberg.environments.lock import EnvLock, Package
from scherbelberg.environments.shipped import pin_anew, ship, shipped_lock, shipped_locks, shipped_pins
from scherbelberg.errors import BadInput

__all__ = ["share"]

_CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def _lock(name: str = "science-py313-linux-64") -> EnvLock:
    return shipped_locks()[name]


def _without(lock: EnvLock, *names: str) -> EnvLock:
    return evolve(lock, packages=tuple(one for one in lock.packages if one.name not in names))


def _with_version(lock: EnvLock, name: str, version: str) -> EnvLock:
    def changed(one: Package) -> Package:
        folder = one.url.rpartition("/")[0]
        return evolve(one, url=f"{folder}/{name}-{version}-{one.build}.conda") if one.name == name else one

    return evolve(lock, packages=tuple(changed(one) for one in lock.packages))


def test_everything_agrees(share: Path) -> None:
    """All locks are closed and recorded, platforms, extras, constraints and pins agree; only wrapt differs, and may."""
    assert check_shipped(_CONSTRAINTS) == Verdict(
        wrong=(), noted=("wrapt of science on Python 3.13 is 2.2.2 on linux-64 and 2.2.1 on linux-aarch64",)
    )
    names = {
        f"{profile}-py{minor}-{platform}"
        for profile in ("main", "science")
        for minor in ("312", "313")
        for platform in ("linux-64", "linux-aarch64")
    }
    assert set(shipped_locks()) == names
    assert all(one.is_recorded for lock in shipped_locks().values() for one in lock.packages)
    assert all(check_lock(lock) == Verdict(wrong=()) for lock in shipped_locks().values())


def test_lock_by_name(share: Path) -> None:
    """A shipped lock is found by profile, Python and platform, and where there is none there is None."""
    for name, lock in shipped_locks().items():
        assert shipped_lock(lock.profile, lock.versions.python_minor, lock.platform) == lock
        assert lock.name == name
        assert lock.digest == shipped_pins().locks[name]
    assert shipped_lock("main", "3.11", "linux-64") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lock: _without(lock, "libzlib"), "needs libzlib"),
        (lambda lock: _without(lock, "lz4"), "science-py313-linux-64: lz4 was asked for, and is not there"),
        (lambda lock: _with_version(lock, "libzlib", "1.2.0"), "needs libzlib >="),
        (lambda lock: _with_version(lock, "scipy", "1.0"), "scipy of science on Python 3.13 is 1.0 on linux-64 and"),
        (lambda lock: _with_version(lock, "cloudpickle", "3.1.9"), "cloudpickle of science on Python 3.13 is 3.1.9 on"),
        (lambda lock: _with_version(lock, "cloudpickle", "3.1.9"), "the extra science has cloudpickle==3.1.2 for Pyt"),
    ],
)
def test_broken_lock(share: Path, change: Callable[[EnvLock], EnvLock], words: str) -> None:
    """A package that is missing, or of another version on one platform, is found, whoever pinned it anew."""
    ship(change(_lock()))
    pin_anew()
    assert any(words in line for line in check_shipped(_CONSTRAINTS).wrong)


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
    """Digests of locks and scripts in the pins are those of the files, and are brought up to date on demand."""
    if name == "pins.toml":
        text = (share / name).read_text(encoding="utf-8")
        digest = shipped_pins().script
        (share / name).write_text(text.replace(digest, digest[::-1]), encoding="utf-8")
    elif name.endswith(".sh"):
        (share / name).write_bytes((share / name).read_bytes() + b"# more\n")
    else:
        ship(_without(_lock("main-py312-linux-64"), "tzdata"))
    stale = "pins.toml has other digests than scripts and locks: run 'scherbelberg env check --write'"
    assert stale in check_shipped().wrong
    pin_anew()
    assert stale not in check_shipped().wrong


def test_pinned_as_it_is(share: Path) -> None:
    """Whoever pins or ships anew what has not changed writes the very same files."""
    before = {path: path.read_bytes() for path in share.rglob("*") if path.is_file()}
    for lock in shipped_locks().values():
        ship(lock)
    pin_anew()
    assert {path: path.read_bytes() for path in share.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "dask==2026.7.1",
            "dask==2026.7.2",
            "the extra main has dask==2026.7.2 for Python 3.12, main-py312-linux-64 2026.7.1",
        ),
        ("pandas==2.3.3", "pandas>=2.3.3", "the extra main does not pin pandas for Python 3.12"),
        ("numpy==2.4.6", "numpy==2.4.6,<3", "the extra science does not pin numpy for Python 3.13"),
        (
            "toolz==1.1.0; (",
            "toolz==1.1.0; (python_version < '3.13' and ",
            "the extra science does not pin toolz for Python 3.13",
        ),
    ],
)
def test_broken_extra(old: str, new: str, words: str) -> None:
    """An extra that has another version, leaves one out, or none for one Python, is found."""
    assert check_extras(extras(), shipped_locks()) == ()
    changed = [line.replace(old, new) for line in extras()]
    assert changed != extras()
    assert any(words in line for line in check_extras(changed, shipped_locks()))


def test_broken_constraints() -> None:
    """Constraints that pin a compared package otherwise for a Python that has a lock are found, and no others."""
    locks = shipped_locks()

    def found(text: str) -> tuple[str, ...]:
        return with_requirements(pinned_lines(text), locks, source="it")

    assert found(_CONSTRAINTS) == ()
    changed = _CONSTRAINTS.replace("\ndask==2026.7.1", "\ndask==2026.7.0")
    assert changed != _CONSTRAINTS
    assert "it has dask==2026.7.0 for Python 3.12, main-py312-linux-64 2026.7.1" in found(changed)
    assert (
        found("dask==1; python_version == '3.11'\nrequests==1\ndask>=1\n-r other.txt\n# dask==1\n--hash=dask==1\n")
        == ()
    )
    assert len(found("dask==1; python_version >= '3.13' \\\n    --hash=sha256:0\n")) == 4
    assert len(found("dask==1; python_full_version < '3.13.1' # via x\n")) == 4


def test_between_platforms() -> None:
    """What must not differ is told apart from what may; different Pythons and profiles may differ in everything."""
    locks = shipped_locks()
    wrong, noted = between_platforms(locks.values())
    assert (wrong, len(noted)) == ((), 1)
    changed = {**locks, "main-py312-linux-64": _with_version(locks["main-py312-linux-64"], "pyarrow", "1.0")}
    assert len(between_platforms(changed.values())[0]) == 1


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
