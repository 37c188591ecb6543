# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""dask-cloudprovider's HetznerCluster as a stranger: what it asks of the API, and what the API of 2026 makes of it."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sandbox_helpers import WITHIN_S, Api

from scherbelberg.sandbox.addresses import free_port
from scherbelberg.sandbox.server import SandboxThread

pytestmark = pytest.mark.hosts("scripted")

#: What it asks for each machine: the order, its number, its actions; each of these it asks again until it has ended.
_MACHINE = ["POST /servers", "GET /servers", "GET /servers/N/actions"]
_POLL = "GET /actions/N"


class Rival:
    """Runs it in a process and a home of its own, and sees what it asks for."""

    def __init__(self, sandbox: SandboxThread, home: Path) -> None:
        self._sandbox = sandbox
        self._home = home
        self.requests: list[str] = []

    def __call__(self, story: str) -> Any:
        """Let it tell a story, and note its requests without numbers, repetitions and polls."""
        settings, seen = self._sandbox.settings, self._sandbox.sandbox.requests
        before = len(seen)
        program = str(Path(__file__).parents[1] / "rival.py")
        line = [sys.executable, program, story, settings.endpoint, settings.token, str(free_port())]
        environment = os.environ | {
            "HOME": str(self._home),
            "DASK_CONFIG": str(self._home / "dask"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(line, env=environment, capture_output=True, timeout=2 * WITHIN_S, check=False)
        assert done.returncode == 0, done.stderr.decode()
        plain = (f"{method} {re.sub('[0-9]+', 'N', path[3:])}" for method, path in seen[before:])
        self.requests = [request for request, _ in itertools.groupby(plain) if request != _POLL]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def run(emulated: SandboxThread, api: Api, tmp_path: Path) -> Rival:
    """It, pointed at the sandbox."""
    return Rival(emulated, tmp_path)


def test_defaults(run: Rival, api: Api) -> None:
    """Its defaults, type cx11 and image ubuntu-20.04, are sold no more; its users see an error of its own instead."""
    gone = ["AttributeError", "invalid_input"]
    assert run("defaults") == [
        [*gone, "invalid input in field 'server_type': server type cx11 not found"],
        [*gone, "invalid input in field 'server_type': server type cx11 not found"],
        [*gone, "invalid input in field 'image': image ubuntu-20.04 not found"],
    ]
    assert run.requests == ["POST /servers"]
    assert api("GET", "/servers").body["servers"] == []


def test_interrupted(run: Rival, api: Api, emulated_folder: Path) -> None:
    """With type and image of today it gets a server, elsewhere than asked, and leaves it behind when interrupted."""
    told = run("cancelled")
    assert run.requests == _MACHINE
    # The cluster counts as closed, and nothing was deleted.
    assert (told["cancelled"], told["status"]) == (True, "closed")
    [server] = api("GET", "/servers").body["servers"]
    assert re.fullmatch(r"dask-[0-9a-f]{8}-scheduler", server["name"])
    assert (server["server_type"]["name"], server["image"]["name"]) == ("cx23", "ubuntu-24.04")
    assert server["location"]["name"] == "fsn1"  # asked for nbg1, and never sent
    assert (server["labels"], server["public_net"]["firewalls"]) == ({}, [])
    # It puts the project's token and the TLS keys where every process on every machine can read them.
    assert told["secrets"] == ["token", "TLS key"]
    assert 1_000 < told["bytes"] < 32 * 1024
    log = emulated_folder / "hosts" / str(server["id"]) / "var/log/cloud-init.log"
    notes = log.read_text(encoding="utf-8").splitlines()
    assert {"WARNING: 'packages' is not done here", "WARNING: 'runcmd' is not done here"} <= set(notes)
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])


def test_complete(run: Rival, api: Api) -> None:
    """Where its scheduler comes up it rents the worker, too; closing deletes both, and does not wait for their end."""
    told = run("complete")
    assert told["status"] == "closed"
    scheduler, worker = told["names"]
    assert scheduler == "dask-UUID-scheduler"
    assert worker.startswith("dask-UUID-worker-")
    assert run.requests == [*_MACHINE, *_MACHINE, "GET /servers", "DELETE /servers/N"]
    ends = api("GET", "/servers/actions", sort="id:desc").body["actions"][:2]
    assert [action["command"] for action in ends] == ["delete_server"] * 2
    api.done(*ends)
    assert api("GET", "/servers").body["servers"] == []
    assert api("GET", "/primary_ips").body["primary_ips"] == []
