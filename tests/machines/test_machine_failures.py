# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Machines that are not what they should be: an impostor, no nft, a network that never comes, a full disk."""

from __future__ import annotations

import os
import queue
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from conda_channel import Channel
from doctored import doctored
from surroundings import SHORT

from scherbelberg import Event
from scherbelberg.errors import BootstrapHopeless, ScherbelbergError
from scherbelberg.sandbox.faults import NO_FAULTS, Faults, HostFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.sync import Cluster

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_WITHIN_S = 60
_MIB = 2**20
#: Another host key than the planted one, as somebody has it who took the machine's address.
_IMPOSTOR = """
import glob, os, subprocess
for path in glob.glob("/etc/ssh/ssh_host_*"):
    os.remove(path)
subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key"], check=True)
"""
_NO_NFT = """
import pathlib
pathlib.Path("/usr/sbin/nft").unlink(missing_ok=True)
"""
_BETWEEN = "After=cloud-init.service\nBefore=ssh.service"
#: A disk for work that is full soon.
_SMALL_DISK = """
import os, subprocess
os.makedirs("/var/lib/scherbelberg", exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128M,mode=0700", "work", "/var/lib/scherbelberg"], check=True)
"""


@pytest.fixture(scope="module")
def place(
    machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rented]:
    """All that a cluster needs."""
    from machine_fixtures import prepared

    with prepared(machines, conda_channel, tmp_path_factory.mktemp("rented") / "failing") as rented:
        yield rented


def test_impostor(machines: SandboxThread, machines_folder: Path, place: Rented) -> None:
    """Who has another host key than the planted one is refused, and gets nothing of what nodes get."""
    image = doctored(machines, machines_folder, "impostor", _IMPOSTOR, order=_BETWEEN, once=True)
    pushed = queue.SimpleQueue[str]()

    def listen(event: Event) -> None:
        pushed.put(event.phase)

    with pytest.raises(ScherbelbergError) as caught:
        place.make(image=image, workers=1, timeouts=evolve(SHORT, reach=8), listen=listen, prefix="fooled")
    assert caught.value.node is not None
    assert "has another host key than the node" in caught.value.message
    phases = {pushed.get_nowait() for _ in range(pushed.qsize())}
    assert "reach" in phases
    assert "push" not in phases


def test_no_nft(machines: SandboxThread, machines_folder: Path, place: Rented) -> None:
    """An image without a program that nodes need ends the create before the first phase, and no worker is replaced."""
    image = doctored(machines, machines_folder, "nonft", _NO_NFT, order=_BETWEEN, once=True)
    told = queue.SimpleQueue[Event]()
    with pytest.raises(BootstrapHopeless, match="this machine's image lacks nft, and no node can do without") as caught:
        place.make(image=image, workers=1, listen=told.put, prefix="bare")
    assert caught.value.phase == "hostkey"
    assert len(caught.value.tried) <= 1
    events = [told.get_nowait() for _ in range(told.qsize())]
    assert [event for event in events if event.phase in {"download", "environment", "service"}] == []


def test_no_private_network(machines: SandboxThread, place: Rented) -> None:
    """A node whose private address never comes is waited for until the deadline, and then named with the address."""
    machines.set_faults(Faults(hosts=(HostFault(server="*-worker000", how="no_interface"),)))
    try:
        with pytest.raises(ScherbelbergError) as caught:
            place.make(workers=1, timeouts=evolve(SHORT, reach=120, node_wait=5), prefix="alone")
    finally:
        machines.set_faults(NO_FAULTS)
    assert caught.value.node == "worker000"
    assert "10.0.0." in caught.value.message


@pytest.fixture
def small(machines: SandboxThread, machines_folder: Path, place: Rented) -> Iterator[tuple[Cluster, list[Event]]]:
    """A cluster whose worker has little room on its disk, and what it tells."""
    unit = "RequiresMountsFor=/var/lib\nBefore=ssh.service"
    image = doctored(machines, machines_folder, "smalldisk", _SMALL_DISK, order=unit, once=True)
    told: list[Event] = []
    memory = {"target": 0.1, "spill": False, "pause": False, "terminate": False}
    config = {"distributed": {"worker": {"memory": memory}}}
    wishes = {"memory_limit": "1GB", "dask_config": config, "prefix": "small"}
    place.make(image=image, workers=1, listen=told.append, **wishes)
    yield place.cluster, told
    place.cluster.destroy()
    place.clusters.clear()


def test_full_disk(small: tuple[Cluster, list[Event]], place: Rented) -> None:
    """Spilling stops before the disk is full; when it is full, an event names the node, and the worker works on."""
    cluster, told = small

    def block(number: int) -> bytes:
        return random.Random(number).randbytes(10 * _MIB)  # which nothing makes smaller

    def room() -> tuple[int, int]:
        disk = os.statvfs("/var/lib/scherbelberg")
        return (disk.f_blocks - disk.f_bavail) * disk.f_frsize, disk.f_blocks * disk.f_frsize

    with cluster.get_client() as client:
        client.wait_for_workers(1, timeout=_WITHIN_S)
        (pid,) = client.run(os.getpid).values()
        blocks = client.map(block, range(40))
        assert client.submit(lambda ones: sum(len(one) for one in ones), blocks).result(timeout=_WITHIN_S) == 400 * _MIB
        ((used, total),) = client.run(room).values()
        assert total == 128 * _MIB
        assert 50 * _MIB < used <= 0.8 * total
        assert [event for event in told if event.phase == "disk"] == []

        place.run("worker000", "head --bytes=1G /dev/zero >/var/lib/scherbelberg/full || true")
        more = client.map(block, range(100, 110))
        assert client.submit(len, more).result(timeout=_WITHIN_S) == 10
        _heard(told, "failed")
        place.run("worker000", "rm /var/lib/scherbelberg/full")
        _heard(told, "done")
        assert list(client.run(os.getpid).values()) == [pid]


def _heard(told: list[Event], state: str) -> None:
    from sandbox_helpers import Waiter

    Waiter().wait(lambda: any(event.phase == "disk" and event.state == state for event in told), what="the event")
    (event, *_) = [event for event in told if event.phase == "disk" and event.state == state]
    assert event.node == "worker000"
