# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers: the order that rents one, and what is not an action."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.capacity import require_quota, require_stock
from scherbelberg.sandbox.api.firewalls import FIREWALLS_PER_SERVER
from scherbelberg.sandbox.api.placement_groups import require_room as require_place
from scherbelberg.sandbox.api.routing import (
    Answer,
    Changes,
    Context,
    Json,
    Request,
    Route,
    require_unprotected,
    shared_routes,
)
from scherbelberg.sandbox.api.views import show_action, show_server
from scherbelberg.sandbox.cloud.catalogue import Location, ServerType
from scherbelberg.sandbox.cloud.model import Image, Network, PlacementGroup, PrimaryIp, Server, SshKey
from scherbelberg.sandbox.cloud.project import Project, choose, choose_row
from scherbelberg.sandbox.cloud.wiring import require_room
from scherbelberg.sandbox.hosts.cloudinit import read_user_data
from scherbelberg.sandbox.hosts.drivers import HostPlan
from scherbelberg.sandbox.refusals import Refused, invalid, locked, unsupported

_USER_DATA_BYTES = 32 * 1024


def _number_or_none(value: Any) -> int | None:
    return None if value is None else checks.number(value)


_PUBLIC_NET = {
    "enable_ipv4": checks.boolean,
    "enable_ipv6": checks.boolean,
    "ipv4": _number_or_none,
    "ipv6": _number_or_none,
}


def _user_data(value: Any) -> str:
    if value is None:
        return ""
    if len(checks.text(value).encode()) > _USER_DATA_BYTES:
        raise ValueError("Must be at most 32 KiB.")
    return str(value)


_SERVER = {
    "name": checks.host_name,
    "server_type": checks.key,
    "image": checks.key,
    "location": checks.key,
    "labels": checks.labels,
    "ssh_keys": checks.list_of(checks.key),
    "networks": checks.list_of(checks.number, at_most=3),
    "firewalls": checks.list_of(
        checks.fields_of({"firewall": checks.number}, required=("firewall",)), at_most=FIREWALLS_PER_SERVER
    ),
    "user_data": _user_data,
    "start_after_create": checks.boolean,
    "public_net": checks.fields_of(_PUBLIC_NET),
    "automount": checks.boolean,
    "volumes": checks.empty,
    "placement_group": checks.number,
}


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project

    def show(server: Server) -> Json:
        return show_server(server, project)

    def apply(server: Server, values: Json) -> None:
        server.labels = values.get("labels", server.labels)
        context.wiring.relabelled(server)

    changes = Changes(known={"name": checks.host_name, "labels": checks.labels}, apply=apply)
    yield from shared_routes(project, "servers", show, changes=changes, filters=("name", "status"))
    yield "POST", "/servers", lambda request: _order(context, request)
    yield "DELETE", r"/servers/(\d+)", lambda _request, number: _delete(context, number)


@frozen(kw_only=True)
class _Wanted:
    """What an order asks for, looked up."""

    server_type: ServerType
    location: Location
    image: Image
    keys: list[SshKey]
    networks: list[Network]
    firewalls: list[int]
    group: PlacementGroup | None
    ipv4: PrimaryIp | None
    ipv6: PrimaryIp | None


def _order(context: Context, request: Request) -> Answer:
    project = context.project
    values = checks.read_fields(request.body, _SERVER, required=("name", "server_type", "image"))
    wanted = _look_up(project, values)
    public = values.get("public_net", {})
    with_ipv4, with_ipv6 = (bool(public.get(f"enable_{kind}", True)) for kind in ("ipv4", "ipv6"))
    if not (wanted.networks or with_ipv4 or with_ipv6):
        raise unsupported("a server needs a public address or a network")
    project.require_unique("servers", values["name"])
    faults = context.faults()
    fresh = sum((with_ipv4 and wanted.ipv4 is None, with_ipv6 and wanted.ipv6 is None))
    require_quota(project, faults, addresses=fresh)
    require_stock(faults, wanted.server_type, wanted.location)
    server = Server(
        id=project.next_number(),
        name=values["name"],
        labels=values.get("labels", {}),
        server_type=wanted.server_type,
        image=wanted.image,
        location=wanted.location,
        disk_gb=wanted.server_type.disk,
        ipv4=None,
        ipv6=None,
        placement_group=wanted.group.id if wanted.group else None,
        firewalls=dict.fromkeys(wanted.firewalls, False),
    )
    project.servers[server.id] = server
    if with_ipv4:
        server.ipv4 = _address(context, server, wanted.ipv4, "ipv4")
    if with_ipv6:
        server.ipv6 = _address(context, server, wanted.ipv6, "ipv6")
    plan = HostPlan(
        number=server.id,
        name=server.name,
        authorized_keys=tuple(key.public_key for key in wanted.keys),
        config=read_user_data(values.get("user_data")),
        snapshot=wanted.image.id if wanted.image.kind == "snapshot" else None,
    )
    start = values.get("start_after_create", True)
    action, following = context.machines.create(server, plan, start=start, networks=wanted.networks)
    context.wiring.relabelled(server)
    body = {
        "server": show_server(server, project),
        "action": show_action(action),
        "next_actions": [show_action(one) for one in following],
        "root_password": None if wanted.keys else secrets.token_urlsafe(15),
    }
    return Answer(201, body)


def _address(context: Context, server: Server, primary: PrimaryIp | None, kind: Any) -> int:
    chosen = primary or context.wiring.make_address(kind, server.location)
    chosen.assignee = server.id
    return chosen.id


def _look_up(project: Project, values: Json) -> _Wanted:
    server_type = find_type(project, values["server_type"])
    group = _group(project, values.get("placement_group"))
    addresses = [_primary_ip(project, values.get("public_net", {}), kind) for kind in ("ipv4", "ipv6")]
    location = _location(project, values.get("location"), server_type, addresses)
    return _Wanted(
        server_type=server_type,
        location=location,
        image=_image(project, values["image"], server_type),
        keys=[_ssh_key(project, key) for key in values.get("ssh_keys", [])],
        networks=[find_network(project, number, location) for number in dict.fromkeys(values.get("networks", []))],
        firewalls=[_firewall(project, row["firewall"]) for row in values.get("firewalls", [])],
        group=group,
        ipv4=addresses[0],
        ipv6=addresses[1],
    )


def find_type(project: Project, key: int | str) -> ServerType:
    """Find a server type that can be ordered."""
    found: ServerType | None = choose_row(project.catalogue.server_types, key)
    if found is None:
        raise invalid("server_type", f"server type {key} not found")
    if found.retired:
        raise unsupported(f"server type {found.id} is deprecated")
    return found


def _location(
    project: Project, key: int | str | None, server_type: ServerType, addresses: list[PrimaryIp | None]
) -> Location:
    given = [primary.location.name for primary in addresses if primary is not None]
    wanted = (given or [server_type.locations[0]])[0] if key is None else key
    found: Location | None = choose_row(project.catalogue.locations, wanted)
    if found is None:
        raise invalid("location", f"location {wanted} not found")
    if found.name not in server_type.locations:
        raise unsupported("unsupported location for server type")
    if any(name != found.name for name in given):
        raise Refused(422, "primary_ip_datacenter_mismatch", "primary IP is in another location")
    return found


def _primary_ip(project: Project, public: Json, kind: str) -> PrimaryIp | None:
    number = public.get(kind)
    if number is None:
        return None
    primary = project.primary_ips.get(number)
    if primary is None or not public.get(f"enable_{kind}", True):
        raise invalid(f"public_net.{kind}", f"primary IP {number} not found, or {kind} is not enabled")
    if primary.assignee is not None:
        raise Refused(409, "primary_ip_assigned", "primary IP is already assigned to a server")
    if primary.type != kind:
        raise Refused(422, "primary_ip_version_mismatch", "primary IP has the wrong IP version")
    return primary


def _image(project: Project, key: int | str, server_type: ServerType) -> Image:
    images = [image for image in project.images.values() if key == image.id or (image.name and key == image.name)]
    if not images:
        raise invalid("image", f"image {key} not found")
    fitting = [image for image in images if image.architecture == server_type.architecture]
    if not fitting:
        raise unsupported(f"image architecture does not fit server type architecture {server_type.architecture}")
    image = fitting[0]
    if image.status != "available":
        raise unsupported("image is not available yet")
    if image.disk_gb > server_type.disk:
        raise unsupported(f"image needs a disk of {image.disk_gb} GB, server type has {server_type.disk} GB")
    return image


def _ssh_key(project: Project, key: int | str) -> SshKey:
    found = choose(project.ssh_keys, key)
    if found is None:
        raise invalid("ssh_keys", f"SSH key {key} not found")
    return found


def _firewall(project: Project, number: int) -> int:
    if number not in project.firewalls:
        raise invalid("firewalls", f"firewall {number} not found")
    return number


def _group(project: Project, number: int | None) -> PlacementGroup | None:
    if number is None:
        return None
    group = project.placement_groups.get(number)
    if group is None:
        raise invalid("placement_group", f"placement group {number} not found")
    require_place(project, group)
    return group


def find_network(project: Project, number: int, location: Location) -> Network:
    """Find a network that servers of a location can join."""
    network = project.networks.get(number)
    if network is None:
        raise invalid("networks", f"network {number} not found")
    if not any(subnet.network_zone == location.network_zone for subnet in network.subnets):
        raise Refused(422, "no_subnet_available", f"no subnet in network zone {location.network_zone}")
    require_room(project, network)
    return network


def _delete(context: Context, number: int) -> Answer:
    context.project.get("servers", number)
    server = context.project.servers[number]
    require_unprotected(server)
    waits = [action for action in server.running if not context.machines.is_endless(action)]
    if waits or server.status == "deleting":
        raise locked()
    return Answer(200, {"action": show_action(context.machines.delete(server))})
