# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a cloud whose servers are booted machines, and a mirror that they reach."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import Factory, frozen
from conda_channel import Channel, borrow
from description import Witness
from environment_world import isolated
from mirror import Mirror
from programs import miss
from sandbox_helpers import Api
from session_lock import alone
from surroundings import environment_for, held, settings_for

from scherbelberg.environments import shipped
from scherbelberg.sandbox.hosts.machine.image import cache_folder, ensure_image
from scherbelberg.sandbox.hosts.machine.machine import Machine
from scherbelberg.sandbox.hosts.machine.network import GATEWAY, our_interfaces, our_namespaces
from scherbelberg.sandbox.hosts.machine.programs import PROGRAMS
from scherbelberg.sandbox.options import BaseRelease, Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.sync import Cluster

#: A computer has machines of one sandbox at a time; a module of another session takes minutes.
_TURN = Path("/run/scherbelberg-machine-tests.lock")
_TURN_S = 600
#: The release of Debian that machines boot; None for that of this computer.
BASE = cast("BaseRelease | None", os.environ.get("SCHERBELBERG_TEST_BASE"))


_COMMAND = """
import sys, pathlib
from scherbelberg.environments import shipped
share = pathlib.Path(sys.argv.pop(1))
shipped._share = lambda: share
from scherbelberg.cli import main
main()
"""


@pytest.fixture(scope="session")
def base(shared: None) -> Path:
    """The system that machines begin with."""
    if os.geteuid() != 0:
        miss("machines need root")
    if missing := sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None):
        miss(f"machines need Debian's packages {', '.join(missing)}")
    return asyncio.run(ensure_image(cache_folder(), release=BASE))


@pytest.fixture(scope="session")
def shared() -> Iterator[None]:
    """Machines see the interpreter and the tests' files: the stand-in for Miniforge's mamba is among them."""
    with pytest.MonkeyPatch.context() as patch:
        folders = {Path(path).resolve() for path in (sys.base_prefix, sys.prefix, Path(__file__).parents[2])}
        patch.setattr(Machine, "shared", tuple(sorted(folders)))
        yield


@pytest.fixture(scope="module")
def machines_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's cloud keeps its machines."""
    return tmp_path_factory.mktemp("machines") / "größe und leer"


@pytest.fixture(scope="module")
def machines(base: Path, machines_folder: Path) -> Iterator[SandboxThread]:
    """A cloud of machines for all tests of a module, which leaves nothing."""
    assert base.is_dir()
    witness, options = Witness(), Options(hosts="machine", time_scale=0.02, base=BASE)
    with alone(_TURN, patience_s=_TURN_S):
        with SandboxThread(machines_folder, options, witness=witness) as running:
            yield running
        assert witness.complaints == []
        assert (asyncio.run(our_namespaces()), asyncio.run(our_interfaces())) == ([], [])
        assert not machines_folder.exists()


@frozen(kw_only=True)
class Rented:
    """A cluster of machines, and what leads to it.

    Args:
        settings: Settings with which its client computes.
        api: Requests to its cloud.
        lock: What its environment is.
        clusters: It, once it is there.
    """

    settings: Settings
    api: Api
    lock: Path
    clusters: list[Cluster] = Factory(list)

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.clusters[0]

    def make(self, **wishes: Any) -> None:
        """Rent it."""
        self.clusters.append(Cluster.from_new(env=str(self.lock), settings=self.settings, **wishes))

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        """A command of the command line, with the pins of this process, and its environment variables."""
        line = [sys.executable, "-c", _COMMAND, str(shipped._share()), *words]
        mirrors = {"CHANNEL": self.settings.channel_mirror, "MINIFORGE": self.settings.miniforge_mirror}
        variables = {f"SCHERBELBERG_{name}_MIRROR": str(url) for name, url in mirrors.items()}
        return line, environment_for(self.settings) | variables

    def shell(self, *words: str) -> str:
        """Run a command of the command line; returns what it printed."""
        line, environ = self.command(*words)
        done = subprocess.run(line, env=environ, check=False, capture_output=True, encoding="utf-8", timeout=120)
        assert done.returncode == 0, done
        return done.stdout

    def run(self, node: str, command: str) -> str:
        """Run a command as root; returns what it printed."""
        done = self.cluster.node(node).run(command)
        assert done.exit_code == 0, done
        return done.stdout.strip()

    def order(self, node: str, action: str) -> None:
        """Have the cloud do something with a node's server."""
        self.api.done(self.api("POST", f"/servers/{self._row(node)['id']}/actions/{action}").body["action"])

    def address(self, node: str) -> str:
        """A node's public address."""
        return str(self._row(node)["public_net"]["ipv4"]["ip"])

    def _row(self, node: str) -> dict[str, Any]:
        (row,) = [one for one in self.api("GET", "/servers").body["servers"] if one["labels"].get("node") == node]
        return dict(row)


@contextmanager
def prepared(machines: SandboxThread, channel: Channel, folder: Path) -> Iterator[Rented]:
    """Have all that a cluster on bare machines needs, whose environments come from a mirror at an address they see.

    Args:
        machines: The cloud.
        channel: What the mirror has.
        folder: A new one.
    """
    folder.mkdir()
    copy = borrow(channel, folder / "mirrored")
    with pytest.MonkeyPatch.context() as patch, Mirror(copy.root, address=str(GATEWAY)) as mirror:
        there = settings_for(machines, folder / "Häuser & Höfe 100%h")
        settings = isolated(there, copy, mirror, patch, folder / "share")
        rented = Rented(settings=settings, api=Api(machines.settings), lock=folder / "mein env.lock")
        rented.shell("env", "lock", "-o", str(rented.lock), f"--channel-mirror={mirror.url}")
        yield rented
        assert held(settings) == []
        rented.api.close()


@contextmanager
def renting(machines: SandboxThread, channel: Channel, folder: Path, **wishes: Any) -> Iterator[Rented]:
    """Rent a cluster on bare machines.

    Args:
        machines: The cloud.
        channel: What the mirror has.
        folder: A new one.
        wishes: What the cluster shall be.
    """
    with prepared(machines, channel, folder) as rented:
        rented.make(**wishes)
        yield rented
        rented.cluster.destroy()


@pytest.fixture(scope="module")
def rented(
    machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rented]:
    """A cluster of a scheduler and two workers."""
    with renting(machines, conda_channel, tmp_path_factory.mktemp("rented") / "plain", workers=2) as cluster:
        yield cluster
