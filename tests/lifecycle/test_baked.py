# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the sandbox's image holds, it says itself; a client that has changed since is refused in the plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from drift import Drift, drifting
from fake_channel import client
from shells import Shell
from surroundings import folders, held, settings_for

from scherbelberg import ClusterSpec
from scherbelberg.cloud.emulated import ANSWER, is_emulated
from scherbelberg.environments.fit import IMAGE, check_unchanged
from scherbelberg.environments.interpreter import folder_digest, own_client, own_versions
from scherbelberg.environments.versions import Baked, Client, baked_in, baked_labels
from scherbelberg.errors import VersionMismatch
from scherbelberg.lifecycle.order import plan_now
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

#: Nothing listens there: an environment that has to be solved cannot be had.
_NOBODY = "http://127.0.0.1:9"
_AGAIN = "by 'eval \"$(scherbelberg sandbox stop)\"' and 'eval \"$(scherbelberg sandbox start)\"'."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """A sandbox whose answers change."""
    with drifting(tmp_path_factory.mktemp("baked")) as found:
        yield found


@pytest.fixture
def around(world: tuple[SandboxThread, Drift], tmp_path: Path) -> Iterator[Settings]:
    """Settings that lead there, and to no channel."""
    world[1].forget()
    found = evolve(settings_for(world[0], tmp_path / "home"), channel_mirror=_NOBODY)
    yield found
    world[1].forget()
    assert (held(found), folders(found)) == ([], [])


def _changed(**packages: str) -> Client:
    """This program with other packages than the sandbox was started with."""
    who = own_client()
    return evolve(who, versions=evolve(who.versions, packages={**who.versions.packages, **packages}))


async def test_the_image_says_it(around: Settings) -> None:
    """A client with the versions that the image names needs no other environment."""
    _, environment = await plan_now(around, ClusterSpec(), own_client())
    assert environment.name == IMAGE


async def test_a_cloud_on_this_computer(world: tuple[SandboxThread, Drift], around: Settings) -> None:
    """An API on this computer whose images say nothing is a cloud: its nodes get an environment as anywhere."""
    world[1].change = lambda kind, row: row["labels"].clear() if kind == "images" else None
    try:
        _, environment = await plan_now(around, ClusterSpec(), own_client())
    except Exception as error:  # noqa: BLE001 - there is no channel here
        assert "127.0.0.1:9" in str(error)  # noqa: PT017 - one of two good ends
    else:
        assert environment.name != IMAGE
        assert environment.locks


@pytest.mark.parametrize("more", [(), ("worker", "cax11")])
async def test_client_changed(around: Settings, more: tuple[str, ...]) -> None:
    """What was installed here since the sandbox was started is named in the plan, with the way to start it again."""
    spec = ClusterSpec(**dict([more] if more else []))  # type: ignore[arg-type]
    with pytest.raises(VersionMismatch) as caught:
        await plan_now(around, spec, _changed(lz4="99.1", tornado="98.0"))
    tornado = own_versions().packages["tornado"]
    assert caught.value.message.startswith(
        f"The environment of {sys.executable} has changed since the sandbox was started with it:"
        f" tornado is 98.0 and was {tornado}, lz4 "
    )
    assert caught.value.message.endswith(f". Start the sandbox again, with all that it holds, {_AGAIN}")
    assert ("image", "tornado", "98.0", tornado) in caught.value.differences


def test_words() -> None:
    """New, gone and changed packages are told apart; another environment's changes are its own business."""
    before = client(numpy="2.4.6")
    packages = {name: text for name, text in before.versions.packages.items() if name != "numpy"}
    now = evolve(before, versions=evolve(before.versions, packages=packages | {"lz4": "4.4.5", "dask": "2027.1.0"}))
    baked = Baked(versions=before.versions, folder="here")
    with pytest.raises(VersionMismatch, match=r"dask is 2027.1.0 and was .*, numpy 2.4.6 is gone, lz4 4.4.5 is new"):
        check_unchanged(now, baked, folder="here")
    check_unchanged(now, baked, folder="elsewhere")
    check_unchanged(before, baked, folder="here")


def test_labels() -> None:
    """What an image says of its environment is read as it was written, whatever versions are called."""
    versions = evolve(own_versions(), packages={**own_versions().packages, "dask": "2026.8.0+3.gabc"})
    baked = Baked(versions=versions, folder=folder_digest(sys.executable))
    labels = baked_labels(baked)
    assert baked_in(labels | {"other": "label"}) == baked
    assert all(len(text) <= 63 and "+" not in text for text in labels.values())
    assert baked_in({}) is None
    assert baked_in(labels | {"baked/dask": "2026.9.0"}) is None


def test_folder(tmp_path: Path) -> None:
    """The programs of one environment stand in one folder; a link to its Python from elsewhere is another one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert folder_digest(tmp_path / "a/python") == folder_digest(tmp_path / "b/python3")
    assert folder_digest(tmp_path / "a/python") != folder_digest(tmp_path / "python")


def test_who_it_is(world: tuple[SandboxThread, Drift], around: Settings) -> None:
    """The sandbox says what it is to everybody; an address on this computer alone says nothing."""
    assert ANSWER == {"sandbox": "scherbelberg"}
    assert is_emulated(around.access)
    assert not is_emulated(evolve(around.access, endpoint="http://127.0.0.1:9/v1"))
    assert not is_emulated(evolve(around.access, endpoint="https://cloud.example/v1"))


@pytest.mark.hosts("scripted")
def test_doctor(shell: Shell, sandbox: SandboxThread) -> None:
    """`doctor` says it as well, before anybody makes a plan."""
    was = own_versions()
    earlier = evolve(was, packages={**was.packages, "tornado": "1.0"})
    labels = baked_labels(Baked(versions=earlier, folder=folder_digest(sys.executable)))
    sandbox.sandbox.project.label_images(labels)
    code, output, _ = shell("doctor")
    text = " ".join(output.split())
    assert code == 7
    assert f"tornado is {was.packages['tornado']} and was 1.0" in text
    assert "sandbox stop" in text
    code, _, complaints = shell("create", "--plan")
    assert (code, complaints.count("has changed since the sandbox was started")) == (7, 1)
