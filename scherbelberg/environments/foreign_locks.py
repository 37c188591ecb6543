# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks of others: pixi.lock and conda-lock.yml, for one platform."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rattler
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from rattler.lock import CondaLockedBinaryPackage, LockedPackage, LockFile, PypiLockedPackage

from scherbelberg.environments.environment_file import FileKind, check_pixi, kind_of, skipped_files
from scherbelberg.environments.lock import BANNER, EnvLock, Package, Wheel, check_foreign, read_lock
from scherbelberg.environments.pypi import normalize_name, without_secrets
from scherbelberg.errors import BadInput, pluralize
from scherbelberg.events import notice
from scherbelberg.spec.licence import check_licence
from scherbelberg.spec.text_files import read_text

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
    if kind is FileKind.PYLOCK:
        raise BadInput(
            f"{source} has wheels alone, and the Python for them is solved: see what nodes get of it with 'scherbelberg"
            f" env diff --env {source}', or write it with 'scherbelberg env lock --env {source} -o FILE'."
        )
    if kind is FileKind.EXPLICIT:
        return read_lock(_strip_logins(text), source=source, platform=platform, records=_records_of(path, text))
    found = {one.location: one for one in _packages(text, source, platform, _skipped(text, kind, source))}
    wheels = [one for one in found.values() if isinstance(one, PypiLockedPackage)]
    lock = EnvLock(
        profile="file",
        platform=platform,
        packages=_conda(found.values(), source),
        wheels=_wheels(wheels, source),
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
        return frozenset(_packages_by_platform(text, path.name))
    lock = read_lock(_strip_logins(text), source=path.name, platform=_ANY)
    return frozenset({lock.platform, *(one.subdir for one in lock.packages)} - {_ANY})


def _read(path: Path) -> str:
    return read_text(path, what=str(path))


def _skipped(text: str, kind: FileKind, source: str) -> frozenset[str]:
    """Check what the library would pass over, and say what is left out of a conda-lock.yml."""
    if kind is FileKind.PIXI:
        check_pixi(text, source=source)
        return frozenset()
    skipped = skipped_files(text, source=source)
    if skipped:
        notice(
            f"{source} has packages of other categories than 'main' ({pluralize(len(skipped), 'file')}), which nodes do"
            " not get.",
            about=source,
        )
    return skipped


def _records_of(path: Path, text: str) -> str | None:
    """What is known of the packages in a list of ours, if it lies beside it."""
    beside = path.with_suffix(".json")
    return _read(beside) if BANNER in text and beside.exists() else None


def _packages(text: str, source: str, platform: str, skipped: frozenset[str]) -> list[LockedPackage]:
    by_platform = _packages_by_platform(text, source)
    if platform not in by_platform:
        names = ", ".join(sorted(by_platform)) or "none"
        raise BadInput(
            f"{source} is not for {platform}, which the nodes are: it has {names}; lock it for {platform} as well."
        )
    return [one for one in by_platform[platform] if one.location not in skipped]


def _packages_by_platform(text: str, source: str) -> dict[str, list[LockedPackage]]:
    with TemporaryDirectory(prefix="scherbelberg-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "lock.yml"
        path.write_text(text, encoding="utf-8", newline="\n")  # the library knows nothing of marks of encodings
        file = _parse(path, source)
    environment = file.environment(_ENVIRONMENT)
    if environment is None:
        names = ", ".join(name for name, _ in file.environments()) or "none"
        raise BadInput(f"{source} has no environment '{_ENVIRONMENT}', which nodes would get (it has: {names}).")
    # A platform may be called as its author likes; what counts is what conda calls it.
    found = {str(one.subdir): environment.packages(one) for one in environment.platforms()}
    return {name: packages for name, packages in found.items() if packages}


def _parse(path: Path, source: str) -> Any:
    try:
        return LockFile.from_path(path)
    except Exception as error:  # noqa: BLE001 - the library has no class for all that it raises of a file's content
        words = " ".join(str(error).replace(str(path), source).split())[:500]
        raise BadInput(f"{source} cannot be read as a lock: {words}.") from None


def _conda(found: Iterable[LockedPackage], source: str) -> tuple[Package, ...]:
    """Sort conda packages so that each comes after what it needs."""
    records: dict[str, rattler.RepoDataRecord] = {}
    for one in found:
        if isinstance(one, CondaLockedBinaryPackage):
            if one.name in records:
                raise _twice(one.name, str(records[one.name].url), one.location, source)
            records[one.name] = _of_library(one.repo_data_record, one.name, source)
        elif not isinstance(one, PypiLockedPackage):
            raise BadInput(f"{source} has {one.name} as source ({one.location}), and nodes build nothing.")
    if not records:
        raise BadInput(f"{source} lists no conda package.")
    order = rattler.PackageRecord.sort_topologically(list(records.values()))
    return tuple(_package(records[one.name.normalized], source) for one in order)


def _of_library(ask: Any, name: str, source: str) -> Any:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - as above
        words = " ".join(str(error).split())[:300]
        raise BadInput(f"{source} has {name} in a way that makes no sense ({words}).") from None


def _twice(name: str, one: str, other: str, source: str) -> BadInput:
    return BadInput(
        f"{source} has {name} twice, as {without_secrets(one)} and as {without_secrets(other)}, and only one of them"
        " can be installed: lock anew."
    )


def _wheels(found: Iterable[PypiLockedPackage], source: str) -> tuple[Wheel, ...]:
    wheels: dict[str, Wheel] = {}
    for one in found:
        wheel = _wheel(one, source)
        if wheel.name in wheels:
            raise _twice(wheel.name, wheels[wheel.name].url, wheel.url, source)
        wheels[wheel.name] = wheel
    return tuple(wheels.values())


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
    return Wheel(name=normalize_name(one.name), version=one.version, url=url, sha256=sha256.hex())


def _check_python(one: PypiLockedPackage, lock: EnvLock, source: str) -> None:
    wanted, python = one.requires_python, lock.versions.python
    try:
        fits = not wanted or SpecifierSet(wanted).contains(python, prereleases=True)
    except InvalidSpecifier:
        raise BadInput(f"{source} has {one.name} for Python '{wanted}', which is no version of it.") from None
    if not fits:
        raise BadInput(f"{source} has {one.name} for Python {wanted} and Python {python}, which exclude each other.")


def _public(location: str, name: str, source: str) -> str:
    if not location.startswith(("https://", "http://")):
        raise BadInput(f"{source} has {name} at {without_secrets(location)}, where nodes cannot download it.")
    url = _strip_logins(location).partition("#")[0]
    check_licence(url, what=f"{source} has {name} at {url}, which")
    return url


def _strip_logins(text: str) -> str:
    """What nodes may know of addresses: without logins, and without the tokens that Anaconda puts into paths."""
    return re.sub(r"(https?://[^/\s]+)/t/[^/\s]+/", r"\1/", without_secrets(text))
