# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers: the order that rents one, and what is not an action."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.orders import NETWORKS_PER_SERVER, read_order, require_quota, require_stock
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
from scherbelberg.sandbox.cloud.errors import invalid_combination
from scherbelberg.sandbox.cloud.model import PrimaryIp, Server
from scherbelberg.sandbox.cloud.networking import FIREWALLS_PER_SERVER
from scherbelberg.sandbox.hosts.cloudinit import read_user_data
from scherbelberg.sandbox.hosts.driver import HostPlan

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
    "networks": checks.list_of(checks.number, at_most=NETWORKS_PER_SERVER),
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
        context.networking.apply_selectors(server)

    changes = Changes(known={"name": checks.host_name, "labels": checks.labels}, apply=apply)
    yield from shared_routes(project, "servers", show, changes=changes, filters=("name", "status"))
    yield "POST", "/servers", lambda request: _order(context, request)
    yield "DELETE", r"/servers/(\d+)", lambda _request, number: _delete(context, number)


def _order(context: Context, request: Request) -> Answer:
    project = context.project
    values = checks.read_fields(request.body, _SERVER, required=("name", "server_type", "image"))
    wanted = read_order(project, values)
    public = values.get("public_net", {})
    with_ipv4, with_ipv6 = (bool(public.get(f"enable_{kind}", True)) for kind in ("ipv4", "ipv6"))
    if not (wanted.networks or with_ipv4 or with_ipv6):
        raise invalid_combination("a server needs a public address or a network")
    project.require_unique("servers", values["name"])
    faults = context.faults()
    fresh = sum((with_ipv4 and wanted.ipv4 is None, with_ipv6 and wanted.ipv6 is None))
    require_quota(project, faults, addresses=fresh)
    require_stock(faults, wanted.server_type, wanted.location)
    server = Server(
        id=project.next_number(),
        created=project.clock.now(),
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
        user_data=values.get("user_data"),
    )
    start = values.get("start_after_create", True)
    action, following = context.servers.create(server, plan, start=start, networks=wanted.networks)
    context.networking.apply_selectors(server)
    body = {
        "server": show_server(server, project),
        "action": show_action(action),
        "next_actions": [show_action(one) for one in following],
        "root_password": None if wanted.keys else secrets.token_urlsafe(15),
    }
    return Answer(201, body)


def _address(context: Context, server: Server, primary: PrimaryIp | None, kind: Any) -> int:
    chosen = primary or context.networking.make_address(kind, server.location)
    chosen.assignee = server.id
    return chosen.id


def _delete(context: Context, number: int) -> Answer:
    context.project.get("servers", number)
    server = context.project.servers[number]
    require_unprotected(server)
    context.servers.require_free(server)
    return Answer(200, {"action": show_action(context.servers.delete(server))})
