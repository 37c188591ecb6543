#!/usr/bin/env python3
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the shipped locks anew: from channels, or from records that somebody has collected; then all that is derived.

Versions on Arm follow those on x86. What needs an index is left to do: ``tools/constraints``, ``tools/nix_pins.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve
from derive import write_derived
from repository import LICENCE, ROOT, locks_in, share_in, write

from scherbelberg.environments.channels import Channels, Unsolvable
from scherbelberg.environments.choose import channels_of
from scherbelberg.environments.fit import CHANNEL, unsolvable
from scherbelberg.environments.lock import CONDA_NAMES, EnvLock, Package, write_lock, write_records
from scherbelberg.environments.shipped import LOCKS
from scherbelberg.environments.versions import OPTIONAL, REQUIRED
from scherbelberg.errors import BadInput, ScherbelbergError
from scherbelberg.settings import Sources, cache_folder, mirror_in
from scherbelberg.spec.model import Timeouts
from scherbelberg.spec.urls import check_mirror


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


async def refresh(locks: Iterable[EnvLock], channels: Channels) -> tuple[EnvLock, ...]:
    """Solve locks anew; on each platform the versions are those of the first one.

    Args:
        locks: The old ones.
        channels: Where packages come from.

    Raises:
        ChannelUnreachable: A channel does not answer.
        EnvironmentUnavailable: There is no such environment.
        WaitTimeout: It was not found in time.
    """
    fresh: list[EnvLock] = []
    for old in locks:
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


def ship(lock: EnvLock, root: Path) -> None:
    """Put a lock and its records among the shipped ones; what is derived from them follows.

    Args:
        lock: The lock.
        root: The clone.
    """
    folder = share_in(root) / LOCKS
    write(folder / f"{lock.name}.lock", LICENCE + write_lock(lock))
    write(folder / f"{lock.name}.json", write_records(lock))


def _solved(channels: Sequence[str], mirror: str | None, root: Path) -> tuple[EnvLock, ...]:
    sources = Sources(
        cache=cache_folder(),
        mirror=check_mirror(mirror) if mirror else mirror_in("CHANNEL"),
        within_s=Timeouts().solve,
    )
    return asyncio.run(refresh(locks_in(root).values(), channels_of(tuple(channels) or (CHANNEL,), sources)))


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Make the locks anew.

    Args:
        arguments: Of the command line; this program's where none are given.
        root: The clone.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--from", dest="collected", type=Path, metavar="FOLDER", help="of records, instead of a channel"
    )
    parser.add_argument("--channel", action="append", default=[], metavar="NAME|URL", help=f"repeatable [{CHANNEL}]")
    parser.add_argument("--channel-mirror", metavar="URL", help="asked instead of https://conda.anaconda.org")
    wish = parser.parse_args(arguments)
    if wish.collected and (wish.channel or wish.channel_mirror):
        parser.error("--from asks no channel")
    try:
        locks = read_collected(wish.collected) if wish.collected else _solved(wish.channel, wish.channel_mirror, root)
        for lock in locks:
            ship(lock, root)
            print(f"{lock.name}: {len(lock.packages)} packages, digest {lock.digest[:12]}")
        for path in write_derived(root):
            print(f"Wrote {path.relative_to(root).as_posix()}.")
    except ScherbelbergError as error:
        sys.exit("\n".join((*error.log_tail, str(error))))
    print("Next: 'tools/constraints', 'python tools/nix_pins.py', and 'python tools/derive.py --check'.")


if __name__ == "__main__":
    main()
