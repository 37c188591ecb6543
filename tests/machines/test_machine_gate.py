# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who gets into a cluster on booted machines, and what is to be found there: ports, certificates, secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conda_channel import Channel
from port_scan import open_among, open_ports
from sandbox_helpers import Waiter

from scherbelberg.sandbox.hosts.machine.network import GATEWAY, PUBLIC_NET
from scherbelberg.sandbox.hosts.machine.programs import run
from scherbelberg.sandbox.server import SandboxThread

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_SECRET = "Donaudampfschiff-4711"
_STRANGER = str(PUBLIC_NET[200])
_TLS = 8786
_WITHIN_S = 20


@pytest.fixture(scope="module")
def rented(
    machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rented]:
    """A cluster that lets this computer in without SSH, and whose work has a secret."""
    from machine_fixtures import renting

    folder = tmp_path_factory.mktemp("rented") / "direct"
    wishes: dict[str, Any] = {"direct": (f"{GATEWAY}/32",), "secrets": {"GEHEIM": _SECRET}}
    with renting(machines, conda_channel, folder, workers=1, prefix="gate", **wishes) as cluster:
        yield cluster


@pytest.fixture
def stranger(rented: Rented) -> Iterator[str]:
    """Another computer's address in the same network."""
    assert rented.cluster
    asyncio.run(run("ip", "address", "add", f"{_STRANGER}/{PUBLIC_NET.prefixlen}", "dev", "sbg-public"))
    yield _STRANGER
    asyncio.run(run("ip", "address", "delete", f"{_STRANGER}/{PUBLIC_NET.prefixlen}", "dev", "sbg-public"))


def test_direct(rented: Rented, stranger: str) -> None:
    """With a direct way in, Dask's TLS port is open to whom was named; nobody else finds more than SSH."""
    address = rented.address("scheduler")
    assert open_ports(address) == {22, _TLS}
    assert open_ports(address, source=stranger) == {22}
    assert open_ports(rented.address("worker000")) == {22}


def _answer(address: str, context: ssl.SSLContext) -> bytes:
    """What Dask says to whoever comes with this."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, _TLS), timeout=_WITHIN_S) as plain,
        contextlib.closing(context.wrap_socket(plain)) as wrapped,
    ):
        return wrapped.recv(1)


def test_certificates(rented: Rented) -> None:
    """On that port, a client without a certificate of the cluster's authority is refused, and one with it is not."""
    address = rented.address("scheduler")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        _answer(address, ssl.create_default_context())
    ours = ssl.create_default_context()
    (certificate,) = rented.settings.home.rglob("client.pem")
    (key,) = rented.settings.home.rglob("client-key.pem")
    ours.load_cert_chain(certificate, key)
    assert len(_answer(address, ours)) == 1


def test_secrets(rented: Rented) -> None:
    """A secret that was given for work reaches work, and neither systemd's words, the journal, nor a command line."""
    with rented.cluster.get_client() as client:
        assert client.submit(lambda: __import__("os").environ["GEHEIM"]).result(timeout=_WITHIN_S) == _SECRET
    for node in ("scheduler", "worker000"):
        said = rented.run(
            node,
            "systemctl show '*' --no-pager; journalctl --no-pager; cat /proc/[0-9]*/cmdline /var/log/cloud-init*.log",
        )
        assert "scherbelberg-dask@" in said
        assert _SECRET not in said
        assert rented.run(node, "stat -c '%a %U' /opt/scherbelberg/etc/work.env") == "600 scherbelberg"


def test_user_data(rented: Rented) -> None:
    """In user data there is one secret, the host key that was planted, and that is not in use any more."""
    text = rented.run("worker000", "cat /var/lib/cloud/instance/user-data.txt")
    data = yaml.safe_load(text)
    assert text.count("PRIVATE KEY-----") == 2
    planted = data["ssh_keys"]["ed25519_public"].split()[1]
    assert planted not in rented.run("worker000", "cat /etc/ssh/*.pub")
    for node in ("scheduler", "worker000"):
        assert rented.run(
            node, "grep -rlE 'PRIVATE KEY' /opt/scherbelberg/etc /etc/ssh /root/.ssh | sort"
        ).splitlines() == [
            "/etc/ssh/scherbelberg_host_ed25519_key",
            "/opt/scherbelberg/etc/tls/node.pem",
        ]


def test_ssh_from(rented: Rented, stranger: str) -> None:
    """Who may come in over SSH can be changed: others do not even find the port."""

    def sees(source: str) -> bool:
        return open_among(rented.address("worker000"), range(22, 23), source=source) == {22}

    assert (sees(""), sees(stranger)) == (True, True)
    rented.shell("firewall", "-p", "gate", "--ssh-from", f"{GATEWAY}/32", "--expose-scheduler", "none")
    Waiter().wait(lambda: not sees(stranger), what="the firewall")
    assert sees("")
    Waiter().wait(lambda: open_ports(rented.address("scheduler")) == {22}, what="the firewall")
    assert open_ports(rented.address("scheduler"), source=stranger) == set()
