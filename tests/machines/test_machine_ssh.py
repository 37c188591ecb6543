# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What sshd of booted machines sees of us: whole connections, its own start, and a source that it has shut out."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sandbox_helpers import Waiter

from scherbelberg.sandbox.server import SandboxThread

if TYPE_CHECKING:
    from conda_channel import Channel
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_NODES = ("scheduler", "worker000")
_SAID = "journalctl --boot --output cat --identifier sshd --identifier sshd-session --identifier sshd-auth"
_PROGRAM = """
from scherbelberg.sync import Cluster
with Cluster.from_existing() as cluster, cluster.get_client() as client:
    client.wait_for_workers(1, timeout=60)
    print(client.submit(sum, (1, 2)).result(timeout=60), min(node.ping_ssh() for node in cluster.nodes) > 0)
"""
_SLOW = """mkdir -p /etc/systemd/system/ssh.service.d
printf '[Service]\\nExecStartPre=/bin/sleep 4\\n' >/etc/systemd/system/ssh.service.d/slow.conf
systemctl daemon-reload"""


@pytest.fixture(scope="module")
def seen(machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rented]:
    """A cluster of a scheduler and a worker."""
    from machine_fixtures import renting

    with renting(machines, conda_channel, tmp_path_factory.mktemp("rented") / "seen", workers=1) as cluster:
        yield cluster


def _complaints(rented: Rented, node: str) -> list[str]:
    """What sshd has said of connections without a login, and of sources that it shuts out."""
    words = ("preauth", "kex_exchange_identification", "penalty", "Not allowed", "Cannot bind")
    return [line for line in rented.run(node, _SAID).splitlines() if any(word in line for word in words)]


def test_whole_connections(seen: Rented) -> None:
    """No connection of a create ends before its login, nor one of those who look, or attach, eight at a time."""
    assert [_complaints(seen, node) for node in _NODES] == [[], []]
    # By the planted key, by the node's own, by the proof, and by this question.
    made = [int(seen.run(node, f"{_SAID} | grep --count 'Accepted publickey'")) for node in _NODES]
    assert max(made) <= 4
    for words in (("ls",), ("show",), ("doctor", "-p", "cluster"), ("logs", "worker000")):
        seen.shell(*words)
    line, environ = seen.command()

    def attach(_: int) -> str:
        program = [line[0], "-c", _PROGRAM]
        done = subprocess.run(program, env=environ, check=True, capture_output=True, encoding="utf-8", timeout=120)
        return done.stdout

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(attach, range(8))) == {"3 True\n"}
    assert [_complaints(seen, node) for node in _NODES] == [[], []]


def test_own_key(seen: Rented) -> None:
    """However sshd is started, it has the key that was born on the node, and the planted one is gone."""
    said = seen.run("worker000", "/usr/sbin/sshd -T").lower().splitlines()
    assert "hostkey /etc/ssh/scherbelberg_host_ed25519_key" in said
    assert seen.run("worker000", "ls /etc/ssh | grep ssh_host_ || echo none") == "none"
    listens = seen.run("worker000", "systemctl is-active ssh.socket || true")
    has_penalties = any(line.startswith("persourcepenalties ") for line in said)
    assert listens == ("active" if has_penalties else "inactive")  # the newer machines have both


def test_slow_start(seen: Rented) -> None:
    """After a reboot the same key answers; until sshd has started, we wait in one connection or for one."""
    seen.run("worker000", _SLOW)
    seen.cluster.node("worker000").reboot()
    assert seen.run("worker000", "systemctl is-active ssh.service") == "active"
    assert _complaints(seen, "worker000") == []


def test_shut_out(seen: Rented) -> None:
    """From an address that sshd has shut out, a new program gets in as soon as that is over."""
    address = (seen.address("worker000"), 22)
    with socket.create_connection(address, timeout=20) as line:
        assert line.recv(4) == b"SSH-"
    Waiter().wait(lambda: _complaints(seen, "worker000") != [], what="sshd's note of it")
    assert seen.shell("logs", "worker000") != ""
