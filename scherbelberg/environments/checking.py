# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks whether locks are whole: any that is given, and those that are shipped, with their pins."""

from __future__ import annotations

from attrs import frozen

from scherbelberg.environments.channels import unmet_dependencies
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import PINS, current_pins, shipped_locks, shipped_pins
from scherbelberg.errors import pluralize


@frozen(kw_only=True)
class LockReport:
    """What was found.

    Args:
        wrong: What must not be, each in a few words.
        noted: What may be, and is good to know.
    """

    wrong: tuple[str, ...]
    noted: tuple[str, ...] = ()


def check_lock(lock: EnvLock) -> LockReport:
    """Check whether a lock is closed: all that was asked for and that packages need is in it, nothing that they forbid.

    Args:
        lock: The lock.
    """
    unknown = [package.file_name for package in lock.packages if not package.is_recorded]
    words = f"{pluralize(len(unknown), 'package')} without a record of what they need, such as"
    noted = (f"{words} {unknown[0]}",) if unknown else ()
    strange = tuple(
        f"{one.file_name} is for {one.subdir}, and its lock for {lock.platform}"
        for one in lock.packages
        if one.subdir not in {lock.platform, "noarch"}
    )
    wrong = unmet_dependencies(lock.packages, platform=lock.platform, asked=lock.specs)
    return LockReport(wrong=(*strange, *wrong), noted=noted)


def check_shipped() -> LockReport:
    """Check whether this installation is whole: the shipped locks, and that all digests are those of the pins.

    Raises:
        BadInput: A shipped file is damaged.
    """
    wrong = [f"{name}: {line}" for name, lock in shipped_locks().items() for line in check_lock(lock).wrong]
    if current_pins() != shipped_pins():
        advice = "install scherbelberg anew, or run 'python tools/derive.py' in a clone"
        wrong.append(f"{PINS} has other digests than scripts and locks: {advice}")
    return LockReport(wrong=tuple(wrong))
