# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which environment a client gets: shipped, named, or solved in small channels over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve
from choosing_world import World, fitting, index, names, own_world, shipped, world
from conda_channel import reindex
from fake_channel import PLATFORMS, add, client
from simple_index import SimpleIndex

from scherbelberg.environments.fit import image_environment
from scherbelberg.errors import EnvironmentUnavailable, VersionMismatch

__all__ = ["index", "own_world", "world"]


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
async def testshipped(world: World, minor: str) -> None:
    """A client that fits a shipped lock gets it on all platforms, the smallest that fits, and no channel is asked."""
    who = fitting(shipped(minor=minor))
    chosen = await world.choose(who, *PLATFORMS)
    assert chosen.locks == {platform: shipped("main", minor, platform) for platform in PLATFORMS}
    assert (chosen.name, chosen.allowed, chosen.client) == ("main", (), who)
    assert chosen.digest("linux-aarch64") == chosen.locks["linux-aarch64"].digest
    assert world.mirror.seen == []


async def test_client_with_less(world: World) -> None:
    """Who lacks what is optional, or has another micro version of Python, gets the shipped lock as well."""
    who = fitting(shipped())
    packages = {name: version for name, version in who.versions.packages.items() if name not in {"pandas", "lz4"}}
    chosen = await world.choose(evolve(who, versions=evolve(who.versions, packages=packages, python="3.13.0")))
    assert chosen.name == "main"


async def test_image(world: World) -> None:
    """An image that was baked for this client is enough, unless something else is asked for."""
    who = client(own=("dask",))
    assert await world.choose(who, image=who.versions) == image_environment(who, who.versions)
    assert world.events == []
    for wishes in ({"env": "main"}, {"packages": "pip"}, {"channels": "conda-forge"}):
        with pytest.raises(VersionMismatch, match="is no release"):
            await world.choose(who, image=who.versions, **wishes)


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
    chosen = await world.choose(fitting(shipped()), env=profile)
    assert chosen.locks == {"linux-64": shipped(profile)}


async def test_named_for_another_client(world: World) -> None:
    """A client that differs from what was named is refused with the table, unless it is allowed."""
    who = fitting(shipped(), dask="2026.6.0", numpy="2.0.0")
    with pytest.raises(VersionMismatch) as caught:
        await world.choose(who, env="main")
    assert caught.value.differences == (("main", "dask", "2026.6.0", "2026.7.1"), ("main", "numpy", "2.0.0", "2.4.6"))
    assert caught.value.message == (
        "The environment 'main' has dask 2026.7.1 and the client's Python /opt/client/bin/python has 2026.6.0 (2"
        " differences in all): use a client with the same versions, leave --env out, or allow it with --allow-mismatch."
    )
    allowed = (await world.choose(who, env="main", allow_mismatch=True)).allowed
    assert allowed == (("dask", "2026.6.0", "2026.7.1"), ("numpy", "2.0.0", "2.4.6"))


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
    chosen = await own_world.choose(fitting(shipped()), packages="more >=1")
    base, lock = shipped(), chosen.locks["linux-64"]
    assert (chosen.name, lock.specs[-1]) == ("main-with", "more >=1")
    assert set(base.packages) < set(lock.packages)
    assert {(one.name, one.version) for one in set(lock.packages) - set(base.packages)} == {
        ("more", "1.0"),
        ("beneath", "0.1"),
    }


async def test_wheels(world: World, index: SimpleIndex) -> None:
    """Packages of an index come as wheels on top, chosen for the nodes' platform, and change nothing below them."""
    chosen = await world.choose(fitting(shipped()), *PLATFORMS, packages=("pypi:native", "pypi:plain<1"))
    assert chosen.name == "main"
    for platform, machine in (("linux-64", "x86_64"), ("linux-aarch64", "aarch64")):
        lock = chosen.locks[platform]
        assert lock.packages == shipped(platform=platform).packages
        assert lock.digest != shipped(platform=platform).digest
        native, plain = lock.wheels
        assert (native.name, plain.version) == ("native", "0.9")
        assert machine in native.file_name
        assert native.sha256 == index.sha256(native.file_name)
    assert world.mirror.seen == []
    with pytest.raises(EnvironmentUnavailable, match="source-only cannot be put on nodes"):
        await world.choose(fitting(shipped()), packages="pypi:source-only")


async def test_wheels_bring_pip(world: World, index: SimpleIndex) -> None:
    """Where wheels are to be installed, pip is there to do it."""
    with_wheels = (await world.choose(client(), packages="pypi:plain")).locks["linux-64"]
    without = (await world.choose(client())).locks["linux-64"]
    assert names(with_wheels) - names(without) == {"pip"}
    assert [(one.name, one.version) for one in with_wheels.wheels] == [("plain", "1.0")]


async def test_named_for_another_python_with_permission(world: World) -> None:
    """With permission a shipped environment of the nearest Python is taken, and the difference is told."""
    chosen = await world.choose(client("3.11.7"), env="main", allow_mismatch=True)
    assert chosen.versions.python_minor == "3.12"
    assert chosen.allowed[0][:2] == ("python", "3.11.7")
