# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Environments from the user's own files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from attrs import evolve
from choosing_world import World, fitting, index, names, own_world, shipped, world
from conda_channel import reindex
from fake_channel import add, client
from simple_index import SimpleIndex

from scherbelberg.environments.lock import EnvLock, Wheel, write_lock, write_records
from scherbelberg.errors import BadInput, EnvironmentUnavailable, VersionMismatch

__all__ = ["index", "own_world", "world"]


def _write(folder: Path, lock: EnvLock, *, records: bool = True) -> Path:
    path = folder / "Mein Env.lock"
    path.write_text(write_lock(lock), encoding="utf-8")
    if records:
        path.with_suffix(".json").write_text(write_records(lock), encoding="utf-8")
    return path


async def test_own_list(world: World, tmp_path: Path) -> None:
    """A list of ours is taken as it is, with its name and its records, to which something can be added."""
    base = shipped()
    path = _write(tmp_path, base)
    assert (await world.choose(fitting(base), env=path)).locks == {"linux-64": base}
    more = await world.choose(fitting(base), env=path, packages="more")
    assert set(base.packages) < set(more.locks["linux-64"].packages)
    with pytest.raises(BadInput, match=r"is for linux-64, and nodes of linux-aarch64 are asked for"):
        await world.choose(fitting(base), "linux-aarch64", env=path)


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


async def test_list_of_another_platform(world: World, tmp_path: Path) -> None:
    """A list that does not say its platform says it by its packages; one of somebody's own computer is refused."""
    text = "@EXPLICIT" + write_lock(shipped()).partition("@EXPLICIT")[2]
    path = tmp_path / "list.txt"
    path.write_text(text.replace("/linux-64/", "/osx-arm64/"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"list\.txt is for osx-arm64, and nodes of linux-64 are asked for"):
        await world.choose(fitting(shipped()), env=path)


async def test_list_with_wheels_and_no_pip(world: World, tmp_path: Path) -> None:
    """Where wheels are to be installed there has to be pip, which is added where it is missing."""
    base = shipped()
    wheel = Wheel(name="plain", version="1.0", url="https://a.b/plain-1.0-py3-none-any.whl", sha256="0" * 64)
    packages = tuple(one for one in base.packages if one.name != "pip")
    path = _write(tmp_path, evolve(base, packages=packages, wheels=(wheel,)))
    lock = (await world.choose(fitting(base), env=path)).locks["linux-64"]
    assert ("pip" in {one.name for one in lock.packages}, lock.wheels) == (True, (wheel,))


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
async def test_locks_of_others(world: World, tmp_path: Path, name: str, write: Callable[[EnvLock], str]) -> None:
    """A lock of another tool's gives exactly its files, and is compared with the client like any other."""
    solved = (await world.choose(client())).locks["linux-64"]
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
    assert {"special", "more", "beneath", "pip", "dask-core"} <= names(lock)
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
    base = shipped()
    packages = tuple(one for one in base.packages if one.name not in {"dask", "dask-core", "distributed"})
    path = _write(tmp_path, evolve(base, packages=packages))
    with pytest.raises(
        EnvironmentUnavailable, match="The environment 'main' has no dask, without which nodes are no cl"
    ):
        await world.choose(fitting(base), env=path, allow_mismatch=True)


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


def _pylock(*names: str, head: str = "", more: str = "") -> str:
    """A pylock.toml with what a client needs."""
    versions = {name: version for name, version in client().versions.packages.items() if name not in names}
    rows = [
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{{ url = "https://files.example/{name}-{version}'
        f'-py3-none-any.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]\n'
        for name, version in versions.items()
    ]
    return f'lock-version = "1.0"\n{head}' + "".join(rows) + more


async def test_pylock(world: World, tmp_path: Path) -> None:
    """A pylock.toml gives all of its wheels, over a Python of the client's version and pip."""
    path = tmp_path / "pylock.toml"
    path.write_text(_pylock(), encoding="utf-8")
    chosen = await world.choose(client(), env=path)
    lock = chosen.locks["linux-64"]
    assert names(lock) == {"python", "pip"}
    assert chosen.versions == client().versions
    path.write_text(_pylock("toolz"), encoding="utf-8")
    with pytest.raises(VersionMismatch, match="has toolz -"):
        await world.choose(client(), env=path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_pylock().replace('"1.0"', '"2.0"'), "of version 2.0, and this scherbelberg knows 1"),
        (_pylock(head='requires-python = ">=3.14"\n'), "is for Python >=3.14"),
        (_pylock(head="environments = [\"sys_platform == 'win32'\"]\n"), "is not for Python 3.13.14 on linux-64"),
        (
            _pylock(more='[[packages]]\nname = "Toolz"\nversion = "1"\n'),
            r"has toolz twice for the same nodes, in line \d+ and in line \d+",
        ),
        (_pylock(more='[[packages]]\nname = "x"\nmarker = "what"\n'), "makes no sense"),
        (
            _pylock(more='[[packages]]\nname = "x"\nversion = "1"\nsdist = { url = "https://a.b/x.tar.gz" }\n'),
            "x 1 has no wheel",
        ),
        (_pylock(more="[[packages]\n"), "cannot be read as TOML"),
        (_pylock(more="[[packages]]\nname = 7\n"), "makes no sense"),
        (_pylock(more='[[packages]]\nname = "scherbelberg"\n'), "asks for scherbelberg"),
    ],
)
async def test_refused_pylock(world: World, tmp_path: Path, text: str, words: str) -> None:
    """What of a pylock.toml nodes cannot have is refused."""
    path = tmp_path / "pylock.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((BadInput, EnvironmentUnavailable), match=words):
        await world.choose(client(), env=path)


async def test_markers_of_a_pylock(world: World, tmp_path: Path) -> None:
    """What a pylock.toml has for other systems is not for nodes."""
    path = tmp_path / "pylock.toml"
    more = """[[packages]]\nname = "x"\nmarker = "sys_platform == 'win32' or 'y' in extras"\n"""
    path.write_text(_pylock(more=more), encoding="utf-8")
    lock = (await world.choose(client(), env=path)).locks["linux-64"]
    assert {one.name for one in lock.wheels} == set(client().versions.packages)
