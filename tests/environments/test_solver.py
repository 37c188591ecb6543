# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Environments for a client's versions, found in small channels by the real solver over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve
from conda_channel import add_package, reindex
from fake_channel import PLATFORMS, add, channels, client, remove
from mirror import Mirror

from scherbelberg.environments.fit import environment_of
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import shipped_lock
from scherbelberg.environments.solver import LockCache, solve_for
from scherbelberg.environments.solver import add as add_to
from scherbelberg.environments.versions import Client
from scherbelberg.errors import BadInput, ChannelUnreachable, EnvironmentUnavailable, WaitTimeout

_SOFT = ("cloudpickle", "msgpack", "toolz", "tornado", "numpy", "pandas", "lz4")


async def _solve(fake: Mirror, cache: Path, who: Client, *more: str, platform: str = "linux-64") -> EnvLock:
    return await solve_for(who, channels(fake, cache), platform=platform, more=more)


def _allowed(lock: EnvLock, who: Client) -> dict[str, str]:
    """What differs from the client, as it is shown before anything is rented."""
    environment = environment_of("solved", {"linux-64": lock}, who, may_differ=False, soft=_SOFT)
    return {name: there for name, _, there in environment.allowed}


def _versions(lock: EnvLock) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_exact_fit(fake: Mirror, tmp_path: Path, platform: str) -> None:
    """What the channel has exactly is taken exactly, with hash and address of the channel, and the dashboard's part."""
    who = client()
    lock = await _solve(fake, tmp_path, who, "pip", platform=platform)
    assert (lock.versions.packages, lock.versions.python) == (who.versions.packages, "3.13.14")
    assert {"bokeh", "pip"} <= set(_versions(lock))
    assert lock.platform == platform
    assert all(one.url.startswith("https://conda.anaconda.org/conda-forge/") for one in lock.packages)
    assert [one.subdir for one in lock.packages if one.name == "python"] == [platform]
    assert lock.specs[:3] == ("python 3.13.*", "dask-core ==2026.7.1", "distributed ==2026.7.1")
    assert _allowed(lock, who) == {}


async def test_each_comes_after_what_it_needs(fake: Mirror, tmp_path: Path) -> None:
    """Packages are in an order in which mamba can link them."""
    lock = await _solve(fake, tmp_path, client(), "more")
    names = [one.name for one in lock.packages]
    assert names.index("beneath") < names.index("more")
    assert names.index("python") < names.index("dask-core") < names.index("distributed")


async def test_other_python(fake: Mirror, tmp_path: Path) -> None:
    """Of Python the client's minor version is what counts."""
    assert (await _solve(fake, tmp_path, client("3.12.1"))).versions.python == "3.12.13"


@pytest.mark.parametrize(
    ("has", "gets"),
    [("2.4.3", "2.4.6"), ("2.4.0", "2.4.2"), ("2.3.9", "2.4.2"), ("2.9.1", "2.4.6"), ("1.20", "1.26.4")],
)
async def test_nearest_version(fake: Mirror, tmp_path: Path, has: str, gets: str) -> None:
    """A version that the channel has not is the nearest of the same major version, the newer of two, and is shown."""
    who = client(numpy=has)
    lock = await _solve(fake, tmp_path, who)
    assert lock.versions.packages["numpy"] == gets
    assert _allowed(lock, who) == {"numpy": gets}


async def test_local_version(fake: Mirror, tmp_path: Path) -> None:
    """Who allowed a version that is no release gets the release."""
    who = client(dask="2026.7.1+mine", numpy="2.4.6+cpu", own=("dask", "numpy"))
    assert (await _solve(fake, tmp_path, who)).versions.packages == client().versions.packages


async def test_one_gives_way(own_fake: Mirror, tmp_path: Path) -> None:
    """What contradicts the rest gives way alone, and no farther than it must."""
    add(own_fake.root, "demanding", "1.0", "numpy >=2.3,<2.4.5")
    await asyncio.to_thread(reindex, own_fake.root)
    who = client()
    assert _allowed(await _solve(own_fake, tmp_path, who, "demanding"), who) == {"numpy": "2.4.2"}


async def test_what_speaks_gives_way_last(own_fake: Mirror, tmp_path: Path) -> None:
    """Where one of two has to give way, it is the one that is optional and not the one that speaks over the wire."""
    add(own_fake.root, "either", "1.0", "tornado <6.5.7")
    add(own_fake.root, "either", "2.0", "numpy >=2,<2.4.6")
    await asyncio.to_thread(reindex, own_fake.root)
    who = client()
    assert _allowed(await _solve(own_fake, tmp_path, who, "either"), who) == {"numpy": "2.4.2"}


async def test_only_what_must_gives_way(own_fake: Mirror, tmp_path: Path) -> None:
    """Whatever was let go on the way to a solution comes back where it is not what stood in the way."""
    add(own_fake.root, "demanding", "1.0", "tornado >=6,<6.5.7")
    await asyncio.to_thread(reindex, own_fake.root)
    who = client(numpy="2.4.2")
    lock = await _solve(own_fake, tmp_path, who, "demanding")
    assert _allowed(lock, who) == {"tornado": "6.5.3"}
    assert "numpy ==2.4.2" in lock.specs


async def test_other_major_version(fake: Mirror, tmp_path: Path) -> None:
    """Another major version is never taken; what the channel has instead is named."""
    with pytest.raises(EnvironmentUnavailable) as caught:
        await _solve(fake, tmp_path, client(numpy="3.0.1"))
    assert caught.value.message == (
        "The channel has no numpy 3.*, and the client's Python /opt/client/bin/python has 3.0.1: install a version that"
        " it has (2.4.6, 2.4.2, 2.3.0)."
    )
    with pytest.raises(EnvironmentUnavailable, match=r"no lz4 4\.\*.*\(it has none at all\)"):
        await _solve(fake, tmp_path, client(lz4="4.4.5"))


_WAY = (
    "Before anything is rented: install what it has (pip install 'dask==2026.7.1' 'distributed==2026.7.1'), or take a"
    " shipped environment with --env main and a client that fits (in a clone of scherbelberg: pip install '.[main]')."
)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (
            client("3.15.1"),
            "no python 3.15.*, which the client's Python /opt/client/bin/python has; its newest is 3.13.14",
        ),
        (client(dask="2026.8.0", distributed="2026.8.0"), "no dask 2026.8.0, which the client's Python /opt/client"),
        (client(distributed="2026.7.2"), "no distributed 2026.7.2, which the client's Python /opt/client"),
    ],
)
async def test_not_in_channel_yet(own_fake: Mirror, tmp_path: Path, who: Client, words: str) -> None:
    """Without the client's Python, dask or distributed nothing is made: what is missing and both ways out are named."""
    add(own_fake.root, "dask-core", "2026.9.0")
    await asyncio.to_thread(reindex, own_fake.root)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await _solve(own_fake, tmp_path, who)
    message = caught.value.message
    assert words in message
    if "python 3.15" in words:
        assert "take a shipped environment with --env main and a client that fits" in message
    else:
        newest = "2026.9.0" if "no dask" in words else "2026.7.1"
        assert message.endswith(f"has; its newest is {newest}. {_WAY}")


async def test_channel_without_dask(own_fake: Mirror, tmp_path: Path) -> None:
    """Where there is no Dask at all, no version of it is advised."""
    remove(own_fake, "distributed-*")
    await asyncio.to_thread(reindex, own_fake.root)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await _solve(own_fake, tmp_path, client())
    assert "no distributed 2026.7.1" in caught.value.message
    assert "it has none at all. Before anything is rented: take a shipped environment" in caught.value.message


async def test_no_solution(fake: Mirror, tmp_path: Path) -> None:
    """What cannot be had together is told in the solver's words."""
    with pytest.raises(EnvironmentUnavailable, match="no environment with all that was asked for") as caught:
        await _solve(fake, tmp_path, client(), "ancient")
    assert "ancient" in "\n".join(caught.value.log_tail)
    assert "numpy" in "\n".join(caught.value.log_tail)
    with pytest.raises(EnvironmentUnavailable) as caught:
        await _solve(fake, tmp_path, client(), "no-such-thing >=3")
    assert any("no-such-thing >=3" in line for line in caught.value.log_tail)


async def test_no_match_spec(fake: Mirror, tmp_path: Path) -> None:
    """What asks for no package is the user's mistake."""
    with pytest.raises(BadInput, match=r"'numpy \(>' asks for no conda package .*; write NAME or 'NAME >=1\.2'"):
        await _solve(fake, tmp_path, client(), "numpy (>")
    with pytest.raises(
        BadInput, match=r"'https://a\.b/z-1\.0-0\.conda' has an address in it: name its channel with --chan"
    ):
        await _solve(fake, tmp_path, client(), "https://anna:s3cret@a.b/z-1.0-0.conda")


async def test_channel_hangs(fake: Mirror, tmp_path: Path) -> None:
    """A channel that begins to answer and stops is given up at the deadline."""
    fake.misbehave("*", hold_after=1)
    with pytest.raises(WaitTimeout, match=r"An answer of conda-forge to the question for .* within 0\.5 s"):
        await solve_for(client(), channels(fake, tmp_path, within_s=0.5), platform="linux-64")


async def test_channel_is_down(tmp_path: Path, fake_root: Path) -> None:
    """A channel that nobody answers for is an error that says what to look at."""
    with Mirror(fake_root) as gone:
        url = gone.url
    with pytest.raises(ChannelUnreachable, match="check its name, your connection, or name a mirror with --channel-mi"):
        await solve_for(client(), channels(url, tmp_path), platform="linux-64")


async def test_spoiled_answer(own_fake: Mirror, tmp_path: Path) -> None:
    """A page of a hotel's instead of an index is no channel."""
    for path in (own_fake.root / "conda-forge" / "noarch").glob("repodata*"):
        path.unlink()
    (own_fake.root / "conda-forge" / "noarch" / "repodata.json").write_text("<html>", encoding="utf-8")
    with pytest.raises(ChannelUnreachable, match=r"does not answer as it should .*expected value"):
        await _solve(own_fake, tmp_path, client())


async def test_order_of_channels(own_fake: Mirror, tmp_path: Path) -> None:
    """A package comes from the first channel that knows its name, whatever a later one has."""
    own = tmp_path / "mine"
    add_package(own, name="numpy", version="2.0.1")
    await asyncio.to_thread(reindex, own)
    (own / "conda-forge").rename(own_fake.root / "mine")
    who = client(numpy="2.0.1")
    first = channels(own_fake, tmp_path, "mine", "conda-forge")
    last = channels(own_fake, tmp_path, "conda-forge", "mine")
    lock = await solve_for(who, first, platform="linux-64")
    (numpy,) = [one.url for one in lock.packages if one.name == "numpy"]
    assert numpy.startswith("https://conda.anaconda.org/mine/noarch/numpy-2.0.1")
    assert await first.versions("numpy", platform="linux-64") == ("2.0.1",)
    assert _allowed(await solve_for(client(), first, platform="linux-64"), client()) == {"numpy": "2.0.1"}
    with pytest.raises(EnvironmentUnavailable, match=r"no numpy 1\.\*.*\(2\.0\.1\)"):
        await solve_for(client(numpy="1.26.4"), first, platform="linux-64")
    later = await solve_for(client(), last, platform="linux-64")
    (numpy,) = [one.url for one in later.packages if one.name == "numpy"]
    assert numpy.startswith("https://conda.anaconda.org/conda-forge/noarch/numpy-2.4.6")


async def test_dask_of_a_first_channel(own_fake: Mirror, tmp_path: Path) -> None:
    """Where the first channel that knows Dask has it too old, that is what is said, whatever a later one has."""
    own = tmp_path / "mine"
    add(own, "distributed", "2025.1.0")
    await asyncio.to_thread(reindex, own)
    (own / "conda-forge").rename(own_fake.root / "mine")
    with pytest.raises(EnvironmentUnavailable, match=r"no distributed 2026\.7\.1, .* its newest is 2025\.1\.0"):
        await solve_for(client(), channels(own_fake, tmp_path, "mine", "conda-forge"), platform="linux-64")


async def test_address_of_a_channel(fake: Mirror, tmp_path: Path) -> None:
    """A channel may be an address, which no mirror stands for."""
    lock = await solve_for(
        client(), channels("http://127.0.0.1:9", tmp_path, f"{fake.url}/conda-forge"), platform="linux-64"
    )
    assert all(one.url.startswith(f"{fake.url}/conda-forge/") for one in lock.packages)


async def test_addition_keeps_all(own_fake: Mirror, tmp_path: Path) -> None:
    """To a lock only what is asked for is added, and what that needs; its packages need not be in the channel."""
    base = await _solve(own_fake, tmp_path, client())
    remove(own_fake, "toolz-*")
    remove(own_fake, "numpy-2.4.6*")
    add(own_fake.root, "python", "3.13.15", subdir="linux-64")
    await asyncio.to_thread(reindex, own_fake.root)
    lock = await add_to(base, ("more",), channels(own_fake, tmp_path / "fresh"), profile="main-with")
    assert (lock.profile, lock.specs) == ("main-with", (*base.specs, "more"))
    assert set(base.packages) < set(lock.packages)
    assert {one.name for one in lock.packages} - {one.name for one in base.packages} == {"more", "beneath"}


async def test_addition_that_contradicts(fake: Mirror, tmp_path: Path) -> None:
    """What goes only with other versions than a lock's is refused in the solver's words."""
    base = await _solve(fake, tmp_path, client())
    with pytest.raises(EnvironmentUnavailable) as caught:
        await add_to(base, ("ancient",), channels(fake, tmp_path), profile="x")
    assert any("ancient" in line for line in caught.value.log_tail)


_OF_ANOTHER = client("3.11.7", dask="2026.7.0", distributed="2026.7.0")


async def test_python_that_differs(fake: Mirror, tmp_path: Path) -> None:
    """With permission the Python may be the one that was asked for, all else the client's; else both are named."""
    opened = channels(fake, tmp_path)
    lock = await solve_for(_OF_ANOTHER, opened, platform="linux-64", more=("python=3.12.*",), may_differ=True)
    assert lock.versions == evolve(_OF_ANOTHER.versions, python="3.12.13")
    with pytest.raises(EnvironmentUnavailable, match=r"The channel has no python 3\.11"):
        await solve_for(_OF_ANOTHER, opened, platform="linux-64", more=("python=3.12.*",))
    words = r"with what the client's Python /opt/.* has \(python 3\.13\.14, dask 2026\.7\.1, .* with --allow-mismatch"
    with pytest.raises(EnvironmentUnavailable, match=words):
        await solve_for(client(), opened, platform="linux-64", more=("python=3.12.*",))


@pytest.mark.parametrize(
    "who", [client(dask="2026.9.0", distributed="2026.9.0"), client(numpy="9.0"), client("3.14.1")]
)
async def test_everything_may_differ(fake: Mirror, tmp_path: Path, who: Client) -> None:
    """With permission there is an environment though the channel has not what the client has."""
    lock = await solve_for(who, channels(fake, tmp_path), platform="linux-64", may_differ=True)
    assert lock.versions.packages["dask"] == lock.versions.packages["distributed"]
    assert lock.versions.packages["toolz"] == "1.1.0"


_QUESTION = {"for": {"dask": "2026.7.1"}, "channels": ("conda-forge",)}


@pytest.fixture
def lock() -> EnvLock:
    """Any lock with records."""
    found = shipped_lock("main", "3.13", "linux-64")
    assert found is not None
    return found


def test_answer(lock: EnvLock, tmp_path: Path) -> None:
    """An answer is found again with all that its packages need, and nothing is left beside it."""
    cache = LockCache(tmp_path / "new" / "folder")
    assert cache.read(_QUESTION) is None
    cache.write(_QUESTION, lock)
    assert cache.read(dict(reversed(_QUESTION.items()))) == lock
    assert cache.read(_QUESTION | {"channels": ("other",)}) is None
    assert sorted(path.suffix for path in (tmp_path / "new" / "folder").iterdir()) == [".json", ".lock"]


def test_newer_answer(lock: EnvLock, tmp_path: Path) -> None:
    """A newer answer takes the place of an older one."""
    cache = LockCache(tmp_path)
    cache.write(_QUESTION, lock)
    cache.write(_QUESTION, evolve(lock, packages=lock.packages[:-1]))
    found = cache.read(_QUESTION)
    assert found is not None
    assert found.packages == lock.packages[:-1]


@pytest.mark.parametrize("suffix", [".lock", ".json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"# digest: 0\n@EXPLICIT\n", b"[]", b"{}"])
def test_damaged_answer(lock: EnvLock, tmp_path: Path, suffix: str, content: bytes | None) -> None:
    """An answer that was damaged or lost a part is none, and is written anew."""
    cache = LockCache(tmp_path)
    cache.write(_QUESTION, lock)
    (path,) = tmp_path.glob(f"*{suffix}")
    path.unlink() if content is None else path.write_bytes(content)
    assert cache.read(_QUESTION) is None
    cache.write(_QUESTION, lock)
    assert cache.read(_QUESTION) == lock


def test_no_folder(lock: EnvLock, tmp_path: Path) -> None:
    """Where nothing can be kept, nothing is, without complaint."""
    (tmp_path / "file").touch()
    cache = LockCache(tmp_path / "file" / "folder")
    cache.write(_QUESTION, lock)
    assert cache.read(_QUESTION) is None
