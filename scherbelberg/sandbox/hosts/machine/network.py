# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks between machines: bridges, firewalls as nftables has them, and the cloud's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, collapse_addresses, ip_network
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.machine.cgroups import MARK, end_group, group_names
from scherbelberg.sandbox.hosts.machine.programs import run

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

#: The interface to which firewalls apply; private ones are not filtered, as on Hetzner.
PUBLIC_INTERFACE = "eth0"
_TABLE = "inet sandbox"
#: Beside the firewalls, which change while it is in force.
_SILENCE = "inet silence"

#: Answers by path, of the machine with an address; None for nobody.
Answers = Callable[[str], Mapping[str, str] | None]


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


async def join_network(name: str, network: int, address: IPv4Interface) -> None:
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
    for outside in await our_interfaces():
        if outside.startswith(f"{name}-"):
            await run("ip", "link", "delete", outside)
    if name in await our_namespaces():
        await run("ip", "netns", "delete", name)


async def leave_network(name: str, network: int) -> None:
    """Take a machine out of a private network."""
    await run("ip", "-n", name, "link", "delete", _inside(network))


async def our_interfaces() -> list[str]:
    """List our interfaces."""
    rows = json.loads(await run("ip", "-json", "link", "show"))
    return [row["ifname"] for row in rows if row["ifname"].startswith(MARK)]


async def our_namespaces() -> list[str]:
    """List our namespaces."""
    words = [line.split()[0] for line in (await run("ip", "netns", "list")).splitlines() if line]
    return [word for word in words if word.startswith(MARK)]


async def remove_leftovers() -> None:
    """Remove all that is ours, also of a sandbox that was killed."""
    for name in group_names():
        await end_group(name)
    for name in await our_namespaces():
        await run("ip", "netns", "delete", name)
    for name in await our_interfaces():
        if name in await our_interfaces():  # one end of a pair takes the other with it
            await run("ip", "link", "delete", name)
    for target in mounted_machines():
        await run("umount", str(target))


def mounted_machines() -> list[Path]:
    """List where machines are mounted."""
    rows = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [path for row in rows if (path := Path(row.split()[1])).parent == MOUNTS]


async def _make_bridge(name: str) -> None:
    try:
        await run("ip", "link", "add", name, "type", "bridge")
    except SandboxFailed:
        if name not in await our_interfaces():  # which another machine's may have made in the same moment
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


def ruleset(rules: Sequence[Mapping[str, Any]] | None) -> str:
    """Write a script for nft that replaces all rules.

    Args:
        rules: Those of all firewalls of a server, as the API has them; None if it has no firewall and all is open.
    """
    lines = [f"add table {_TABLE}", f"delete table {_TABLE}"]
    if rules is not None:
        lines.append(f"table {_TABLE} {{")
        lines += _chain("input", "iifname", [_line(rule, "source_ips", "saddr") for rule in rules if _is(rule, "in")])
        outgoing = [_line(rule, "destination_ips", "daddr") for rule in rules if _is(rule, "out")]
        if outgoing:  # without a rule for it, everything may go out
            lines += _chain("output", "oifname", outgoing)
        lines.append("}")
    return "\n".join(lines) + "\n"


def silence(*, port: int) -> str:
    """Write a script for nft by which a port answers nothing from outside; firewalls hold as before.

    Args:
        port: Which.
    """
    rules = (f'iifname "{PUBLIC_INTERFACE}" tcp dport {port} drop',)
    chain = ["chain input {", "type filter hook input priority -20; policy accept;", *rules, "}"]
    return "\n".join([f"{end_of_silence()}table {_SILENCE} {{", *chain, "}"]) + "\n"


def end_of_silence() -> str:
    """Write a script for nft that ends it, or does nothing."""
    return f"add table {_SILENCE}\ndelete table {_SILENCE}\n"


def _is(rule: Mapping[str, Any], direction: str) -> bool:
    return bool(rule["direction"] == direction)


def _chain(hook: str, interface: str, accepted: Iterable[str | None]) -> list[str]:
    return [
        f"chain {hook} {{",
        f"type filter hook {hook} priority -10; policy accept;",
        f'{interface} != "{PUBLIC_INTERFACE}" accept',
        "ct state established,related accept",
        *(line for line in accepted if line is not None),
        "drop",
        "}",
    ]


def _line(rule: Mapping[str, Any], field: str, side: str) -> str | None:
    """What a rule lets through; None for a rule about IPv6 alone, which machines do not have."""
    networks = [network for word in rule[field] if isinstance(network := ip_network(word), IPv4Network)]
    if not networks:
        return None
    merged = list(collapse_addresses(networks))
    words = [] if merged[0].prefixlen == 0 else [f"ip {side} {{ {', '.join(map(str, merged))} }}"]
    protocol, port = rule["protocol"], rule.get("port")
    with_port = protocol in ("tcp", "udp") and port != "any"
    words.append(f"{protocol} dport {port}" if with_port else f"meta l4proto {protocol}")
    return " ".join((*words, "accept"))


class _Metadata(RequestHandler):
    def initialize(self, answers: Answers) -> None:
        self._answers = answers

    def get(self, path: str) -> None:
        known = self._answers(str(self.request.remote_ip))
        if known is None or path not in known:
            self.send_error(404)
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(known[path])


def serve_metadata(answers: Answers) -> HTTPServer:
    """Begin to answer.

    Args:
        answers: What is told to whom.
    """
    server = HTTPServer(Application([(r"/hetzner/v1/(.+)", _Metadata, {"answers": answers})]))
    server.add_sockets(bind_sockets(80, METADATA))
    return server
