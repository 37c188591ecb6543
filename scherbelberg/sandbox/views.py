# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Resources as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any

from scherbelberg.sandbox.model import Action, Firewall, Network, PrivateAddress, Resource, Server, SshKey, Subnet

Json = dict[str, Any]


def moment(at: datetime | None) -> str | None:
    """A time, with Hetzner's precision."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _head(resource: Resource) -> Json:
    return {
        "id": resource.id,
        "name": resource.name,
        "labels": dict(resource.labels),
        "created": moment(resource.created),
    }


def show_action(action: Action) -> Json:
    """An action."""
    return {
        "id": action.id,
        "command": action.command,
        "status": action.status,
        "progress": 0 if action.status == "running" else 100,
        "started": moment(action.started),
        "finished": moment(action.finished),
        "resources": [{"type": kind, "id": number} for kind, number in action.resources],
        "error": {"code": action.error[0], "message": action.error[1]} if action.error else None,
    }


def show_ssh_key(key: SshKey) -> Json:
    """An SSH key."""
    return {**_head(key), "fingerprint": key.fingerprint, "public_key": key.public_key}


def show_network(network: Network, members: Iterable[Server]) -> Json:
    """A network.

    Args:
        network: It.
        members: The servers that have an address in it.
    """
    return {
        **_head(network),
        "ip_range": str(network.ip_range),
        "subnets": [_show_subnet(network, subnet) for subnet in network.subnets],
        "routes": [],
        "servers": [server.id for server in members],
        "load_balancers": [],
        "protection": {"delete": False},
        "expose_routes_to_vswitch": network.expose_routes,
    }


def _show_subnet(network: Network, subnet: Subnet) -> Json:
    return {
        "type": subnet.type,
        "ip_range": str(subnet.ip_range),
        "network_zone": subnet.network_zone,
        "gateway": str(gateway(network.ip_range)),
        "vswitch_id": None,
    }


def gateway(ip_range: IPv4Network) -> object:
    """The first address of a network is Hetzner's."""
    return ip_range.network_address + 1


def show_firewall(firewall: Firewall, servers: Iterable[Server]) -> Json:
    """A firewall.

    Args:
        firewall: It.
        servers: Those that it is applied to.
    """
    return {
        **_head(firewall),
        "rules": [_show_rule(rule) for rule in firewall.rules],
        "applied_to": [{"type": "server", "server": {"id": server.id}} for server in servers],
    }


def _show_rule(rule: Json) -> Json:
    return {
        "description": rule.get("description"),
        "direction": rule["direction"],
        "protocol": rule["protocol"],
        "port": rule.get("port"),
        "source_ips": rule.get("source_ips", []),
        "destination_ips": rule.get("destination_ips", []),
    }


def show_server(server: Server) -> Json:
    """A server."""
    return {
        **_head(server),
        "status": server.status,
        "locked": bool(server.running),
        "public_net": _show_public(server),
        "private_net": [_show_private(place) for place in server.private],
        "server_type": server.server_type.row,
        "location": server.location.row,
        "image": server.image.row,
        "iso": None,
        "rescue_enabled": False,
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": _included_traffic(server),
        "protection": {"delete": False, "rebuild": False},
        "volumes": [],
        "load_balancers": [],
        "primary_disk_size": server.server_type.disk,
        "placement_group": None,
    }


def _included_traffic(server: Server) -> int:
    prices = server.server_type.row["prices"]
    return int(next(row["included_traffic"] for row in prices if row["location"] == server.location.name))


def _show_public(server: Server) -> Json:
    return {
        "ipv4": _show_ipv4(server),
        "ipv6": _show_ipv6(server),
        "floating_ips": [],
        "firewalls": [
            {"id": number, "status": "applied" if in_force else "pending"}
            for number, in_force in server.firewalls.items()
        ],
    }


def _show_ipv4(server: Server) -> Json | None:
    if server.ip is None:
        return None
    name = "static." + ".".join(reversed(str(server.ip).split("."))) + ".clients.your-server.de"
    return {"id": server.ip_number, "ip": str(server.ip), "blocked": False, "dns_ptr": name}


def _show_ipv6(server: Server) -> Json | None:
    if not server.ipv6:
        return None
    # 2001:db8::/32 is for documentation: nothing answers there.
    return {
        "id": server.ip_number + 1,
        "ip": f"2001:db8:0:{server.id & 0xFFFF:x}::/64",
        "blocked": False,
        "dns_ptr": [],
    }


def _show_private(place: PrivateAddress) -> Json:
    return {"network": place.network, "ip": str(place.ip), "alias_ips": [], "mac_address": place.mac}
