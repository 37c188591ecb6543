# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where environments are chosen: a small channel over HTTP, an index of Python packages, and clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from fake_channel import client
from mirror import Mirror
from simple_index import FILES, SimpleIndex

from scherbelberg import Event
from scherbelberg.environments.choose import choose
from scherbelberg.environments.fit import Environment
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import shipped_lock
from scherbelberg.environments.versions import Client, Versions
from scherbelberg.settings import Sources
from scherbelberg.spec.model import ClusterSpec


class World:
    """A channel, and what is chosen in it."""

    def __init__(self, mirror: Mirror, cache: Path) -> None:
        self.mirror = mirror
        self.sources = Sources(cache=cache, mirror=mirror.url, within_s=30)
        self.events: list[Event] = []

    async def choose(
        self,
        who: Client,
        *platforms: str,
        env: str | Path | None = None,
        image: Versions | None = None,
        **wishes: object,
    ) -> Environment:
        """Choose for a client, by default for one platform."""
        spec = ClusterSpec(env=None if env is None else str(env), **wishes)  # type: ignore[arg-type] # as given
        places = platforms or ("linux-64",)
        return await choose(spec, who, places, sources=self.sources, image=image, listener=self.events.append)


@pytest.fixture
def world(fake: Mirror, tmp_path: Path) -> World:
    """A world with a channel that is not changed."""
    return World(fake, tmp_path / "cache")


@pytest.fixture
def own_world(own_fake: Mirror, tmp_path: Path) -> World:
    """A world with a channel of the test's own."""
    return World(own_fake, tmp_path / "cache")


def shipped(profile: str = "main", minor: str = "3.13", platform: str = "linux-64") -> EnvLock:
    """A shipped lock."""
    lock = shipped_lock(profile, minor, platform)
    assert lock is not None
    return lock


def fitting(lock: EnvLock, **changed: str) -> Client:
    """A client that has the versions of a lock, but for some."""
    versions = evolve(lock.versions, packages={**lock.versions.packages, **changed})
    return evolve(client(), versions=versions)


def names(lock: EnvLock) -> set[str]:
    """Names of a lock's packages."""
    return {one.name for one in lock.packages}


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleIndex]:
    """An index of Python packages, which is the user's."""
    running = SimpleIndex(FILES)
    for name, value in {"DEFAULT_INDEX": running.url(), "CACHE_DIR": str(tmp_path / "uv")}.items():
        monkeypatch.setenv(f"UV_{name}", value)
    yield running
    running.close()
