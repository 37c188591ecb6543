# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is left of a sandbox that was killed: no machine runs on, and the next one finds a clean computer."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from machine_fixtures import BASE
from sandbox_helpers import Api, Waiter, rent

from scherbelberg.sandbox.daemon import read_state, start, status, stop
from scherbelberg.sandbox.hosts.machine import cgroups, network
from scherbelberg.sandbox.options import Options

pytest_plugins = ("machine_fixtures",)


def test_killed_sandbox(base: Path, tmp_path: Path) -> None:
    """A sandbox that is killed takes its machines with it, and the next start removes networks, mounts and groups."""
    assert base.is_dir()
    folder, options = tmp_path / "erster", Options(hosts="machine", time_scale=0.02, base=BASE)
    api = Api(start(folder, options))
    rent(api, folder)
    api.close()
    state = read_state(folder)
    assert state is not None
    process = state.process()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    Waiter().wait(lambda: status(folder) is None, what="the sandbox's end")
    assert cgroups.group_names()
    second = tmp_path / "zweiter"
    start(second, options)
    assert (cgroups.group_names(), network.mounted_machines(), asyncio.run(network.our_namespaces())) == (set(), [], [])
    assert asyncio.run(network.our_interfaces()) == ["sbg-public"]
    assert stop(second)
    assert asyncio.run(network.our_interfaces()) == []
    assert stop(folder)
    assert not folder.exists()
