# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A channel of packages with nothing in them, with a Python and a Dask that fit a client; and that client."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conda_channel import NAME, add_package, reindex
from mirror import Mirror

from scherbelberg.environments.channels import Channels
from scherbelberg.environments.versions import Client, Versions

PLATFORMS = ("linux-64", "linux-aarch64")
#: What the client has, and the channel too; no shipped lock has all of it.
HAD = {
    "dask": "2026.7.1",
    "distributed": "2026.7.1",
    "cloudpickle": "3.1.1",
    "msgpack": "1.2.1",
    "toolz": "1.1.0",
    "tornado": "6.5.7",
    "numpy": "2.4.6",
}
_DASK = ("2026.7.1", "2026.7.0")
_SOFT = {
    "cloudpickle": ("3.1.1", "3.0.0"),
    "msgpack-python": ("1.2.1", "1.1.0"),
    "toolz": ("1.1.0", "1.0.0"),
    "tornado": ("6.5.7", "6.5.3", "6.4.0", "5.1.0"),
    "numpy": ("2.4.6", "2.4.2", "2.3.0", "1.26.4"),
    "bokeh": ("3.9.1",),
    "pip": ("26.1",),
}


def client(python: str = "3.13.14", *, own: Sequence[str] = (), **packages: str | None) -> Client:
    """Describe a client that has what the channel has, but for what is said; None takes a package away."""
    found = {name: version for name, version in (HAD | packages).items() if version is not None}
    versions = Versions(python=python, packages=found)
    return Client(versions=versions, path="/opt/client/bin/python", source="the test", editable_packages=tuple(own))


def add(root: Path, name: str, version: str, *needs: str, subdir: str = "noarch") -> Path:
    """Add a package with nothing in it; ``reindex`` lets others find it."""
    build = "py_0" if any(need.split()[0] == "python" for need in needs) and subdir == "noarch" else "0"
    return add_package(root, name=name, version=version, build=build, depends=needs, subdir=subdir)


def fill(root: Path, *, dask: Sequence[str] = _DASK) -> None:
    """Make the channel."""
    for platform in PLATFORMS:
        for version in ("3.13.14", "3.12.13"):
            add(root, "python", version, subdir=platform)
    for version in dask:
        add(root, "dask-core", version, "python >=3.11", "toolz")
        wire = ("cloudpickle", "msgpack-python", "tornado >=6")
        add(root, "distributed", version, "python >=3.11", f"dask-core {version}", *wire)
    for name, versions in _SOFT.items():
        for version in versions:
            add(root, name, version)
    add(root, "more", "1.0", "python >=3.11", "numpy >=2", "beneath")
    add(root, "beneath", "0.1")
    add(root, "ancient", "1.0", "numpy <2")
    reindex(root)


@pytest.fixture(scope="session")
def fake_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that such a channel is in, not to be changed."""
    root = tmp_path_factory.mktemp("fake")
    fill(root)
    return root


@pytest.fixture
def fake(fake_root: Path) -> Iterator[Mirror]:
    """A server of it."""
    with Mirror(fake_root) as running:
        yield running


@pytest.fixture
def own_fake(fake_root: Path, tmp_path: Path) -> Iterator[Mirror]:
    """A server of a channel of the test's own, where packages may be added and removed; `reindex` follows."""
    root = tmp_path / "own fake"
    shutil.copytree(fake_root, root)
    with Mirror(root) as running:
        yield running


def remove(mirror: Mirror, pattern: str) -> None:
    """Take packages out of a channel of the test's own."""
    gone = [*(mirror.root / NAME).glob(f"*/{pattern}")]
    assert gone, pattern
    for path in gone:
        path.unlink()


def channels(mirror: Mirror | str, cache: Path, *names: str, within_s: float = 30) -> Channels:
    """Open channels of a mirror."""
    url = mirror if isinstance(mirror, str) else mirror.url
    return Channels(names or (NAME,), mirror=url, cache=cache, within_s=within_s)
