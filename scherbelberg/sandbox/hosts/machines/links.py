# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks between machines: bridges of this computer that lead nowhere else, and what is plugged into them."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.machines import groups
from scherbelberg.sandbox.hosts.machines.commands import run
from scherbelberg.sandbox.hosts.machines.groups import MARK

#: All of it is for documentation: no route to it leads out of this computer.
PUBLIC_NET = IPv4Network("198.51.100.0/24")
#: This computer's own address there, from where tests look at machines.
GATEWAY = PUBLIC_NET[1]
METADATA = "169.254.169.254"
_BRIDGE = f"{MARK}public"
#: Hetzner's private networks carry no more.
_PRIVATE_MTU = 1450
#: Where machines are mounted; a place of its own, so that leftovers are found.
MOUNTS = Path("/run/scherbelberg-machines")


async def make_public() -> None:
    """Make the network that stands for the internet."""
    await _make_bridge(_BRIDGE)
    await run("ip", "address", "add", f"{GATEWAY}/{PUBLIC_NET.prefixlen}", "dev", _BRIDGE)
    await run("ip", "address", "add", f"{METADATA}/32", "dev", _BRIDGE)


async def make_namespace(name: str, address: str | None) -> None:
    """Make a machine's namespace, connected to the public network if it has an address there.

    There is no default route: a machine reaches others, this computer, and nothing else.
    """
    await run("ip", "netns", "add", name)
    await run("ip", "-n", name, "link", "set", "lo", "up")
    if address is not None:
        await _plug(name, "eth0", _BRIDGE, f"{name}-p", address=IPv4Address(address))
        await run("ip", "-n", name, "address", "add", f"{address}/{PUBLIC_NET.prefixlen}", "dev", "eth0")
        await run("ip", "-n", name, "link", "set", "eth0", "up")
        await run("ip", "-n", name, "route", "add", METADATA, "dev", "eth0")


async def join(name: str, network: int, address: IPv4Interface) -> None:
    """Give a machine that runs an interface in a private network.

    Args:
        name: Its namespace.
        network: The network's number.
        address: Its address there, with the network's prefix.
    """
    bridge = f"{MARK}n{network}"
    await _make_bridge(bridge)
    inside = _inside(network)
    await _plug(name, inside, bridge, f"{name}-{network}", address=address.ip)
    await run("ip", "-n", name, "address", "add", str(address), "dev", inside)
    await run("ip", "-n", name, "link", "set", inside, "mtu", str(_PRIVATE_MTU), "up")


async def remove_namespace(name: str) -> None:
    """Remove a machine's namespace and its interfaces: at once, and not when the kernel comes to it."""
    for outside in await interfaces():
        if outside.startswith(f"{name}-"):
            await run("ip", "link", "delete", outside)
    if name in await namespaces():
        await run("ip", "netns", "delete", name)


async def leave(name: str, network: int) -> None:
    """Take a machine out of a private network."""
    await run("ip", "-n", name, "link", "delete", _inside(network))


async def interfaces() -> list[str]:
    """List our interfaces."""
    rows = json.loads(await run("ip", "-json", "link", "show"))
    return [row["ifname"] for row in rows if row["ifname"].startswith(MARK)]


async def namespaces() -> list[str]:
    """List our namespaces."""
    words = [line.split()[0] for line in (await run("ip", "netns", "list")).splitlines() if line]
    return [word for word in words if word.startswith(MARK)]


async def clear() -> None:
    """Remove all that is ours, also of a sandbox that was killed."""
    for name in groups.names():
        await groups.end(name)
    for name in await namespaces():
        await run("ip", "netns", "delete", name)
    for name in await interfaces():
        if name in await interfaces():  # one end of a pair takes the other with it
            await run("ip", "link", "delete", name)
    for target in mounted():
        await run("umount", str(target))


def mounted() -> list[Path]:
    """List where machines are mounted."""
    rows = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [path for row in rows if (path := Path(row.split()[1])).parent == MOUNTS]


async def _make_bridge(name: str) -> None:
    try:
        await run("ip", "link", "add", name, "type", "bridge")
    except SandboxFailed:
        if name not in await interfaces():  # which another machine's may have made in the same moment
            raise
    await run("ip", "link", "set", name, "up")


async def _plug(name: str, inside: str, bridge: str, outside: str, *, address: IPv4Address) -> None:
    # The same hardware address after every boot, or neighbours would talk to the old one for a while.
    hardware = ":".join(f"{part:02x}" for part in b"\x02\x00" + address.packed)
    pair = ("peer", "name", inside, "address", hardware, "netns", name)
    await run("ip", "link", "add", outside, "type", "veth", *pair)
    await run("ip", "link", "set", outside, "master", bridge, "up")


def _inside(network: int) -> str:
    return f"enp{network % 1000}s0"
