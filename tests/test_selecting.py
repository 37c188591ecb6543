# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which environment a client gets: shipped, solved in small channels over HTTP, or from a file of the user's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attrs import evolve
from conda_channel import reindex
from fake_channel import PLATFORMS, add, client
from mirror import Mirror
from simple_index import FILES, SimpleIndex

from scherbelberg import Event
from scherbelberg.environment import Client
from scherbelberg.envlock import EnvLock, write_lock, write_records
from scherbelberg.errors import BadInput, EnvironmentUnavailable, VersionMismatch
from scherbelberg.fitting import Environment, image_environment
from scherbelberg.selecting import choose
from scherbelberg.settings import Sources
from scherbelberg.shipped import shipped_lock
from scherbelberg.spec import ClusterSpec


class World:
    """A channel, and what is chosen in it."""

    def __init__(self, mirror: Mirror, cache: Path) -> None:
        self.mirror = mirror
        self.sources = Sources(cache=cache, mirror=mirror.url, within_s=30)
        self.events: list[Event] = []

    async def choose(
        self, who: Client, *platforms: str, env: str | Path | None = None, image_fits: bool = False, **wishes: object
    ) -> Environment:
        """Choose for a client, by default for one platform."""
        spec = ClusterSpec(env=None if env is None else str(env), **wishes)  # type: ignore[arg-type] # as given
        places = platforms or ("linux-64",)
        return await choose(spec, who, places, sources=self.sources, image_fits=image_fits, listener=self.events.append)


@pytest.fixture
def world(fake: Mirror, tmp_path: Path) -> World:
    """A world with a channel that is not changed."""
    return World(fake, tmp_path / "cache")


@pytest.fixture
def own_world(own_fake: Mirror, tmp_path: Path) -> World:
    """A world with a channel of the test's own."""
    return World(own_fake, tmp_path / "cache")


def _shipped(profile: str = "main", minor: str = "3.13", platform: str = "linux-64") -> EnvLock:
    lock = shipped_lock(profile, minor, platform)
    assert lock is not None
    return lock


def _fitting(lock: EnvLock, **changed: str) -> Client:
    versions = evolve(lock.versions, packages={**lock.versions.packages, **changed})
    return evolve(client(), versions=versions)


def _names(lock: EnvLock) -> set[str]:
    return {one.name for one in lock.packages}


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
async def test_shipped(world: World, minor: str) -> None:
    """A client that fits a shipped lock gets it on all platforms, the smallest that fits, and no channel is asked."""
    who = _fitting(_shipped(minor=minor))
    chosen = await world.choose(who, *PLATFORMS)
    assert chosen.locks == {platform: _shipped("main", minor, platform) for platform in PLATFORMS}
    assert (chosen.name, chosen.allowed, chosen.client) == ("main", (), who)
    assert chosen.digest("linux-aarch64") == chosen.locks["linux-aarch64"].digest
    assert world.mirror.seen == []


async def test_client_with_less(world: World) -> None:
    """Who lacks what is optional, or has another micro version of Python, gets the shipped lock as well."""
    who = _fitting(_shipped())
    packages = {name: version for name, version in who.versions.packages.items() if name not in {"pandas", "lz4"}}
    chosen = await world.choose(evolve(who, versions=evolve(who.versions, packages=packages, python="3.13.0")))
    assert chosen.name == "main"


async def test_image(world: World) -> None:
    """An image that was baked for this client is enough, unless something else is asked for."""
    who = client(own=("dask",))
    assert await world.choose(who, image_fits=True) == image_environment(who)
    assert world.events == []
    for wishes in ({"env": "main"}, {"packages": "pip"}, {"channels": "conda-forge"}):
        with pytest.raises(VersionMismatch, match="is no release"):
            await world.choose(who, image_fits=True, **wishes)


async def test_own_versions(world: World) -> None:
    """What is no release is refused before any question, and with permission the release is taken, and shown."""
    who = client(dask="2026.7.1+mine", own=("dask",))
    with pytest.raises(VersionMismatch) as caught:
        await world.choose(who)
    assert caught.value.message == (
        "dask 2026.7.1+mine of the client's Python /opt/client/bin/python is no release (it is installed to be edited,"
        " or has a local version), so no node can have the same: install a release, or allow it with --allow-mismatch."
    )
    assert caught.value.differences == (("client", "dask", "2026.7.1+mine", "-"),)
    assert world.mirror.seen == []
    assert (await world.choose(who, allow_mismatch=True)).allowed == (("dask", "2026.7.1+mine", "2026.7.1"),)


async def test_solved(world: World) -> None:
    """Any other client gets what is solved for it, the same on all platforms; what differs is told and allowed."""
    chosen = await world.choose(client(numpy="2.4.5"), *PLATFORMS)
    assert (chosen.name, chosen.allowed) == ("solved", (("numpy", "2.4.5", "2.4.6"),))
    assert {platform: lock.platform for platform, lock in chosen.locks.items()} == dict(
        zip(PLATFORMS, PLATFORMS, strict=True)
    )
    assert [event.state for event in world.events] == ["start", "done"]
    assert world.events[-1].detail == "solved, Python 3.13.14, dask 2026.7.1; numpy 2.4.6 for 2.4.5"


async def test_other_platform_follows(own_world: World) -> None:
    """A second platform gets the versions that the first one has, though the channel has others nearer for it."""
    add(own_world.mirror.root, "numpy", "2.4.5", subdir="linux-aarch64")
    await asyncio.to_thread(reindex, own_world.mirror.root)
    chosen = await own_world.choose(client(numpy="2.4.5"), *PLATFORMS)
    assert {lock.versions.packages["numpy"] for lock in chosen.locks.values()} == {"2.4.6"}


async def test_platforms_that_cannot_agree(own_world: World) -> None:
    """Where a channel has different versions for the two platforms, they are not mixed."""
    root = own_world.mirror.root
    for platform, version in (("linux-64", "4.4.5"), ("linux-aarch64", "4.4.4")):
        add(root, "lz4", version, subdir=platform)
    await asyncio.to_thread(reindex, root)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await own_world.choose(client(lz4="4.4.5"), *PLATFORMS)
    assert caught.value.message == (
        "The environment 'solved' has lz4 4.4.5 on linux-64 and 4.4.4 on linux-aarch64: nodes of different processors"
        " must have the same; use server types of one kind."
    )


async def test_asked_before(world: World, tmp_path: Path) -> None:
    """The same question is answered without a request; another client, package or list of channels is another one."""
    first = await world.choose(client())
    world.mirror.forget()
    assert await world.choose(client()) == first
    assert world.mirror.seen == []
    again = World(world.mirror, tmp_path / "cache")
    for who, wishes in (
        (client(numpy="2.4.2"), {}),
        (client("3.12.13"), {}),
        (client(), {"packages": "more"}),
        (client(), {"channels": f"{world.mirror.url}/conda-forge"}),
    ):
        world.mirror.forget()
        assert await again.choose(who, **wishes) != first  # type: ignore[arg-type] # as given
        assert world.mirror.seen != []


async def test_damaged_answer(world: World, tmp_path: Path) -> None:
    """What is kept of earlier answers is not believed when it was damaged."""
    first = await world.choose(client())
    (path,) = (tmp_path / "cache" / "environments").glob("*.lock")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("numpy-2.4.6", "numpy-2.4.2"), encoding="utf-8")
    assert await world.choose(client()) == first
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("profile", ["main", "science"])
async def test_named(world: World, profile: str) -> None:
    """An environment that was named is taken as it is."""
    chosen = await world.choose(_fitting(_shipped()), env=profile)
    assert chosen.locks == {"linux-64": _shipped(profile)}


async def test_named_for_another_client(world: World) -> None:
    """A client that differs from what was named is refused with the table, unless it is allowed."""
    who = _fitting(_shipped(), dask="2026.1.0", numpy="2.0.0")
    with pytest.raises(VersionMismatch) as caught:
        await world.choose(who, env="main")
    assert caught.value.differences == (("main", "dask", "2026.1.0", "2026.7.1"), ("main", "numpy", "2.0.0", "2.4.6"))
    assert caught.value.message == (
        "The environment 'main' has dask 2026.7.1 and the client's Python /opt/client/bin/python has 2026.1.0 (2"
        " differences in all): use a client with the same versions, leave --env out, or allow it with --allow-mismatch."
    )
    allowed = (await world.choose(who, env="main", allow_mismatch=True)).allowed
    assert allowed == (("dask", "2026.1.0", "2026.7.1"), ("numpy", "2.0.0", "2.4.6"))


async def test_named_for_another_python(world: World) -> None:
    """A Python for which nothing is shipped is told for which there is."""
    with pytest.raises(EnvironmentUnavailable) as caught:
        await world.choose(client("3.11.9"), env="science")
    assert (
        "There is no environment 'science' for the Python 3.11 of /opt/client/bin/python, but" in caught.value.message
    )
    assert "science-py312-linux-64" in caught.value.message
    assert "main-py312" not in caught.value.message


async def test_addition_to_a_shipped_lock(own_world: World) -> None:
    """What is added to a shipped lock leaves all its packages as they are, of which the channel has none."""
    for path in (own_world.mirror.root / "conda-forge").glob("*/*.conda"):
        if not path.name.startswith(("more-", "beneath-")):
            path.unlink()
    await asyncio.to_thread(reindex, own_world.mirror.root)
    chosen = await own_world.choose(_fitting(_shipped()), packages="more >=1")
    base, lock = _shipped(), chosen.locks["linux-64"]
    assert (chosen.name, lock.specs[-1]) == ("main-with", "more >=1")
    assert set(base.packages) < set(lock.packages)
    assert {(one.name, one.version) for one in set(lock.packages) - set(base.packages)} == {
        ("more", "1.0"),
        ("beneath", "0.1"),
    }


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleIndex]:
    """An index of Python packages, which is the user's."""
    running = SimpleIndex(FILES)
    for name, value in {"DEFAULT_INDEX": running.url(), "CACHE_DIR": str(tmp_path / "uv")}.items():
        monkeypatch.setenv(f"UV_{name}", value)
    yield running
    running.close()


async def test_wheels(world: World, index: SimpleIndex) -> None:
    """Packages of an index come as wheels on top, chosen for the nodes' platform, and change nothing below them."""
    chosen = await world.choose(_fitting(_shipped()), *PLATFORMS, packages=("pypi:native", "pypi:plain<1"))
    assert chosen.name == "main"
    for platform, machine in (("linux-64", "x86_64"), ("linux-aarch64", "aarch64")):
        lock = chosen.locks[platform]
        assert lock.packages == _shipped(platform=platform).packages
        assert lock.digest != _shipped(platform=platform).digest
        native, plain = lock.wheels
        assert (native.name, plain.version) == ("native", "0.9")
        assert machine in native.file_name
        assert native.sha256 == index.sha256(native.file_name)
    assert world.mirror.seen == []
    with pytest.raises(EnvironmentUnavailable, match="source-only cannot be put on nodes"):
        await world.choose(_fitting(_shipped()), packages="pypi:source-only")


async def test_wheels_bring_pip(world: World, index: SimpleIndex) -> None:
    """Where wheels are to be installed, pip is there to do it."""
    with_wheels = (await world.choose(client(), packages="pypi:plain")).locks["linux-64"]
    without = (await world.choose(client())).locks["linux-64"]
    assert _names(with_wheels) - _names(without) == {"pip"}
    assert [(one.name, one.version) for one in with_wheels.wheels] == [("plain", "1.0")]


def _write(folder: Path, lock: EnvLock, *, records: bool = True) -> Path:
    path = folder / "Mein Env.lock"
    path.write_text(write_lock(lock), encoding="utf-8")
    if records:
        path.with_suffix(".json").write_text(write_records(lock), encoding="utf-8")
    return path


async def test_own_list(world: World, tmp_path: Path) -> None:
    """A list of ours is taken as it is, with its name and its records, to which something can be added."""
    base = _shipped()
    path = _write(tmp_path, base)
    assert (await world.choose(_fitting(base), env=path)).locks == {"linux-64": base}
    more = await world.choose(_fitting(base), env=path, packages="more")
    assert set(base.packages) < set(more.locks["linux-64"].packages)
    with pytest.raises(BadInput, match=r"is for linux-64, and nodes of linux-aarch64 are asked for"):
        await world.choose(_fitting(base), "linux-aarch64", env=path)


async def test_foreign_list(world: World, tmp_path: Path) -> None:
    """A list of somebody else's is called like its file; something is added to it when the channel has its packages."""
    solved = (await world.choose(client())).locks["linux-64"]
    path = tmp_path / "My List.txt"
    path.write_text("@EXPLICIT" + write_lock(solved).partition("@EXPLICIT")[2], encoding="utf-8")
    chosen = await world.choose(client(), env=path)
    assert (chosen.name, [one.url for one in chosen.locks["linux-64"].packages]) == (
        "my-list",
        [one.url for one in solved.packages],
    )
    added = (await world.choose(client(), env=path, packages="more")).locks["linux-64"]
    assert {(one.url, one.sha256) for one in added.packages} > {(one.url, one.sha256) for one in solved.packages}


def _conda_lock(lock: EnvLock) -> str:
    rows = [
        {
            "name": one.name,
            "version": one.version,
            "manager": "conda",
            "platform": lock.platform,
            "dependencies": {},
            "url": one.url,
            "hash": {"md5": "c" * 32, "sha256": one.sha256},
            "category": "main",
            "optional": False,
        }
        for one in lock.packages
    ]
    metadata = {
        "content_hash": {lock.platform: "a" * 64},
        "channels": [{"url": "conda-forge", "used_env_vars": []}],
        "platforms": [lock.platform],
        "sources": ["environment.yml"],
    }
    return yaml.safe_dump({"version": 1, "metadata": metadata, "package": rows})


def _pixi_lock(lock: EnvLock) -> str:
    listed = [{"conda": one.url} for one in lock.packages]
    packages = [{"conda": one.url, "sha256": one.sha256, "depends": [*one.depends]} for one in lock.packages]
    environments = {"default": {"channels": [{"url": "https://a.b/c/"}], "packages": {lock.platform: listed}}}
    return yaml.safe_dump({"version": 6, "environments": environments, "packages": packages})


@pytest.mark.parametrize(("name", "write"), [("pixi.lock", _pixi_lock), ("conda-lock.yml", _conda_lock)])
async def test_locks_of_others(world: World, tmp_path: Path, name: str, write: object) -> None:
    """A lock of another tool's gives exactly its files, and is compared with the client like any other."""
    solved = (await world.choose(client())).locks["linux-64"]
    assert callable(write)
    (tmp_path / name).write_text(write(solved), encoding="utf-8")
    world.mirror.forget()
    chosen = await world.choose(client(), env=tmp_path / name)
    files = {(one.url, one.sha256) for one in chosen.locks["linux-64"].files}
    assert files == {(one.url, one.sha256) for one in solved.files}
    assert world.mirror.seen == []
    with pytest.raises(VersionMismatch):
        await world.choose(client(numpy="2.4.5"), env=tmp_path / name)


_WISH = """
name: mine
channels: [mine, conda-forge]
dependencies:
  - special
  - more >=1
  - pip
  - pip: [plain]
"""


async def test_environment_yml(own_world: World, tmp_path: Path, index: SimpleIndex) -> None:
    """An environment.yml is solved for the client's versions in its own channels, its wheels included."""
    mine = tmp_path / "mine"
    add(mine, "special", "7.0")
    await asyncio.to_thread(reindex, mine)
    (mine / "conda-forge").rename(own_world.mirror.root / "mine")
    path = tmp_path / "environment.yml"
    path.write_text(_WISH, encoding="utf-8")
    chosen = await own_world.choose(client(), env=path)
    lock = chosen.locks["linux-64"]
    assert {"special", "more", "beneath", "pip", "dask-core"} <= _names(lock)
    assert [one.url for one in lock.packages if one.name == "special"] == [
        f"https://conda.anaconda.org/mine/noarch/{path.name}"
        for path in (own_world.mirror.root / "mine" / "noarch").glob("special-*")
    ]
    assert [one.name for one in lock.wheels] == ["plain"]
    assert chosen.versions.packages == client().versions.packages
    with pytest.raises(EnvironmentUnavailable):  # what the command line says of channels wins
        await own_world.choose(client(), env=path, channels="conda-forge")


async def test_environment_yml_of_wheels_alone(world: World, tmp_path: Path, index: SimpleIndex) -> None:
    """An environment.yml may ask for nothing that is conda's."""
    path = tmp_path / "environment.yml"
    path.write_text("dependencies:\n  - pip:\n      - plain\n", encoding="utf-8")
    lock = (await world.choose(client(), env=path)).locks["linux-64"]
    assert [one.name for one in lock.wheels] == ["plain"]
    path.write_text("dependencies: []\n", encoding="utf-8")
    assert (await world.choose(client(), env=path)).locks["linux-64"].wheels == ()


async def test_environment_without_dask(world: World, tmp_path: Path) -> None:
    """Nodes without Dask are no cluster, whatever was allowed."""
    base = _shipped()
    packages = tuple(one for one in base.packages if one.name not in {"dask", "dask-core", "distributed"})
    path = _write(tmp_path, evolve(base, packages=packages))
    with pytest.raises(
        EnvironmentUnavailable, match="The environment 'main' has no dask, without which nodes are no cl"
    ):
        await world.choose(_fitting(base), env=path, allow_mismatch=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is neither main nor science, nor a file that can be read"),
        ("just: words\n", "describes no environment"),
        ("@EXPLICIT\nhttps://a.b/c/python-3-0.conda#" + "a" * 32, "is no URL with #sha256:HASH"),
        ("dependencies: [dask]\nvariables: {A: b}\n", "sets variables"),
    ],
)
async def test_no_file(world: World, tmp_path: Path, content: str | None, words: str) -> None:
    """A name that is no environment, and a file that describes none, are refused in a sentence."""
    if content is not None:
        (tmp_path / "file").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        await world.choose(client(), env=tmp_path / "file")
    assert words in caught.value.message
