# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is asked for a client, and what fits it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from attrs import evolve
from fake_channel import client

from scherbelberg.environments.fit import (
    LEAST_DASK,
    LEAST_PYTHON,
    any_of_major,
    check_age,
    check_releases,
    environment_of,
    exact_specs,
    fits,
    image_environment,
    relaxable_pins,
    relaxed_spec,
    unsolvable,
)
from scherbelberg.environments.lock import EnvLock, Package
from scherbelberg.environments.versions import baked_digest
from scherbelberg.errors import EnvironmentUnavailable, VersionMismatch


def _lock(platform: str = "linux-64", **changed: str) -> EnvLock:
    names = {"dask": "dask-core", "msgpack": "msgpack-python"}
    versions = {"python": "3.13.1", **client().versions.packages, **changed}
    stems = [f"{names.get(name, name)}-{version}-0" for name, version in versions.items()]
    packages = [Package(url=f"https://a.b/c/{platform}/{stem}.conda", sha256="0" * 64) for stem in stems]
    return EnvLock(profile="main", platform=platform, packages=tuple(packages))


def test_asked_for() -> None:
    """Python's minor version, dask and distributed are asked for first and last, the rest as long as it can be."""
    versions = client("3.12.1", dask="2026.7.1+mine", numpy="2.4.6+cpu").versions
    assert exact_specs(versions) == ("python 3.12.*", "dask-core ==2026.7.1", "distributed ==2026.7.1")
    soft = {"cloudpickle": "3.1.1", "msgpack": "1.2.1", "toolz": "1.1.0", "tornado": "6.5.7", "numpy": "2.4.6"}
    assert relaxable_pins(versions) == soft
    assert (relaxed_spec("msgpack", "1.2.1"), any_of_major("msgpack", "1.2.1")) == (
        "msgpack-python ==1.2.1",
        "msgpack-python 1.*",
    )


def test_fits() -> None:
    """A lock fits that has all that the client has; what is no release fits nothing."""
    assert fits(client(), _lock())
    assert fits(client(numpy=None), _lock())
    assert fits(client(), _lock(pandas="3.0"))
    assert not fits(client(pandas="3.0"), _lock())
    assert not fits(client(tornado="6.5.6"), _lock())
    assert not fits(client("3.12.1"), _lock())
    assert not fits(client(own=("dask",)), _lock())


def test_releases() -> None:
    """What is no release is refused, unless it is allowed."""
    check_releases(client(), may_differ=False)
    check_releases(client(own=("dask",)), may_differ=True)
    with pytest.raises(VersionMismatch, match=r"dask 2026\.7\.1 of the client's Python .* is no release"):
        check_releases(client(own=("dask",)), may_differ=False)


@pytest.mark.parametrize(
    ("python", "dask", "words"),
    [
        ("3.10.14", "2026.7.1", "has Python 3.10.14, and Python 3.11 is the oldest"),
        ("3.13.1", "2026.5.0", "has dask 2026.5.0, and dask 2026.6 is the oldest"),
        ("3.13.1", "2025.12.0", "has dask 2025.12.0"),
    ],
)
def test_old_clients(python: str, dask: str, words: str) -> None:
    """A client that is too old for what nodes run is refused before anything is rented."""
    with pytest.raises(EnvironmentUnavailable, match=re.escape(words)):
        check_age(client(python, dask=dask))


def test_oldest_clients() -> None:
    """The oldest that are accepted are those of pyproject.toml."""
    check_age(client("3.11.0", dask="2026.6.0"))
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={'.'.join(map(str, LEAST_PYTHON))}"
    assert f"dask>={'.'.join(map(str, LEAST_DASK))}" in project["dependencies"]


def test_what_may_differ() -> None:
    """Of what was solved only what is soft may differ; with permission everything."""
    who = client(dask="1", numpy="2.0")
    with pytest.raises(VersionMismatch) as caught:
        environment_of("x", {"linux-64": _lock()}, who, may_differ=False, soft=("numpy",))
    assert caught.value.differences == (("x", "dask", "1", "2026.7.1"),)
    allowed = environment_of("x", {"linux-64": _lock()}, client(numpy="2.0"), may_differ=False, soft=("numpy",)).allowed
    assert allowed == (("numpy", "2.0", "2.4.6"),)
    assert len(environment_of("x", {"linux-64": _lock()}, who, may_differ=True).allowed) == 2


def test_digests() -> None:
    """Each platform has its lock's digest; an image has that of the client's versions on all."""
    locks = {platform: _lock(platform) for platform in ("linux-64", "linux-aarch64")}
    environment = environment_of("x", locks, client(), may_differ=False)
    assert environment.digests == {platform: lock.digest for platform, lock in locks.items()}
    image = image_environment(client(), client().versions)
    assert image is not None
    assert image.digests == {"image": baked_digest(client().versions)}
    assert {image.digest(platform) for platform in locks} == set(image.digests.values())
    other = image_environment(evolve(client(), path="/other"), client().versions)
    assert other is not None
    assert other.digests == image.digests


def test_image_of_another_python() -> None:
    """An image with other versions fits where they may differ, and then it is these that nodes have."""
    theirs = evolve(client().versions, python="3.14.2")
    assert image_environment(client(), theirs) is None
    image = image_environment(client(), theirs, may_differ=True)
    assert image is not None
    assert image.versions == theirs
    assert image.digests == {"image": baked_digest(theirs)}
    assert image.allowed == (("python", client().versions.python, "3.14.2"),)


def test_solvers_words() -> None:
    """Of the solver's words the last lines that are not empty are shown."""
    error = unsolvable("\n".join(f"line {number}\n" for number in range(30)))
    assert error.log_tail == tuple(f"line {number}" for number in range(10, 30))
