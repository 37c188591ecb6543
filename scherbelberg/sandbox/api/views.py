# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the API shows what several kinds have in common, and servers, which refer to all the others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scherbelberg.sandbox.cloud.model import Action, Image, PlacementGroup, PrimaryIp, PrivateAddress, Resource, Server
from scherbelberg.sandbox.cloud.project import Project

Json = dict[str, Any]


def moment(at: datetime | None) -> str | None:
    """A time, with Hetzner's precision."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def head(resource: Resource) -> Json:
    """What every kind shows."""
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


def show_image(image: Image) -> Json:
    """An image; a snapshot has no name."""
    source = image.source
    return {
        **head(image),
        "name": image.name or None,
        "type": image.kind,
        "status": image.status,
        "description": image.description,
        "image_size": image.size_gb,
        "disk_size": image.disk_gb,
        "created_from": {"id": source[0], "name": source[1]} if source else None,
        "bound_to": None,
        "os_flavor": image.flavour,
        "os_version": image.version,
        "rapid_deploy": image.kind == "system",
        "protection": {"delete": image.protected},
        "deprecation": None,
        "deleted": None,
        "architecture": image.architecture,
    }


def show_placement_group(group: PlacementGroup, project: Project) -> Json:
    """A placement group."""
    return {**head(group), "type": group.type, "servers": [server.id for server in project.group_members(group)]}


def show_primary_ip(primary: PrimaryIp) -> Json:
    """A primary IP."""
    return {
        **head(primary),
        "type": primary.type,
        "ip": primary.ip,
        "location": primary.location.row,
        "assignee_type": "unassigned" if primary.assignee is None else "server",
        "assignee_id": primary.assignee,
        "auto_delete": primary.auto_delete,
        "blocked": False,
        "dns_ptr": _names(primary),
        "protection": {"delete": primary.protected},
    }


def _names(primary: PrimaryIp) -> list[Json]:
    known = dict(primary.dns_ptr)
    if primary.type == "ipv4":
        known.setdefault(primary.ip, "static." + ".".join(reversed(primary.ip.split("."))) + ".clients.your-server.de")
    return [{"ip": ip, "dns_ptr": name} for ip, name in known.items()]


def show_server(server: Server, project: Project) -> Json:
    """A server."""
    group = server.placement_group
    return {
        **head(server),
        "status": server.status,
        "locked": bool(server.running),
        "public_net": _show_public(server, project),
        "private_net": [_show_private(place) for place in server.private],
        "server_type": server.server_type.row,
        "location": server.location.row,
        "image": show_image(server.image) if server.image else None,
        "iso": None,
        "rescue_enabled": False,
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": _included_traffic(server),
        "protection": {"delete": server.protected, "rebuild": server.protected},
        "volumes": [],
        "load_balancers": [],
        "primary_disk_size": server.disk_gb,
        "placement_group": None if group is None else show_placement_group(project.placement_groups[group], project),
    }


def _included_traffic(server: Server) -> int:
    prices = server.server_type.row["prices"]
    return int(next(row["included_traffic"] for row in prices if row["location"] == server.location.name))


def _show_public(server: Server, project: Project) -> Json:
    firewalls = server.selected | server.firewalls
    return {
        "ipv4": _show_address(server.ipv4, project),
        "ipv6": _show_address(server.ipv6, project),
        "floating_ips": [],
        "firewalls": [
            {"id": number, "status": "applied" if in_force else "pending"} for number, in_force in firewalls.items()
        ],
    }


def _show_address(number: int | None, project: Project) -> Json | None:
    if number is None:
        return None
    primary = project.primary_ips[number]
    names = _names(primary)
    shown = names[0]["dns_ptr"] if primary.type == "ipv4" else names
    return {"id": number, "ip": primary.ip, "blocked": False, "dns_ptr": shown}


def _show_private(place: PrivateAddress) -> Json:
    return {"network": place.network, "ip": str(place.ip), "alias_ips": [], "mac_address": place.mac}
