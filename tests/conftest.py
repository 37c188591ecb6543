# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a sandbox, and settings that lead to it, in folders whose names are not plain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from conda_fixtures import conda_channel, mirror, own_channel, world
from description import Witness
from fake_channel import fake, fake_root, own_fake
from flake_fixtures import changed_flake, flake
from programs import need
from sandbox_helpers import Api, Machine, rent
from sandbox_orders import Ahead
from shells import Shell
from surroundings import settings_for

from scherbelberg.sandbox.faults import Faults
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread, sandbox_id
from scherbelberg.settings import Settings

__all__ = [
    "changed_flake",
    "conda_channel",
    "fake",
    "fake_root",
    "flake",
    "mirror",
    "own_channel",
    "own_fake",
    "world",
]

#: Fast, but slow enough that things still happen one after the other.
TIME_SCALE = 0.02


def pytest_collection_finish() -> None:
    """Let the garbage collector, which some tests call, pass over what lives as long as the session: syntax trees."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with spaces, umlauts and what OpenSSH would expand in its name."""
    return tmp_path / "Häuser & Höfe 100%h"


@pytest.fixture
def sandbox(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SandboxThread]:
    """An emulated cloud of the test's own, with hosts of the kind that the nearest mark ``hosts`` names."""
    witness = Witness()
    mark = request.node.get_closest_marker("hosts")
    options = Options(hosts=mark.args[0] if mark else "process", time_scale=TIME_SCALE)
    with SandboxThread(tmp_path / "sand kasten", options, witness=witness) as running:
        yield running
    assert witness.complaints == []


@pytest.fixture(scope="session")
def curl() -> str:
    """The program with which nodes download."""
    return need("curl", package="curl")


@pytest.fixture
def settings(sandbox: SandboxThread, home: Path) -> Settings:
    """Settings that lead to the test's own cloud."""
    return settings_for(sandbox, home)


@pytest.fixture(scope="module")
def emulated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's emulated cloud lives."""
    return tmp_path_factory.mktemp("cloud") / "größe und leer"


@pytest.fixture(scope="module")
def emulated(emulated_folder: Path) -> Iterator[SandboxThread]:
    """An emulated cloud for all tests of a module, which leaves no process and no file."""
    witness = Witness()
    with SandboxThread(emulated_folder, Options(time_scale=TIME_SCALE), witness=witness) as running:
        yield running
    assert witness.complaints == []
    assert marked(f"{sandbox_id(emulated_folder)}.") == []
    assert not emulated_folder.exists()


@pytest.fixture
def api(emulated: SandboxThread) -> Iterator[Api]:
    """Requests to it, with no faults set."""
    emulated.set_faults(Faults())
    client = Api(emulated.settings)
    yield client
    client.close()


@pytest.fixture(scope="module")
def machine(emulated: SandboxThread, emulated_folder: Path) -> Iterator[Machine]:
    """A machine there for tests that leave it as it was."""
    client = Api(emulated.settings)
    yield rent(client, emulated_folder)
    client.close()


@pytest.fixture
def own(api: Api, emulated_folder: Path) -> Machine:
    """A machine there of the test's own."""
    return rent(api, emulated_folder)


@pytest.fixture
def shell(settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """A shell in the test's own cloud."""
    return Shell(settings, monkeypatch, capfd)


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    """A project of the test's own without hosts, where nothing goes on by itself."""
    world = Ahead()
    yield world
    complaints = world.world.witness.complaints
    world.world.close()
    assert complaints == []
