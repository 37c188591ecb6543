# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Chooses the environment of a cluster's nodes before a cent is spent: shipped, solved, or the user's own."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from scherbelberg.environments.channels import Channels
from scherbelberg.environments.environment_file import EnvWish, FileKind, kind_of, read_wish
from scherbelberg.environments.fit import (
    CHANNEL,
    EXACT,
    PROFILES,
    Environment,
    check_age,
    check_releases,
    environment_of,
    fits,
    image_environment,
    profiles_for,
)
from scherbelberg.environments.foreign_locks import platforms_of, read_any_lock
from scherbelberg.environments.lock import PLATFORMS, EnvLock, lock_name
from scherbelberg.environments.pylock import check_wheels, read_full_pylock
from scherbelberg.environments.pypi import pypi_versions, read_requirement
from scherbelberg.environments.shipped import shipped_lock, shipped_locks, shipped_pins, tool_version
from scherbelberg.environments.solver import LockCache, add, solve_bare, solve_for
from scherbelberg.environments.versions import OPTIONAL, REQUIRED, Client, Versions
from scherbelberg.environments.wheels import resolve_wheels
from scherbelberg.errors import BadInput, EnvironmentUnavailable
from scherbelberg.events import Event, Listener, Phase, ignore_events
from scherbelberg.settings import Sources
from scherbelberg.spec.model import PYPI, ClusterSpec
from scherbelberg.spec.text_files import read_text

_SOFT = tuple(name for name in REQUIRED + OPTIONAL if name not in EXACT)


async def choose(
    spec: ClusterSpec,
    client: Client,
    platforms: tuple[str, ...],
    *,
    sources: Sources,
    image: Versions | None,
    listener: Listener = ignore_events,
) -> Environment:
    """Choose an environment for a client.

    Args:
        spec: What the user wants.
        client: The client.
        platforms: Of the nodes, by conda's names.
        sources: Where it may come from.
        image: What the nodes' image was baked with, or None if it has no environment.
        listener: Is told of a search, which takes seconds.

    Raises:
        BadInput: A file or a word of the user's makes no sense.
        ChannelUnreachable: A channel or index does not answer.
        EnvironmentUnavailable: There is none that fits.
        VersionMismatch: What the user named differs from the client.
        WaitTimeout: It was not found in time.
    """
    check_age(client)
    if is_plain(spec) and image is not None:
        baked = image_environment(client, image, may_differ=spec.allow_mismatch)
        if baked is not None:
            return baked
    check_releases(client, may_differ=spec.allow_mismatch)
    listener(Event(phase=Phase.SOLVE, state="start"))
    environment = await _Choice(spec, client, platforms, sources).make()
    listener(Event(phase=Phase.SOLVE, state="done", detail=describe_environment(environment)))
    return environment


def is_plain(spec: ClusterSpec) -> bool:
    """Whether an environment that the nodes' image holds will do."""
    return spec.env is None and not spec.packages and not spec.channels


def describe_environment(environment: Environment) -> str:
    """An environment in a few words, with what differs from the client."""
    words = [f"{environment.name}, Python {environment.versions.python}, dask {environment.versions.packages['dask']}"]
    words += [f"{name} {there} for {here}" for name, here, there in environment.allowed]
    return "; ".join(words)


def channels_of(names: tuple[str, ...], sources: Sources) -> Channels:
    """Open channels.

    Args:
        names: Names or URLs.
        sources: Where they are looked for.
    """
    return Channels(names, mirror=sources.mirror, cache=sources.cache / "channels", within_s=sources.within_s)


def architectures_for(spec: ClusterSpec, client: Client) -> tuple[str, ...] | None:
    """Say which processors nodes can have, by the environment that the user named.

    Args:
        spec: What the user wants.
        client: The client.

    Returns:
        What the cloud calls them; None where an environment is found for any, or for none: who chooses it says why.

    Raises:
        BadInput: The environment is neither a name nor a file that describes one.
    """
    if spec.env is None or _wish_of(spec) is not None or _wheels_of(spec) is not None:
        return None
    if spec.env in PROFILES:
        minor, locks = client.versions.python_minor, shipped_pins().locks
        platforms = {one for one in PLATFORMS.values() if lock_name(spec.env, minor, one) in locks}
    else:
        platforms = set(platforms_of(Path(spec.env)))
    return tuple(name for name, platform in PLATFORMS.items() if platform in platforms) or None


def read_environment(path: Path, platform: str) -> EnvLock:
    """Read a lock of the user's.

    Args:
        path: An explicit list, a pixi.lock or a conda-lock.yml.
        platform: Of the nodes.

    Raises:
        BadInput: It is none, not for this platform, or has a wheel that no node of it can install.
    """
    lock = read_any_lock(path, platform=platform)
    strange = [one for one in lock.packages if one.subdir not in {platform, "noarch"}]
    if lock.platform != platform or strange:
        found = strange[0].subdir if strange else lock.platform
        raise BadInput(
            f"{path} is for {found}, and nodes of {platform} are asked for: give one that was made for {platform}."
        )
    lock = evolve(lock, profile=_profile_of(path)) if lock.profile == "file" else lock
    check_wheels(lock)
    return lock


def _profile_of(path: Path) -> str:
    return re.sub("[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "file"


def _wish_of(spec: ClusterSpec) -> EnvWish | None:
    """What an environment.yml of the user's asks for, or None if there is none."""
    if spec.env is None or spec.env in PROFILES:
        return None
    path = Path(spec.env)
    text = _text_of(spec)
    return read_wish(text, source=str(path)) if kind_of(text, source=str(path)) is FileKind.WISH else None


def _wheels_of(spec: ClusterSpec) -> str | None:
    """The text of a pylock.toml of the user's, or None if there is none."""
    if spec.env is None or spec.env in PROFILES:
        return None
    text = _text_of(spec)
    return text if kind_of(text, source=spec.env) is FileKind.PYLOCK else None


def _text_of(spec: ClusterSpec) -> str:
    what = f"The environment '{spec.env}' is neither {' nor '.join(PROFILES)}, nor a file that can be read: it"
    return read_text(Path(spec.env or ""), what=what)


def _distance(one: str, other: str) -> int:
    """How many minor versions of Python lie between two."""
    return abs(int(one.partition(".")[2]) - int(other.partition(".")[2]))


def _as_in(like: EnvLock, specs: tuple[str, ...]) -> tuple[str, ...]:
    """Ask for the versions that another platform has got."""
    versions = {package.name: package.version for package in like.packages}
    names = (re.split(r"[\s=<>!~\[]", spec, maxsplit=1)[0] for spec in specs)
    return tuple(f"{name} =={versions[name]}" if name in versions else name for name in names)


class _Choice:
    """A choice that is being made.

    Args:
        spec: What the user wants.
        client: The client.
        platforms: Of the nodes.
        sources: Where it may come from.
    """

    def __init__(self, spec: ClusterSpec, client: Client, platforms: tuple[str, ...], sources: Sources) -> None:
        self._spec = spec
        self._client = client
        self._platforms = platforms
        self._sources = sources
        found = _wish_of(spec)
        self._has_wish = found is not None
        self._wheels = _wheels_of(spec)
        wish = found or EnvWish(channels=(), specs=())
        self._channel_names = spec.channels or wish.channels or (CHANNEL,)
        self._more = (*wish.specs, *(text for text in spec.packages if not text.startswith(PYPI)))
        own = (text.removeprefix(PYPI) for text in spec.packages if text.startswith(PYPI))
        own = (read_requirement(text, source="--package") for text in own)
        self._requirements = (*wish.pip, *own)
        self._cache = LockCache(sources.cache / "environments")
        self._is_solved = False

    async def make(self) -> Environment:
        """Choose for one platform after the other; those that follow have the versions of the first."""
        locks: dict[str, EnvLock] = {}
        for platform in self._platforms:
            like = next(iter(locks.values()), None)
            locks[platform] = await self._with_wheels(await self._packages(platform, like), like)
        name = next(iter(locks.values())).profile
        may_differ, soft = self._spec.allow_mismatch, _SOFT if self._is_solved else ()
        return environment_of(name, locks, self._client, may_differ=may_differ, soft=soft)

    async def _packages(self, platform: str, like: EnvLock | None) -> EnvLock:
        base = self._base(platform) if self._wheels is None else await self._under_wheels(self._wheels, platform, like)
        if base is None:
            self._is_solved = True
            return await self._solve(platform, like)
        more = self._more
        if (self._requirements or base.wheels) and "pip" not in {package.name for package in base.packages}:
            more = (*more, "pip")
        more = more if like is None else _as_in(like, more)
        return await self._add(base, more) if more else base

    async def _under_wheels(self, text: str, platform: str, like: EnvLock | None) -> EnvLock:
        """A Python of the client's version, and the wheels of a lock that has nothing else."""
        path = Path(self._spec.env or "")
        python = self._client.versions.python_minor if like is None else like.versions.python
        asked = {"bare": python, "platform": platform}
        bare = await self._answer_from_cache(
            asked, solve_bare(self._channels, python, platform=platform, profile=_profile_of(path))
        )
        wheels = read_full_pylock(text, source=str(path), python=bare.versions.python, platform=platform)
        lock = evolve(bare, profile=_profile_of(path), wheels=wheels)
        check_wheels(lock)
        return lock

    def _base(self, platform: str) -> EnvLock | None:
        """What all else is added to; None if it has to be solved."""
        minor = self._client.versions.python_minor
        if self._spec.env is None:
            if self._spec.channels and not self._spec.packages:
                return None  # who names channels, and nothing to add from them, wants all of it from there
            locks = (shipped_lock(profile, minor, platform) for profile in profiles_for(self._client))
            return next((lock for lock in locks if lock is not None and fits(self._client, lock)), None)
        if self._spec.env in PROFILES:
            return self._shipped_lock(self._spec.env, minor, platform)
        return None if self._has_wish else read_environment(Path(self._spec.env), platform)

    def _shipped_lock(self, profile: str, minor: str, platform: str) -> EnvLock:
        lock = shipped_lock(profile, minor, platform)
        if lock is None and self._spec.allow_mismatch:
            others = [one for one in shipped_locks().values() if (one.profile, one.platform) == (profile, platform)]
            lock = min(others, key=lambda one: _distance(one.versions.python_minor, minor), default=None)
        if lock is None:
            raise EnvironmentUnavailable(
                f"There is no environment '{profile}' for the Python {minor} of {self._client.path}, but"
                f" {', '.join(name for name in shipped_pins().locks if name.startswith(profile))}: use a client with"
                " the Python of one of these, or leave --env out to have one solved."
            )
        return lock

    async def _solve(self, platform: str, like: EnvLock | None) -> EnvLock:
        more = (*self._more, "pip") if self._requirements else self._more
        more = more if like is None else _as_in(like, more)
        versions = self._client.versions if like is None else like.versions
        asked: dict[str, object] = {
            "for": versions.packages,
            "python": versions.python_minor,
            "platform": platform,
            "more": more,
        }
        may_differ = self._spec.allow_mismatch
        asked |= {"differing": True} if may_differ else {}
        solving = solve_for(
            self._client, self._channels, platform=platform, versions=versions, more=more, may_differ=may_differ
        )
        return await self._answer_from_cache(asked, solving)

    async def _add(self, base: EnvLock, more: tuple[str, ...]) -> EnvLock:
        asked = {"to": base.digest, "platform": base.platform, "more": more}
        return await self._answer_from_cache(asked, add(base, more, self._channels, profile=f"{base.profile}-with"))

    async def _answer_from_cache(self, asked: Mapping[str, object], answer: Coroutine[Any, Any, EnvLock]) -> EnvLock:
        """The answer to a question that may have been asked before."""
        question = {**asked, "channels": self._channel_names, "mirror": self._sources.mirror, "tool": tool_version()}
        if (known := self._cache.read(question)) is not None:
            answer.close()
            return known
        lock = await answer
        self._cache.write(question, lock)
        return lock

    @property
    def _channels(self) -> Channels:
        return channels_of(self._channel_names, self._sources)

    async def _with_wheels(self, lock: EnvLock, like: EnvLock | None) -> EnvLock:
        if not self._requirements:
            return lock
        known = () if like is None else tuple(f"{wheel.name}=={wheel.version}" for wheel in like.wheels)
        wheels = await resolve_wheels(
            known or self._requirements,
            python=lock.versions.python,
            platform=lock.platform,
            having=pypi_versions(lock),
            within_s=self._sources.within_s,
        )
        return evolve(lock, wheels=(*lock.wheels, *wheels))
