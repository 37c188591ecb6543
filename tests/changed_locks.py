# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks that were changed on purpose."""

from __future__ import annotations

from attrs import evolve

from scherbelberg.environments.lock import EnvLock, Package


def without(lock: EnvLock, *names: str) -> EnvLock:
    """Take packages out of a lock."""
    return evolve(lock, packages=tuple(one for one in lock.packages if one.name not in names))


def with_version(lock: EnvLock, name: str, version: str) -> EnvLock:
    """Give a package of a lock another version."""

    def changed(one: Package) -> Package:
        folder = one.url.rpartition("/")[0]
        return evolve(one, url=f"{folder}/{name}-{version}-{one.build}.conda") if one.name == name else one

    return evolve(lock, packages=tuple(changed(one) for one in lock.packages))
