# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A worker that stands still when it has joined."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from attrs import evolve
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, ClusterSpec
from scherbelberg.errors import WaitTimeout
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.server import SandboxThread, sandbox_id
from scherbelberg.scheduler import client
from scherbelberg.settings import Settings


async def test_worker_that_does_not_compute(sandbox: SandboxThread, settings: Settings) -> None:
    """A worker that joined and then stands still ends the create at a deadline, and everything is given back."""

    def hosts_processes() -> list[psutil.Process]:
        return list(marked(f"{sandbox_id(sandbox.sandbox.folder)}."))

    def freeze() -> None:
        for process in hosts_processes():
            if "worker000" in " ".join(process.cmdline()) or "spawn_main" in " ".join(process.cmdline()):
                process.suspend()

    def thaw() -> None:
        for process in hosts_processes():
            process.resume()

    real = client._check_versions

    async def check_then_freeze(*args: Any) -> None:
        await real(*args)
        freeze()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_check_versions", check_then_freeze)
        patch.setattr(client, "_CONNECT_S", 3)
        spec = ClusterSpec(prefix="still", workers=1, timeouts=evolve(SHORT, join=3))
        with pytest.raises(WaitTimeout, match=r"A sum on each worker .*missing worker000"):
            await Cluster.from_new(spec, settings=settings)
    thaw()
    assert (held(settings), folders(settings)) == ([], [])
