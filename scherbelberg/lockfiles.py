# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks of others: pixi.lock and conda-lock.yml, for one platform."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import rattler
from packaging.specifiers import SpecifierSet
from rattler.exceptions import ParseCondaLockError
from rattler.lock import CondaLockedBinaryPackage, LockedPackage, LockFile, PypiLockedPackage

from scherbelberg.envfile import FileKind, kind_of, left_out
from scherbelberg.envlock import BANNER, EnvLock, Package, Wheel, check_foreign, read_lock
from scherbelberg.errors import BadInput
from scherbelberg.pypi import normalized, without_secrets

_ENVIRONMENT = "default"
#: The part of channels whose packages run on any platform.
_ANY = "noarch"


def read_any_lock(path: Path, *, platform: str) -> EnvLock:
    """Read a lock of whatever kind.

    Args:
        path: An explicit list, ours or anybody's, a pixi.lock (its environment ``default``) or a conda-lock.yml (its
            category ``main``).
        platform: conda's name of the nodes' platform.

    Raises:
        BadInput: It is none of these, not for this platform, or has something in it that nodes cannot download and
            verify.
    """
    source = path.name
    text = _read(path)
    kind = kind_of(text, source=source)
    if kind is FileKind.WISH:
        raise BadInput(f"{source} locks nothing yet: it has wishes to be solved.")
    if kind is FileKind.EXPLICIT:
        return read_lock(_published(text), source=source, platform=platform, records=_records_of(path, text))
    skipped = left_out(text, source=source) if kind is FileKind.CONDA_LOCK else frozenset()
    found = {one.location: one for one in _packages(path, platform) if one.location not in skipped}
    wheels = [one for one in found.values() if isinstance(one, PypiLockedPackage)]
    lock = EnvLock(
        profile="file",
        platform=platform,
        packages=_conda(found.values(), source),
        wheels=tuple(_wheel(one, source) for one in wheels),
    )
    for one in wheels:
        _check_python(one, lock, source)
    return lock


def platforms_of(path: Path) -> frozenset[str]:
    """List the platforms that a lock is for, by conda's names; none if it has only what runs on any.

    Args:
        path: As for `read_any_lock`.

    Raises:
        BadInput: It cannot be read.
    """
    text = _read(path)
    if kind_of(text, source=path.name) is not FileKind.EXPLICIT:
        return frozenset(_packages_by_platform(path))
    lock = read_lock(_published(text), source=path.name, platform=_ANY)
    return frozenset({lock.platform, *(one.subdir for one in lock.packages)} - {_ANY})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from None


def _records_of(path: Path, text: str) -> str | None:
    """What is known of the packages in a list of ours, if it lies beside it."""
    beside = path.with_suffix(".json")
    return _read(beside) if BANNER in text and beside.exists() else None


def _packages(path: Path, platform: str) -> list[LockedPackage]:
    by_platform = _packages_by_platform(path)
    if platform not in by_platform:
        names = ", ".join(sorted(by_platform)) or "none"
        raise BadInput(
            f"{path.name} is not for {platform}, which the nodes are: it has {names}; lock it for {platform} as well."
        )
    return by_platform[platform]


def _packages_by_platform(path: Path) -> dict[str, list[LockedPackage]]:
    try:
        file = LockFile.from_path(path)
    except ParseCondaLockError as error:
        raise BadInput(f"{path.name} cannot be read as a lock: {' '.join(str(error).split())[:500]}.") from None
    environment = file.environment(_ENVIRONMENT)
    if environment is None:
        names = ", ".join(name for name, _ in file.environments()) or "none"
        raise BadInput(f"{path.name} has no environment '{_ENVIRONMENT}', which nodes would get (it has: {names}).")
    # A platform may be called as its author likes; what counts is what conda calls it.
    found = {str(one.subdir): environment.packages(one) for one in environment.platforms()}
    return {name: packages for name, packages in found.items() if packages}


def _conda(found: Iterable[LockedPackage], source: str) -> tuple[Package, ...]:
    """Sort conda packages so that each comes after what it needs."""
    records: dict[str, rattler.RepoDataRecord] = {}
    for one in found:
        if isinstance(one, CondaLockedBinaryPackage):
            records[one.name] = one.repo_data_record()
        elif not isinstance(one, PypiLockedPackage):
            raise BadInput(f"{source} has {one.name} as source ({one.location}), and nodes build nothing.")
    if not records:
        raise BadInput(f"{source} lists no conda package.")
    order = rattler.PackageRecord.sort_topologically(list(records.values()))
    return tuple(_package(records[one.name.normalized], source) for one in order)


def _package(record: rattler.RepoDataRecord, source: str) -> Package:
    if record.sha256 is None:
        raise BadInput(
            f"{source} has no SHA-256 of {record.name.normalized}, and nodes verify nothing less: lock anew."
        )
    return Package(
        url=_public(str(record.url), record.name.normalized, source),
        sha256=record.sha256.hex(),
        size=record.size,
        depends=tuple(record.depends),
        constrains=tuple(record.constrains),
    )


def _wheel(one: PypiLockedPackage, source: str) -> Wheel:
    check_foreign(one.name, source=source)
    url = _public(one.location, one.name, source)
    if not url.endswith(".whl"):
        raise BadInput(f"{source} has {one.name} as source ({url}), and nodes build nothing: lock a wheel of it.")
    try:
        sha256 = one.hashes.sha256 if one.hashes else None
    except AttributeError:  # how py-rattler 0.28 says that there is no hash at all
        sha256 = None
    if sha256 is None:
        raise BadInput(f"{source} has no SHA-256 of {one.name}, and nodes verify nothing less: lock anew.")
    return Wheel(name=normalized(one.name), version=one.version, url=url, sha256=sha256.hex())


def _check_python(one: PypiLockedPackage, lock: EnvLock, source: str) -> None:
    wanted, python = one.requires_python, lock.versions.python
    if wanted and not SpecifierSet(wanted).contains(python, prereleases=True):
        raise BadInput(f"{source} has {one.name} for Python {wanted} and Python {python}, which exclude each other.")


def _public(location: str, name: str, source: str) -> str:
    if not location.startswith(("https://", "http://")):
        raise BadInput(f"{source} has {name} at {without_secrets(location)}, where nodes cannot download it.")
    return _published(location).partition("#")[0]


def _published(text: str) -> str:
    """What nodes may know of addresses: without logins, and without the tokens that Anaconda puts into paths."""
    return re.sub(r"(https?://[^/\s]+)/t/[^/\s]+/", r"\1/", without_secrets(text))
