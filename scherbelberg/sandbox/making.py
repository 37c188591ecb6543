# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests that make ssh keys, networks and firewalls."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from typing import Any

import asyncssh

from scherbelberg.sandbox import checks
from scherbelberg.sandbox.model import Firewall, Network, SshKey, Subnet
from scherbelberg.sandbox.project import Project
from scherbelberg.sandbox.refusals import Refused, invalid, missing, taken, unsupported

_MIN_NETWORK_BITS = 24
_MIN_SUBNET_BITS = 30
_RULES = 50
_PORTS = 65_535


def make_ssh_key(project: Project, body: object) -> SshKey:
    """Add a public key."""
    known = {"name": checks.name, "labels": checks.labels, "public_key": checks.text}
    values = checks.read_fields(body, known, required=("name", "public_key"))
    fingerprint = _fingerprint(values["public_key"])
    project.require_unique("ssh_keys", values["name"])
    if any(key.fingerprint == fingerprint for key in project.ssh_keys.values()):
        raise taken("public_key", "SSH key with the same fingerprint already exists")
    key = SshKey(
        id=project.next_number(),
        name=values["name"],
        labels=values.get("labels", {}),
        public_key=values["public_key"].strip(),
        fingerprint=fingerprint,
    )
    project.ssh_keys[key.id] = key
    return key


def _fingerprint(public_key: str) -> str:
    try:
        key = asyncssh.import_public_key(public_key)
    except (asyncssh.KeyImportError, ValueError):
        raise invalid("public_key", "SSH key is not valid") from None
    return key.get_fingerprint("md5").removeprefix("MD5:")


def _range(value: Any) -> IPv4Network:
    found = ip_network(checks.text(value))
    if not isinstance(found, IPv4Network):
        raise ValueError("Must be an IPv4 range.")  # noqa: TRY004 - a reason for the client
    return found


def make_network(project: Project, body: object, *, territory: IPv4Network) -> Network:
    """Add a network.

    Args:
        project: The state.
        body: The request's.
        territory: Where it must lie, as Hetzner's must lie in the ranges of RFC 1918.
    """
    subnet = {
        "type": checks.one_of("cloud", "server", "vswitch"),
        "ip_range": _range,
        "network_zone": checks.one_of(*sorted(project.catalogue.zones)),
        "vswitch_id": checks.empty,
    }
    known = {
        "name": checks.name,
        "labels": checks.labels,
        "ip_range": _range,
        "subnets": checks.list_of(checks.fields_of(subnet, required=("type", "network_zone")), at_most=50),
        "routes": checks.empty,
        "expose_routes_to_vswitch": checks.boolean,
    }
    values = checks.read_fields(body, known, required=("name", "ip_range"))
    ip_range = values["ip_range"]
    if not ip_range.subnet_of(territory):
        raise invalid("ip_range", f"network must be within {territory}")
    if ip_range.prefixlen > _MIN_NETWORK_BITS:
        raise invalid("ip_range", f"network must be at least /{_MIN_NETWORK_BITS}")
    project.require_unique("networks", values["name"])
    network = Network(
        id=project.next_number(),
        name=values["name"],
        labels=values.get("labels", {}),
        ip_range=ip_range,
        subnets=[],
        expose_routes=values.get("expose_routes_to_vswitch", False),
    )
    for row in values.get("subnets", []):
        network.subnets.append(_subnet(network, row))
    project.networks[network.id] = network
    return network


def _subnet(network: Network, row: dict[str, Any]) -> Subnet:
    if row["type"] == "vswitch":
        raise invalid("subnets", "the sandbox has no vSwitch")
    ip_range = row.get("ip_range") or _free_subnet(network)
    if not ip_range.subnet_of(network.ip_range) or ip_range.prefixlen > _MIN_SUBNET_BITS:
        raise invalid("subnets", f"subnet must be within the network and at least /{_MIN_SUBNET_BITS}")
    if any(ip_range.overlaps(other.ip_range) for other in network.subnets):
        raise unsupported("subnet overlaps with other subnet")
    return Subnet(ip_range=ip_range, network_zone=row["network_zone"], type=row["type"])


def _free_subnet(network: Network) -> IPv4Network:
    bits = max(_MIN_NETWORK_BITS, network.ip_range.prefixlen)
    for candidate in network.ip_range.subnets(new_prefix=bits):
        if not any(candidate.overlaps(subnet.ip_range) for subnet in network.subnets):
            return candidate
    raise Refused(422, "no_subnet_available", "no subnet available")


def make_firewall(project: Project, body: object) -> Firewall:
    """Add a firewall, and apply it to servers."""
    resource = {
        "type": checks.one_of("server", "label_selector"),
        "server": checks.fields_of({"id": checks.number}, required=("id",)),
        "label_selector": checks.fields_of({"selector": checks.text}, required=("selector",)),
    }
    known = {
        "name": checks.name,
        "labels": checks.labels,
        "rules": checks.list_of(_rule, at_most=_RULES),
        "apply_to": checks.list_of(checks.fields_of(resource, required=("type",))),
    }
    values = checks.read_fields(body, known, required=("name",))
    project.require_unique("firewalls", values["name"])
    numbers = [_server_number(project, row) for row in values.get("apply_to", [])]
    firewall = Firewall(
        id=project.next_number(),
        name=values["name"],
        labels=values.get("labels", {}),
        rules=values.get("rules", []),
    )
    project.firewalls[firewall.id] = firewall
    for number in numbers:
        project.servers[number].firewalls[firewall.id] = True
    return firewall


def _server_number(project: Project, row: dict[str, Any]) -> int:
    if row["type"] == "label_selector":
        raise invalid("apply_to", "the sandbox applies firewalls to servers, not to labels")
    number = row.get("server", {}).get("id")
    if number not in project.servers:
        raise missing("server", number)
    return int(number)


def _networks(value: Any) -> list[str]:
    for word in checks.list_of(checks.text)(value):
        ip_network(word)  # refuses host bits as Hetzner does
    return list(value)


def _port(value: Any) -> str | None:
    if value is None or value == "any":
        return value  # type: ignore[no-any-return]  # one of two constants
    ends = checks.text(value).split("-")
    if not 1 <= len(ends) <= 2 or not all(end.isascii() and end.isdigit() for end in ends):
        raise ValueError("Must be a port, a range such as 80-85, or any.")
    numbers = [int(end) for end in ends]
    if not 1 <= numbers[0] <= numbers[-1] <= _PORTS:
        raise ValueError(f"Must be between 1 and {_PORTS}.")
    return str(value)


def _description(value: Any) -> str | None:
    if value is not None and len(checks.text(value)) > 255:
        raise ValueError("Longer than maximum length 255.")
    return value  # type: ignore[no-any-return]  # a string or None


def _rule(value: Any) -> dict[str, Any]:
    known = {
        "direction": checks.one_of("in", "out"),
        "protocol": checks.one_of("tcp", "udp", "icmp", "esp", "gre"),
        "port": _port,
        "source_ips": _networks,
        "destination_ips": _networks,
        "description": _description,
    }
    rule = checks.read_fields(value, known, required=("direction", "protocol"))
    if (rule["protocol"] in ("tcp", "udp")) is not bool(rule.get("port")):
        raise ValueError("port is required for tcp and udp, and for these only")
    far, near = ("source_ips", "destination_ips") if rule["direction"] == "in" else ("destination_ips", "source_ips")
    if not rule.get(far) or rule.get(near):
        raise ValueError(f"{far} is required for direction {rule['direction']}, and {near} is not allowed")
    return rule
