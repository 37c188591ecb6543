# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The request that rents a server, and those that act on one."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address
from typing import Any

from attrs import frozen

from scherbelberg.sandbox import checks
from scherbelberg.sandbox.addresses import Territory
from scherbelberg.sandbox.catalogue import Image, Location, ServerType
from scherbelberg.sandbox.cloudinit import read_user_data
from scherbelberg.sandbox.drivers import HostPlan
from scherbelberg.sandbox.machines import MEMBERS, Machines
from scherbelberg.sandbox.model import Action, Network, Server, SshKey
from scherbelberg.sandbox.project import Project, choose, choose_row
from scherbelberg.sandbox.refusals import Refused, invalid, locked, missing, unsupported

_PUBLIC_NET = {
    "enable_ipv4": checks.boolean,
    "enable_ipv6": checks.boolean,
    "ipv4": checks.empty,
    "ipv6": checks.empty,
}


def _user_data(value: Any) -> str:
    return "" if value is None else checks.text(value)


_SERVER = {
    "name": checks.host_name,
    "server_type": checks.key,
    "image": checks.key,
    "location": checks.key,
    "labels": checks.labels,
    "ssh_keys": checks.list_of(checks.key),
    "networks": checks.list_of(checks.number, at_most=3),
    "firewalls": checks.list_of(checks.fields_of({"firewall": checks.number}, required=("firewall",)), at_most=5),
    "user_data": _user_data,
    "start_after_create": checks.boolean,
    "public_net": checks.fields_of(_PUBLIC_NET),
    "automount": checks.boolean,
    "volumes": checks.empty,
    "placement_group": checks.empty,
}
_ATTACH = {
    "network": checks.number,
    "ip": lambda value: IPv4Address(checks.text(value)),
    "alias_ips": checks.empty,
}


@frozen(kw_only=True)
class Ordered:
    """The outcome of an order.

    Args:
        server: It.
        action: What makes it.
        next_actions: What follows.
        root_password: One that was drawn, or None where there are SSH keys.
    """

    server: Server
    action: Action
    next_actions: list[Action]
    root_password: str | None


def order_server(project: Project, machines: Machines, territory: Territory, body: object) -> Ordered:
    """Rent a server.

    Args:
        project: The state.
        machines: Makes it come true.
        territory: Where its address comes from.
        body: The request's.
    """
    values = checks.read_fields(body, _SERVER, required=("name", "server_type", "image"))
    server_type = _server_type(project, values["server_type"])
    location = _location(project, values.get("location"), server_type)
    image = _image(project, values["image"], server_type)
    keys = [_ssh_key(project, key) for key in values.get("ssh_keys", [])]
    networks = [_network(project, number, location) for number in values.get("networks", [])]
    firewalls = [_firewall(project, row["firewall"]) for row in values.get("firewalls", [])]
    config = read_user_data(values.get("user_data"))
    public = values.get("public_net", {})
    if not networks and not public.get("enable_ipv4", True) and not public.get("enable_ipv6", True):
        raise unsupported("a server needs a public address or a network")
    project.require_unique("servers", values["name"])
    server = Server(
        id=project.next_number(),
        name=values["name"],
        labels=values.get("labels", {}),
        server_type=server_type,
        image=image,
        location=location,
        ip=territory.take_public() if public.get("enable_ipv4", True) else None,
        ip_number=project.next_number(),
        ipv6=public.get("enable_ipv6", True),
        firewalls=dict.fromkeys(firewalls, False),
    )
    project.next_number()  # the IPv6 network's
    project.servers[server.id] = server
    plan = HostPlan(
        number=server.id,
        address=str(server.ip) if server.ip else None,
        authorized_keys=tuple(key.public_key for key in keys),
        config=config,
    )
    action, following = machines.create(server, plan, start=values.get("start_after_create", True), networks=networks)
    password = None if keys else secrets.token_urlsafe(15)
    return Ordered(server=server, action=action, next_actions=following, root_password=password)


def _server_type(project: Project, key: int | str) -> ServerType:
    found: ServerType | None = choose_row(project.catalogue.server_types, key)
    if found is None:
        raise invalid("server_type", f"server type {key} not found")
    if found.retired:
        raise unsupported(f"server type {found.id} is deprecated")
    return found


def _location(project: Project, key: int | str | None, server_type: ServerType) -> Location:
    wanted = server_type.locations[0] if key is None else key
    found: Location | None = choose_row(project.catalogue.locations, wanted)
    if found is None:
        raise invalid("location", f"location {wanted} not found")
    if found.name not in server_type.locations:
        raise unsupported("unsupported location for server type")
    return found


def _image(project: Project, key: int | str, server_type: ServerType) -> Image:
    images = [image for image in project.catalogue.images if key in (image.id, image.name)]
    if not images:
        raise invalid("image", f"image {key} not found")
    fitting = [image for image in images if image.architecture == server_type.architecture]
    if not fitting:
        raise unsupported(f"image architecture does not fit server type architecture {server_type.architecture}")
    return fitting[0]


def _ssh_key(project: Project, key: int | str) -> SshKey:
    found = choose(project.ssh_keys, key)
    if found is None:
        raise invalid("ssh_keys", f"SSH key {key} not found")
    return found


def _firewall(project: Project, number: int) -> int:
    if number not in project.firewalls:
        raise invalid("firewalls", f"firewall {number} not found")
    return number


def _network(project: Project, number: int, location: Location) -> Network:
    network = project.networks.get(number)
    if network is None:
        raise invalid("networks", f"network {number} not found")
    if not any(subnet.network_zone == location.network_zone for subnet in network.subnets):
        raise Refused(422, "no_subnet_available", f"no subnet in network zone {location.network_zone}")
    joining = sum(network.id in server.joining for server in project.servers.values())
    if len(project.members(network)) + joining >= MEMBERS:
        raise Refused(403, "resource_limit_exceeded", f"a network has at most {MEMBERS} members")
    return network


def require_unlocked(server: Server) -> Server:
    """Refuse what must wait until a server's actions have ended."""
    if server.running or server.status == "deleting":
        raise locked()
    return server


def attach(project: Project, machines: Machines, server: Server, body: object) -> Action:
    """Attach a server to a network.

    Args:
        project: The state.
        machines: Makes it come true.
        server: It.
        body: The request's.
    """
    values = checks.read_fields(body, _ATTACH, required=("network",))
    if values["network"] not in project.networks:
        raise missing("network", values["network"])
    require_unlocked(server)
    if any(place.network == values["network"] for place in server.private):
        raise Refused(409, "server_already_attached", "server is already attached to network")
    network = _network(project, values["network"], server.location)
    wanted = values.get("ip")
    if wanted is not None and (wanted in project.private_addresses() or wanted not in network.ip_range):
        raise Refused(409, "ip_not_available", "IP not available")
    return machines.attach(server, network, wanted)


def detach(project: Project, network: Network) -> None:
    """Take all members out of a network that is about to go."""
    for server in project.servers.values():
        server.private = [place for place in server.private if place.network != network.id]
        server.joining.discard(network.id)
