# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Finds the packages of an environment for a client's versions: exactly those, or the nearest that there are."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import evolve

from scherbelberg.environments.channels import Channels, Unsolvable, nearest_first
from scherbelberg.environments.fit import (
    DASHBOARD,
    EXACT,
    any_of_major,
    conda_name,
    exact_specs,
    loosened_packages,
    not_in_channel,
    public_version,
    relaxable_pins,
    relaxed_spec,
    unsolvable,
)
from scherbelberg.environments.lock import EnvLock, Package, read_lock, write_lock, write_records
from scherbelberg.environments.versions import OPTIONAL, REQUIRED, Client, Versions
from scherbelberg.errors import BadInput, EnvironmentUnavailable, WaitTimeout

SOLVED = "solved"
#: The least dangerous first: what speaks over the wire stays the same as long as it can.
_RELAXED = tuple(name for name in (*reversed(OPTIONAL), *reversed(REQUIRED)) if name not in EXACT)
_TRIES = 10
#: For all questions of a search together.
_SEARCH_S = 600.0


async def solve_for(
    client: Client,
    channels: Channels,
    *,
    platform: str,
    versions: Versions | None = None,
    more: tuple[str, ...] = (),
    profile: str = SOLVED,
    may_differ: bool = False,
) -> EnvLock:
    """Find an environment for a client.

    Args:
        client: Whose versions.
        channels: Where packages come from.
        platform: Of the nodes.
        versions: Instead of the client's, where another platform's were decided already.
        more: What else is asked for, as match specs.
        profile: What the lock is called.
        may_differ: Whether it may have other versions than the client in everything, where there is nothing else.

    Raises:
        EnvironmentUnavailable: There is none.
        ChannelUnreachable: A channel does not answer.
        WaitTimeout: It was not found in time.
    """
    search = _Search(client, versions or client.versions, channels, platform, more, may_differ=may_differ)
    limit = asyncio.timeout(_SEARCH_S)
    try:
        async with limit:
            packages = await search.run()
    except TimeoutError:
        if not limit.expired():
            raise
        raise WaitTimeout(what="The search for an environment", within_s=_SEARCH_S) from None
    return EnvLock(profile=profile, platform=platform, packages=packages, specs=search.specs)


class _Search:
    """A search for one platform.

    Args:
        client: Whose versions.
        versions: What is wanted.
        channels: Where packages come from.
        platform: Of the nodes.
        more: What else is asked for.
        may_differ: Whether everything may differ from what is wanted.
    """

    def __init__(
        self,
        client: Client,
        versions: Versions,
        channels: Channels,
        platform: str,
        more: tuple[str, ...],
        *,
        may_differ: bool,
    ) -> None:
        self._client = client
        self._versions = versions
        self._channels = channels
        self._platform = platform
        self._more = more
        self._may_differ = may_differ
        self._free: frozenset[str] = frozenset()
        self.specs: tuple[str, ...] = ()

    async def run(self) -> tuple[Package, ...]:
        """Search, at first for exactly the wanted versions, and as long as it can be with most of them."""
        first, *others = loosened_packages(self._more, self._versions) if self._may_differ else (frozenset[str](),)
        if await self._has(DASHBOARD):
            self._more = (*self._more, DASHBOARD)
        self._free = first
        for free in others:
            try:
                return await self._run()
            except EnvironmentUnavailable:
                self._free = free
        return await self._run()

    async def _run(self) -> tuple[Package, ...]:
        """Search with all that is not free."""
        wanted = {name: one for name, one in relaxable_pins(self._versions).items() if name not in self._free}
        known = {name: await self._channels.versions(conda_name(name), platform=self._platform) for name in wanted}
        if not all(nearest_first(known[name], version) for name, version in wanted.items()):
            await self._check_hard()  # which says more, where a channel has nothing for this Python at all
        near = {name: self._near(name, version, known[name]) for name, version in wanted.items()}
        asked = {name: relaxed_spec(name, versions[0]) for name, versions in near.items()}
        try:
            return await self._try(asked)
        except Unsolvable as error:
            await self._check_hard()
            asked = await self._relax(asked, near, str(error))
        return await self._nearest(asked, near)

    def _near(self, name: str, wanted: str, known: tuple[str, ...]) -> tuple[str, ...]:
        near = nearest_first(known, wanted)[:_TRIES]
        if not near:
            major = wanted.partition(".")[0]
            raise EnvironmentUnavailable(
                f"The channel has no {name} {major}.*, and the client's Python {self._client.path} has {wanted}:"
                f" install a version that it has ({', '.join(known[:3]) or 'it has none at all'})."
            )
        return near

    async def _try(self, asked: Mapping[str, str]) -> tuple[Package, ...]:
        specs = (*exact_specs(self._versions, free=self._free), *asked.values(), *self._more)
        packages = await self._channels.solve(specs, platform=self._platform)
        self.specs = specs
        return packages

    async def _relax(self, asked: dict[str, str], near: Mapping[str, tuple[str, ...]], reason: str) -> dict[str, str]:
        """Let go of one version after the other, until there is any solution."""
        for name in _RELAXED:
            if name not in asked:
                continue
            asked = asked | {name: any_of_major(name, near[name][0])}
            try:
                await self._try(asked)
            except Unsolvable:
                continue
            return asked
        raise unsolvable(reason, client=self._client, may_differ=self._may_differ)

    async def _nearest(self, asked: dict[str, str], near: Mapping[str, tuple[str, ...]]) -> tuple[Package, ...]:
        """Take of what was let go the versions that are nearest, so that it differs in no more than it must."""
        loose = [name for name in _RELAXED if asked.get(name, "").endswith(".*")]
        for name in reversed(loose):
            for version in near[name]:
                tried = asked | {name: relaxed_spec(name, version)}
                try:
                    await self._try(tried)
                except Unsolvable:
                    continue
                asked = tried
                break
        return await self._try(asked)

    async def _has(self, name: str) -> bool:
        return bool(await self._channels.versions(name, platform=self._platform))

    async def _check_hard(self) -> None:
        """Say it plainly where the channel has not what may never differ."""
        found = {
            name: await self._channels.versions(conda_name(name), platform=self._platform)
            for name in ("python", *EXACT)
        }
        minor = self._versions.python_minor
        if "python" not in self._free and not any(version.startswith(f"{minor}.") for version in found["python"]):
            raise not_in_channel("python", f"{minor}.*", found["python"], both=None, client=self._client)
        both = next((version for version in found["dask"] if version in found["distributed"]), None)
        for name in EXACT:
            if name in self._free:
                continue
            wanted = public_version(self._versions.packages[name])
            if wanted not in found[name]:
                raise not_in_channel(name, wanted, found[name], both=both, client=self._client)


async def solve_bare(channels: Channels, python: str, *, platform: str, profile: str) -> EnvLock:
    """Find a Python with pip and nothing else, for what comes as wheels.

    Args:
        channels: Where packages come from.
        python: Such as ``3.13``, or a full version.
        platform: Of the nodes.
        profile: What the lock is called.

    Raises:
        EnvironmentUnavailable: There is none.
        ChannelUnreachable: A channel does not answer.
        WaitTimeout: It was not found in time.
    """
    specs = (f"python {python}.*", "pip")
    try:
        packages = await channels.solve(specs, platform=platform)
    except Unsolvable as error:
        raise unsolvable(str(error)) from None
    return EnvLock(profile=profile, platform=platform, packages=packages, specs=specs)


async def add(lock: EnvLock, specs: tuple[str, ...], channels: Channels, *, profile: str) -> EnvLock:
    """Add packages to a lock, all of which stays as it is.

    Args:
        lock: The lock.
        specs: What is added, as match specs.
        channels: Where packages come from.
        profile: What the new lock is called.

    Raises:
        EnvironmentUnavailable: They do not go together.
        ChannelUnreachable: A channel does not answer.
        WaitTimeout: It was not found in time.
    """
    kept = tuple(f"{package.name} =={package.version} {package.build}" for package in lock.packages)
    pinned = [package for package in lock.packages if package.is_recorded]
    try:
        packages = await channels.solve((*kept, *specs), platform=lock.platform, pinned=pinned)
    except Unsolvable as error:
        raise unsolvable(str(error)) from None
    return evolve(lock, profile=profile, packages=packages, specs=(*lock.specs, *specs))


class LockCache:
    """The folder of these locks. Whoever deletes it loses nothing but time.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, question: object) -> EnvLock | None:
        """Read the answer to a question, or None if there is none that makes sense.

        Args:
            question: JSON values.
        """
        path = self._path(question)
        try:
            text, records = (path.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".lock", ".json"))
            return read_lock(text, source=str(path), records=records)
        except (OSError, ValueError, BadInput):
            return None

    def write(self, question: object, lock: EnvLock) -> None:
        """Keep an answer; a folder that cannot be written is no reason to fail.

        Args:
            question: JSON values.
            lock: The answer.
        """
        path = self._path(question)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            # The lock last: without it there is no answer.
            for suffix, text in ((".json", write_records(lock)), (".lock", write_lock(lock))):
                aside = path.with_name(f"{path.name}.{os.getpid()}")
                aside.write_text(text, encoding="utf-8", newline="\n")
                aside.replace(path.with_suffix(suffix))

    def _path(self, question: object) -> Path:
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest}.lock"
