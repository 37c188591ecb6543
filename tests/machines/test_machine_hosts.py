# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Machines as the sandbox has them: user data, firewalls, power, and what is left of a sandbox that was killed."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from port_scan import open_among
from sandbox_helpers import Api, Machine, Waiter, rent, run

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.faults import Faults, HostFault
from scherbelberg.sandbox.hosts.machine.network import GATEWAY, ruleset
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread

pytest_plugins = ("machine_fixtures",)
_NETWORKS = st.sampled_from(["0.0.0.0/0", "::/0", "198.51.100.0/24", "198.51.100.7/32", "10.0.0.0/8", "2001:db8::/32"])
_PORTS = st.integers(1, 65_535)
_PORT = st.one_of(
    st.just("any"), _PORTS.map(str), st.tuples(_PORTS, _PORTS).map(lambda ends: f"{min(ends)}-{max(ends)}")
)


@st.composite
def _rules(draw: st.DrawFn) -> dict[str, object]:
    incoming = draw(st.booleans())
    far = draw(st.lists(_NETWORKS, min_size=1, max_size=6))
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "esp", "gre"]))
    return {
        "direction": "in" if incoming else "out",
        "protocol": protocol,
        "port": draw(_PORT) if protocol in ("tcp", "udp") else None,
        "source_ips": far if incoming else [],
        "destination_ips": [] if incoming else far,
    }


@settings(max_examples=40, deadline=None)
@given(rules=st.none() | st.lists(_rules(), max_size=8))
def test_rules(base: Path, rules: list[dict[str, object]] | None) -> None:
    """Whatever rules the API takes, nftables takes what becomes of them."""
    assert base.is_dir()
    subprocess.run(["nft", "--check", "-f", "-"], input=ruleset(rules).encode(), check=True, timeout=20)


@pytest.fixture(scope="module")
def machine(machines: SandboxThread, machines_folder: Path) -> Iterator[Machine]:
    """A machine."""
    api = Api(machines.settings)
    yield rent(api, machines_folder)
    api.close()


async def eventually(condition: Callable[[], bool], *, what: str) -> None:
    """Wait until a condition holds."""

    async def probe() -> bool | None:
        return condition() or None

    await until(probe, every_s=0.05, within_s=20, what=what)


async def test_system(machine: Machine) -> None:
    """A machine is a booted system whose cloud-init read the user data and is content."""
    assert (await run(machine, "systemctl is-system-running --wait")).stdout == "running\n"
    assert str((await run(machine, "cloud-init status --wait")).stdout).strip() == "status: done"
    assert (await run(machine, "hostname")).stdout == f"{machine.row['name']}\n"
    url = "http://169.254.169.254/hetzner/v1/metadata/instance-id"
    assert (await run(machine, f"curl --silent --max-time 5 {url}")).stdout == str(machine.row["id"])


async def test_no_way_out(machine: Machine) -> None:
    """There is no route to anywhere but the machines' own networks."""
    assert (await run(machine, "ip route get 192.0.2.1; ip route show default")).stdout == ""


async def test_firewall(machine: Machine) -> None:
    """Without a firewall all is open; one lets in what it says, from whom it says, and can be taken off again."""
    api = machine.api
    await run(machine, "systemd-run --unit web python3 -m http.server --bind 0.0.0.0 8005")

    def sees() -> bool:
        return open_among(machine.ip, range(8000, 8010)) == {8005}

    await eventually(sees, what="the server")
    ssh = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}
    web = {"direction": "in", "protocol": "tcp", "port": "8000-8010", "source_ips": [f"{GATEWAY}/32"]}
    target = [{"type": "server", "server": {"id": machine.row["id"]}}]
    made = api("POST", "/firewalls", {"name": "wall", "rules": [ssh], "apply_to": target}).body
    await asyncio.to_thread(api.done, *made["actions"])
    await eventually(lambda: not sees(), what="the firewall")
    number = made["firewall"]["id"]
    await asyncio.to_thread(
        api.done, *api("POST", f"/firewalls/{number}/actions/set_rules", {"rules": [ssh, web]}).body["actions"]
    )
    await eventually(sees, what="the new rule")
    await asyncio.to_thread(
        api.done, *api("POST", f"/firewalls/{number}/actions/set_rules", {"rules": [ssh]}).body["actions"]
    )
    await eventually(lambda: not sees(), what="the old rules")
    await asyncio.to_thread(
        api.done,
        *api("POST", f"/firewalls/{number}/actions/remove_from_resources", {"remove_from": target}).body["actions"],
    )
    await eventually(sees, what="the end of the firewall")


@pytest.mark.parametrize("way", ["api", "inside", "off"])
async def test_power(machine: Machine, way: str) -> None:
    """A machine that was rebooted, by whomever, or switched off and on, is up again with its disk and its keys."""
    await run(machine, "echo kept >/root/kept; touch /run/forgotten")
    path = f"/servers/{machine.row['id']}/actions"
    if way == "inside":
        await run(machine, "systemctl reboot --no-block")
    else:
        for action in ("reboot",) if way == "api" else ("poweroff", "poweron"):
            await asyncio.to_thread(machine.api.done, machine.api("POST", f"{path}/{action}").body["action"])

    async def forgotten() -> bool | None:
        try:
            return (await run(machine, "test ! -e /run/forgotten && cat /root/kept")).stdout == "kept\n" or None
        except (OSError, asyncssh.Error, TimeoutError):
            return None

    await until(forgotten, every_s=0.2, within_s=60, what="The machine's return")


def test_silence(machines: SandboxThread, machine: Machine) -> None:
    """A silent machine refuses nobody while it boots: packets to its SSH server are dropped until that listens."""
    machines.set_faults(Faults(hosts=(HostFault(how="silent"),)))
    machine.api.done(machine.api("POST", f"/servers/{machine.row['id']}/actions/reset").body["action"])
    met = set()

    def is_back() -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            met.add(probe.connect_ex((machine.ip, machine.port)))
        return 0 in met

    Waiter().wait(is_back, what="The machine's return", within_s=60)
    machines.set_faults(Faults())
    assert met <= {0, errno.EAGAIN, errno.EHOSTUNREACH}
    assert errno.EAGAIN in met


async def test_private_network(machine: Machine) -> None:
    """An interface in a private network comes to a machine that runs, carries 1450 bytes, and goes again."""
    api = machine.api
    subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central"}
    network = api("POST", "/networks", {"name": "lan", "ip_range": "10.0.0.0/16", "subnets": [subnet]}).body["network"]
    path = f"/servers/{machine.row['id']}/actions"
    await asyncio.to_thread(
        api.done, api("POST", f"{path}/attach_to_network", {"network": network["id"]}).body["action"]
    )

    async def has(text: str) -> bool:
        return text in str((await run(machine, "ip -brief address; ip link")).stdout)

    async def came() -> bool | None:
        return await has("10.0.0.2/16") or None

    async def went() -> bool | None:
        return None if await has("10.0.0.2") else True

    await until(came, every_s=0.05, within_s=20, what="The interface")
    assert await has("mtu 1450")
    await asyncio.to_thread(
        api.done, api("POST", f"{path}/detach_from_network", {"network": network["id"]}).body["action"]
    )
    await until(went, every_s=0.05, within_s=20, what="The end of the interface")


def test_only_one(machines: SandboxThread, tmp_path: Path) -> None:
    """A second sandbox with machines is refused with one sentence, and the first goes on."""
    assert machines.settings
    with (
        pytest.raises(SandboxFailed, match="Another sandbox on this computer has machines"),
        SandboxThread(tmp_path / "second", Options(hosts="machine")),
    ):
        pass
    api = Api(machines.settings)
    assert api("GET", "/servers").status == 200
    api.close()
