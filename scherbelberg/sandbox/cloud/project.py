# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""All resources of the emulated project, and its actions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from typing import Any, TypeVar, cast

from scherbelberg.sandbox.cloud.catalog import IMAGES, Catalog, make_catalog
from scherbelberg.sandbox.cloud.clock import Clock
from scherbelberg.sandbox.cloud.errors import missing, taken
from scherbelberg.sandbox.cloud.model import (
    Action,
    Firewall,
    Image,
    Kind,
    Network,
    PlacementGroup,
    PrimaryIp,
    Resource,
    Server,
    SshKey,
)

R = TypeVar("R", bound=Resource)

SINGULAR: dict[Kind, str] = {
    "ssh_keys": "ssh_key",
    "networks": "network",
    "firewalls": "firewall",
    "servers": "server",
    "placement_groups": "placement_group",
    "primary_ips": "primary_ip",
    "images": "image",
}


class Project:
    """State and nothing else: what changes it by itself is the actions' work."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.catalog: Catalog = make_catalog()
        self.ssh_keys: dict[int, SshKey] = {}
        self.networks: dict[int, Network] = {}
        self.firewalls: dict[int, Firewall] = {}
        self.servers: dict[int, Server] = {}
        self.placement_groups: dict[int, PlacementGroup] = {}
        self.primary_ips: dict[int, PrimaryIp] = {}
        self.images: dict[int, Image] = {row[0]: _system_image(row) for row in IMAGES}
        self.actions: dict[int, Action] = {}
        self._numbers = itertools.count(4_100_001)

    def label_images(self, labels: Mapping[str, str]) -> None:
        """Have the system images tell what they hold.

        Args:
            labels: In the words that clients read.
        """
        for image in self.images.values():
            image.labels = dict(labels)

    def next_number(self) -> int:
        """A number that nothing else in the project has."""
        return next(self._numbers)

    def table(self, kind: Kind) -> dict[int, Resource]:
        """All resources of a kind."""
        return cast("dict[int, Resource]", getattr(self, kind))

    def get(self, kind: Kind, number: int) -> Resource:
        """Find a resource by its number.

        Raises:
            ApiError: There is none.
        """
        found = self.table(kind).get(number)
        if found is None:
            raise missing(SINGULAR[kind], number)
        return found

    def require_unique(self, kind: Kind, name: str, *, besides: Resource | None = None) -> None:
        """Refuse a name that is taken.

        Args:
            kind: Among which resources.
            name: The name.
            besides: The resource that may have it.

        Raises:
            ApiError: Another one has it.
        """
        if any(other.name == name and other is not besides for other in self.table(kind).values()):
            raise taken("name", f"{SINGULAR[kind]} name is already used")

    def members(self, network: Network) -> list[Server]:
        """The servers in a network."""
        return [server for server in self.servers.values() if any(at.network == network.id for at in server.private)]

    def servers_behind(self, firewall: Firewall) -> list[Server]:
        """The servers that a firewall is applied to, directly or by their labels."""
        number = firewall.id
        return [one for one in self.servers.values() if number in one.firewalls or number in one.selected]

    def group_members(self, group: PlacementGroup) -> list[Server]:
        """The servers of a placement group."""
        return [server for server in self.servers.values() if server.placement_group == group.id]

    def address(self, server: Server) -> str | None:
        """A server's public IPv4 address, or None."""
        return None if server.ipv4 is None else self.primary_ips[server.ipv4].ip

    def address_ipv6(self, server: Server) -> str | None:
        """The first address of a server's public IPv6 network, which its machine has, or None."""
        return None if server.ipv6 is None else str(IPv6Network(self.primary_ips[server.ipv6].ip)[1])

    def private_addresses(self) -> set[IPv4Address]:
        """All private addresses that are in use or promised, in whichever network: hosts share a computer."""
        servers = self.servers.values()
        return {
            address for server in servers for address in (*(at.ip for at in server.private), *server.joining.values())
        }

    def private_places(self, number: int) -> dict[int, str]:
        """A server's private addresses, by their networks' numbers; none when there is no such server."""
        server = self.servers.get(number)
        return {} if server is None else {place.network: str(place.ip) for place in server.private}

    def interfaces(self, number: int) -> dict[int, IPv4Interface]:
        """The same, with the networks' prefixes."""
        return {
            network: IPv4Interface(f"{ip}/{self.networks[network].ip_range.prefixlen}")
            for network, ip in self.private_places(number).items()
            if network in self.networks
        }

    def rules(self, number: int) -> list[dict[str, Any]] | None:
        """The rules of all firewalls that are in force on a server, or None if none is."""
        server = self.servers.get(number)
        if server is None:
            return None
        forced = {one for table in (server.firewalls, server.selected) for one, is_forced in table.items() if is_forced}
        found = [self.firewalls[one] for one in sorted(forced) if one in self.firewalls]
        return [rule for firewall in found for rule in firewall.rules] if found else None

    def open_action(self, command: str, *resources: tuple[str, Resource]) -> Action:
        """Begin an action; servers that it concerns are locked while it runs.

        Args:
            command: In Hetzner's words.
            resources: Kind (singular) and resource of all that it concerns.
        """
        concerned = tuple((kind, resource.id) for kind, resource in resources)
        action = Action(id=self.next_number(), command=command, resources=concerned, started=self.clock.now())
        self.actions[action.id] = action
        for _, resource in resources:
            if isinstance(resource, Server):
                resource.running.append(action)
        return action

    def close_action(self, action: Action, error: tuple[str, str] | None = None) -> None:
        """End an action; one that fails is undone.

        Args:
            action: It.
            error: Code and message if it failed.
        """
        action.status = "error" if error else "success"
        action.error = error
        action.finished = self.clock.now()
        for kind, number in action.resources:
            server = self.servers.get(number) if kind == "server" else None
            if server is not None and action in server.running:
                server.running.remove(action)
        if error:
            action.undo()


def _system_image(row: tuple[int, str, str, str, str, str]) -> Image:
    number, architecture, flavour, version, description, created = row
    return Image(
        id=number,
        name=f"{flavour}-{version}",
        labels={},
        created=datetime.fromisoformat(created),
        kind="system",
        architecture=architecture,
        flavour=flavour,
        version=version,
        description=description,
        disk_gb=5,
    )


def choose(table: Mapping[int, R], key: int | str) -> R | None:
    """Find a resource by number or name; a name of digits is taken for a number.

    Args:
        table: Where.
        key: Which.
    """
    number = int(key) if isinstance(key, int) or (key.isascii() and key.isdigit()) else None
    if number is not None and number in table:
        return table[number]
    return next((row for row in table.values() if row.name and row.name == key), None)


def choose_row(rows: tuple[Any, ...], key: int | str) -> Any | None:
    """Find a row of the catalog by number or name."""
    return next((row for row in rows if str(key) in (str(row.id), row.name)), None)
