# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Looks at all that is pinned: whether locks are whole, agree with each other, and everything else with them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import requires

from attrs import frozen

from scherbelberg.environments.agreement import between_platforms, missing_pins, pinned_lines, with_requirements
from scherbelberg.environments.channels import complaints
from scherbelberg.environments.fit import PROFILES
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import current_pins, shipped_locks, shipped_pins
from scherbelberg.errors import counted


@frozen(kw_only=True)
class Verdict:
    """What was found.

    Args:
        wrong: What must not be, each in a few words.
        noted: What may be, and is good to know.
    """

    wrong: tuple[str, ...]
    noted: tuple[str, ...] = ()


def check_lock(lock: EnvLock) -> Verdict:
    """Check whether a lock is closed: all that was asked for and that packages need is in it, nothing that they forbid.

    Args:
        lock: The lock.
    """
    unknown = [package.file_name for package in lock.packages if not package.is_recorded]
    words = f"{counted(len(unknown), 'package')} without a record of what they need, such as"
    noted = (f"{words} {unknown[0]}",) if unknown else ()
    strange = tuple(
        f"{one.file_name} is for {one.subdir}, and its lock for {lock.platform}"
        for one in lock.packages
        if one.subdir not in {lock.platform, "noarch"}
    )
    wrong = complaints(lock.packages, platform=lock.platform, asked=lock.specs)
    return Verdict(wrong=(*strange, *wrong), noted=noted)


def check_shipped(constraints: str | None = None) -> Verdict:
    """Check the shipped locks, the pins and this package's extras.

    Args:
        constraints: Text of a file of constraints that shall agree with them, too.

    Raises:
        BadInput: A shipped file is damaged.
    """
    locks = shipped_locks()
    wrong = [f"{name}: {line}" for name, lock in locks.items() for line in check_lock(lock).wrong]
    between, noted = between_platforms(locks.values())
    wrong += between
    if current_pins() != shipped_pins():
        wrong.append("pins.toml has other digests than scripts and locks: run 'scherbelberg env check --write'")
    wrong += check_extras(requires("scherbelberg") or [], locks)
    if constraints is not None:
        wrong += with_requirements(pinned_lines(constraints), locks, source="the file of constraints")
    return Verdict(wrong=tuple(dict.fromkeys(wrong)), noted=noted)


def check_extras(requirements: list[str], locks: Mapping[str, EnvLock]) -> tuple[str, ...]:
    """Compare the extras that are called like locks with these.

    Args:
        requirements: The package's, with the extras in their markers.
        locks: Locks by name.
    """
    found: list[str] = []
    for extra in PROFILES:
        own = {name: lock for name, lock in locks.items() if lock.profile == extra}
        found += with_requirements(requirements, own, source=f"the extra {extra}", extra=extra)
        found += missing_pins(requirements, own, extra=extra)
    return tuple(found)
