# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the shipped locks anew: from a channel, or from records that somebody has collected."""

from __future__ import annotations

import json
import re
from pathlib import Path

from attrs import evolve

from scherbelberg.environments.channels import Channels, Unsolvable
from scherbelberg.environments.fit import unsolvable
from scherbelberg.environments.lock import CONDA_NAMES, EnvLock, Package
from scherbelberg.environments.shipped import shipped_locks
from scherbelberg.environments.versions import OPTIONAL, REQUIRED
from scherbelberg.errors import BadInput


def read_collected(folder: Path) -> tuple[EnvLock, ...]:
    """Read locks from files of collected records, one for each lock.

    Args:
        folder: Of JSON files that have ``profile``, ``platform``, ``specs`` and ``packages``; each package has ``url``,
            ``sha256``, ``size``, ``depends`` and ``constrains``.

    Raises:
        BadInput: There is none, or one cannot be read.
    """
    files = sorted(folder.glob("*-py*.json"))
    if not files:
        raise BadInput(f"There are no files such as main-py313-linux-64.json in {folder}.")
    return tuple(_read(path) for path in files)


def _read(path: Path) -> EnvLock:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        packages = tuple(
            Package(
                url=row["url"],
                sha256=row["sha256"],
                size=row["size"],
                depends=tuple(row["depends"]),
                constrains=tuple(row["constrains"]),
            )
            for row in document["packages"]
        )
        lock = EnvLock(profile=document["profile"], platform=document["platform"], packages=packages)
        return evolve(lock, specs=_with_python(tuple(document["specs"]), lock))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"The records in {path} cannot be read: {error!r}.") from None


def _with_python(specs: tuple[str, ...], lock: EnvLock) -> tuple[str, ...]:
    return tuple(f"python {lock.versions.python_minor}.*" if spec == "python" else spec for spec in specs)


async def refresh(channels: Channels) -> tuple[EnvLock, ...]:
    """Solve all shipped locks anew; on each platform the versions are those of the first one.

    Args:
        channels: Where packages come from.

    Raises:
        ChannelUnreachable: A channel does not answer.
        EnvironmentUnavailable: There is no such environment.
        WaitTimeout: It was not found in time.
    """
    fresh: list[EnvLock] = []
    for old in shipped_locks().values():
        like = [lock for lock in fresh if lock.profile == old.profile and _minor(lock) == _minor(old)]
        pins = _pins(like[0]) if like else ()
        try:
            packages = await channels.solve((*old.specs, *pins), platform=old.platform)
        except Unsolvable as error:
            raise unsolvable(str(error)) from None
        fresh.append(evolve(old, packages=packages))
    return tuple(fresh)


def _minor(lock: EnvLock) -> str:
    return lock.versions.python_minor


def _pins(lock: EnvLock) -> tuple[str, ...]:
    """Ask for the versions of all that is compared or was asked for."""
    names = {CONDA_NAMES.get(name, name) for name in (*REQUIRED, *OPTIONAL)}
    names |= {re.split(r"[\s=<>!~\[]", spec, maxsplit=1)[0] for spec in lock.specs}
    return tuple(f"{one.name} =={one.version}" for one in lock.packages if one.name in names)
