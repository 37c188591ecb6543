# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an order of a server names, looked up: whether it is there, fits together, and is in stock."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import IPv4Address
from itertools import combinations
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.api.placement_groups import require_place
from scherbelberg.sandbox.cloud.catalog import Location, ServerType
from scherbelberg.sandbox.cloud.errors import ApiError, invalid, invalid_combination, over_limit
from scherbelberg.sandbox.cloud.model import Image, Network, PlacementGroup, PrimaryIp, SshKey
from scherbelberg.sandbox.cloud.networking import choose_address, require_room
from scherbelberg.sandbox.cloud.project import Project, choose, choose_row
from scherbelberg.sandbox.faults import Disguise, Faults

Json = dict[str, Any]
#: Most networks that one server may be in.
NETWORKS_PER_SERVER = 3


@frozen(kw_only=True)
class Order:
    """What an order asks for, looked up."""

    server_type: ServerType
    location: Location
    image: Image
    keys: list[SshKey]
    networks: list[tuple[Network, IPv4Address]]
    firewalls: list[int]
    group: PlacementGroup | None
    ipv4: PrimaryIp | None
    ipv6: PrimaryIp | None


def read_order(project: Project, values: Json) -> Order:
    """Find all that an order names.

    Args:
        project: The state.
        values: The checked fields of the order.

    Raises:
        ApiError: Something is missing, or does not fit.
    """
    server_type = find_type(project, values["server_type"])
    group = _group(project, values.get("placement_group"))
    addresses = [_primary_ip(project, values.get("public_net", {}), kind) for kind in ("ipv4", "ipv6")]
    location = _location(project, values.get("location"), server_type, addresses)
    return Order(
        server_type=server_type,
        location=location,
        image=_image(project, values["image"], server_type),
        keys=[_ssh_key(project, key) for key in values.get("ssh_keys", [])],
        networks=_networks(project, values.get("networks", []), location),
        firewalls=[_firewall(project, row["firewall"]) for row in values.get("firewalls", [])],
        group=group,
        ipv4=addresses[0],
        ipv6=addresses[1],
    )


def find_type(project: Project, key: int | str, *, retired_code: str = "invalid_input") -> ServerType:
    """Find a server type that can be ordered.

    Args:
        project: The state.
        key: Number or name.
        retired_code: Code of the error for a type that is no longer sold.

    Raises:
        ApiError: There is none.
    """
    found: ServerType | None = choose_row(project.catalog.server_types, key)
    if found is None:
        raise invalid("server_type", f"server type {key} not found")
    if found.retired:
        raise ApiError(422, retired_code, f"server type {found.id} is deprecated")
    return found


def _location(
    project: Project, key: int | str | None, server_type: ServerType, addresses: list[PrimaryIp | None]
) -> Location:
    given = [primary.location.name for primary in addresses if primary is not None]
    wanted = (given or [server_type.locations[0]])[0] if key is None else key
    found: Location | None = choose_row(project.catalog.locations, wanted)
    if found is None:
        raise invalid("location", f"location {wanted} not found")
    if found.name not in server_type.locations:
        raise invalid_combination("unsupported location for server type")
    if any(name != found.name for name in given):
        raise ApiError(422, "primary_ip_datacenter_mismatch", "primary IP is in another location")
    return found


def _primary_ip(project: Project, public: Json, kind: str) -> PrimaryIp | None:
    number = public.get(kind)
    if number is None:
        return None
    primary = project.primary_ips.get(number)
    if primary is None or not public.get(f"enable_{kind}", True):
        raise invalid(f"public_net.{kind}", f"primary IP {number} not found, or {kind} is not enabled")
    if primary.assignee is not None:
        raise ApiError(409, "primary_ip_assigned", "primary IP is already assigned to a server")
    if primary.type != kind:
        raise ApiError(422, "primary_ip_version_mismatch", "primary IP has the wrong IP version")
    return primary


def _image(project: Project, key: int | str, server_type: ServerType) -> Image:
    images = [image for image in project.images.values() if key == image.id or (image.name and key == image.name)]
    if not images:
        raise invalid("image", f"image {key} not found")
    fitting = [image for image in images if image.architecture == server_type.architecture]
    if not fitting:
        raise invalid_combination(
            f"image architecture does not fit server type architecture {server_type.architecture}"
        )
    image = fitting[0]
    if image.status != "available":
        raise invalid_combination("image is not available yet")
    if image.disk_gb > server_type.disk:
        raise invalid_combination(f"image needs a disk of {image.disk_gb} GB, server type has {server_type.disk} GB")
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


def _networks(project: Project, numbers: list[int], location: Location) -> list[tuple[Network, IPv4Address]]:
    networks = []
    for number in dict.fromkeys(numbers):
        if number not in project.networks:
            raise invalid("networks", f"network {number} not found")
        networks.append(project.networks[number])
    require_apart(networks)
    for network in networks:
        require_room(project, network)
    return [(network, choose_address(project, network, location)) for network in networks]


def require_apart(networks: list[Network]) -> None:
    """Refuse to attach a server to networks that have addresses in common.

    Raises:
        ApiError: They have.
    """
    if any(one.ip_range.overlaps(other.ip_range) for one, other in combinations(networks, 2)):
        raise ApiError(422, "networks_overlap", "networks overlap")


def require_quota(project: Project, faults: Faults, *, addresses: int) -> None:
    """Refuse one more server.

    Args:
        project: The state.
        faults: The quotas.
        addresses: Number of primary IPs that come with it.

    Raises:
        ApiError: The account may not have it.
    """
    if faults.servers is not None and len(project.servers) >= faults.servers:
        raise over_limit("server_limit", "server_limit exceeded")
    if faults.primary_ips is not None and len(project.primary_ips) + addresses > faults.primary_ips:
        raise over_limit("primary_ip_limit", "primary_ip_limit exceeded")


def require_stock(faults: Faults, server_type: ServerType, location: Location) -> None:
    """Refuse what is sold out, in one of Hetzner's ways.

    Raises:
        ApiError: It is.
    """
    for row in faults.sold_out:
        if fnmatchcase(server_type.name, row.server_type) and fnmatchcase(location.name, row.location):
            raise _sold_out(row.disguise, server_type)


def _sold_out(disguise: Disguise, server_type: ServerType) -> ApiError:
    match disguise:
        case "placement":
            return ApiError(412, "resource_unavailable", "error during placement")
        case "location_disabled":
            return ApiError(412, "resource_unavailable", "server location disabled")
        case "unsupported_location":
            return invalid_combination("unsupported location for server type")
        case "deprecated_type":
            return invalid_combination(f"server type {server_type.id} is deprecated")
