# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether what is pinned in several places agrees: locks with each other, and constraints with locks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement

from scherbelberg.environments.lock import CONDA_NAMES, EnvLock
from scherbelberg.environments.versions import OPTIONAL, REQUIRED

_COMPARED = (*REQUIRED, *OPTIONAL)


def between_platforms(locks: Iterable[EnvLock]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Compare locks of the same profile and Python on different platforms.

    Args:
        locks: All of them.

    Returns:
        What must not differ and does: compared and requested packages. And what else differs.
    """
    wrong: list[str] = []
    noted: list[str] = []
    groups: dict[tuple[str, str], list[EnvLock]] = {}
    for lock in locks:
        groups.setdefault((lock.profile, lock.versions.python_minor), []).append(lock)
    for (profile, minor), (first, *others) in groups.items():
        requested = {re.split(r"[\s=<>!~\[]", spec, maxsplit=1)[0] for spec in first.specs}
        requested |= {CONDA_NAMES.get(name, name) for name in _COMPARED}
        ours = {package.name: package.version for package in first.packages}
        for other in others:
            theirs = {package.name: package.version for package in other.packages}
            for name in sorted(ours.keys() & theirs.keys()):
                if ours[name] != theirs[name]:
                    words = f"{name} of {profile} on Python {minor} is {ours[name]} on {first.platform} and"
                    line = f"{words} {theirs[name]} on {other.platform}"
                    (wrong if name in requested else noted).append(line)
    return tuple(wrong), tuple(noted)


def with_requirements(requirements: Iterable[str], locks: Mapping[str, EnvLock], *, source: str) -> tuple[str, ...]:
    """Compare pinned requirements with the locks of the same Python.

    Args:
        requirements: Such as ``dask==2026.7.1; python_version == "3.12"``; those that pin nothing count for nothing.
        locks: By name.
        source: Where the requirements stand.

    Returns:
        What differs, of what is compared.
    """
    parsed = [found for text in requirements if (found := _parsed(text)) is not None]
    differing: list[str] = []
    for name, lock in locks.items():
        versions = lock.versions
        around = {"python_version": versions.python_minor, "python_full_version": versions.python, "extra": ""}
        around |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
        for one in parsed:
            wanted = versions.packages.get(one.name)
            if wanted is None or (one.marker is not None and not one.marker.evaluate(around)):
                continue
            if f"=={wanted}" != str(one.specifier):
                differing.append(
                    f"{source} has {one.name}{one.specifier} for Python {versions.python_minor}, {name} {wanted}"
                )
    return tuple(differing)


def _parsed(text: str) -> Requirement | None:
    try:
        found = Requirement(text)
    except InvalidRequirement:
        return None
    return found if str(found.specifier).startswith("==") else None


def pinned_lines(text: str) -> tuple[str, ...]:
    """The requirements of a file of constraints, without hashes and comments.

    Args:
        text: All of it.
    """
    lines = (line.split(" #")[0].rstrip("\\ ").strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith(("#", "--")))
