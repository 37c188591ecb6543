# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Machines that are made from the snapshot of a node: of what that one was, nothing starts by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sandbox_helpers import Api, Machine, Waiter, rent

from scherbelberg.errors import LeftOver

if TYPE_CHECKING:
    from conda_channel import Channel
    from machine_fixtures import Rented

    from scherbelberg.sandbox.server import SandboxThread

pytest_plugins = ("machine_fixtures",)
_UNITS = ("scherbelberg-dask@scheduler.service", "scherbelberg-watch.timer", "scherbelberg-watch.service")
_WITHIN_S = 60


def _snapshot(api: Api, node: str) -> str:
    """Save a node as an image; returns its number."""
    (server,) = [row for row in api("GET", "/servers").body["servers"] if row["labels"].get("node") == node]
    made = api("POST", f"/servers/{server['id']}/actions/create_image", {}).body
    api.done(made["action"])
    return str(made["image"]["id"])


async def _said(machine: Machine, command: str) -> str:
    # Nobody has taken the old node's host key from its sshd, as the product's user data does.
    async with machine.connect(known_hosts=None) as connection:
        done = await asyncio.wait_for(connection.run(command), _WITHIN_S)
    return str(done.stdout).strip()


async def _look_at_sleeper(machine: Machine) -> None:
    """The node's files, secrets and units are there, and enabled; nothing of it runs, and nothing has run."""
    assert await _said(machine, "systemctl is-system-running --wait") == "running"
    etc = "/opt/scherbelberg/etc"
    assert await _said(machine, f"ls {etc}/node.env {etc}/work.env {etc}/warden.json | wc -l") == "3"
    assert await _said(machine, "systemctl is-enabled " + " ".join(_UNITS[:2])) == "enabled\nenabled"
    await _said(machine, f"systemctl start {_UNITS[2]}")
    for unit in _UNITS:
        shown = await _said(machine, f"systemctl show {unit} -p ActiveState,ConditionResult,InvocationID")
        assert set(shown.splitlines()) == {"ActiveState=inactive", "ConditionResult=no", "InvocationID="}, unit
    assert await _said(machine, "pgrep -u scherbelberg; ls /run/scherbelberg/watched 2>/dev/null") == ""


def _is_node(rented: Rented) -> None:
    """Dask and the timer run on the worker, and a new client computes there."""
    with rented.cluster.get_client() as client:
        client.wait_for_workers(1, timeout=_WITHIN_S)
        assert client.submit(lambda: 6 * 7).result(timeout=_WITHIN_S) == 42
    states = "systemctl is-active scherbelberg-dask@worker.service scherbelberg-watch.timer"
    assert rented.run("worker000", states) == "active\nactive"


def test_snapshot_of_a_node(
    machines: SandboxThread, machines_folder: Path, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing of the old cluster starts on a new machine; what is made of that starts at each boot."""
    from machine_fixtures import renting

    wishes: dict[str, Any] = {"workers": 1, "warden": True, "secrets": {"WORD": "of the old cluster"}}
    with renting(machines, conda_channel, tmp_path_factory.mktemp("rented") / "saved", **wishes) as rented:
        image = _snapshot(rented.api, "scheduler")
        keys = {row["id"] for row in rented.api("GET", "/ssh_keys").body["ssh_keys"]}
        machine = rent(rented.api, machines_folder, image=image)
        asyncio.run(_look_at_sleeper(machine))
        machine.remove()
        for row in rented.api("GET", "/ssh_keys").body["ssh_keys"]:
            if row["id"] not in keys:
                rented.api("DELETE", f"/ssh_keys/{row['id']}")
        with pytest.raises(LeftOver, match="snapshot"):  # it is paid for, and wanted
            rented.clusters.pop().destroy()

        rented.make(image=image, workers=1)
        _is_node(rented)
        rented.cluster.node("worker000").reboot()
        Waiter().wait(lambda: rented.run("worker000", "systemctl is-system-running --wait") != "", what="the boot")
        _is_node(rented)
