# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""All resources of the emulated project, and its actions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, TypeVar

from scherbelberg.sandbox.catalogue import Catalogue, read_catalogue
from scherbelberg.sandbox.model import Action, Firewall, Kind, Network, Resource, Server, SshKey, now
from scherbelberg.sandbox.refusals import missing, taken

R = TypeVar("R", bound=Resource)

SINGULAR: dict[Kind, str] = {
    "ssh_keys": "ssh_key",
    "networks": "network",
    "firewalls": "firewall",
    "servers": "server",
}


class Project:
    """State and nothing else: what changes it by itself is the machines' work."""

    def __init__(self) -> None:
        self.catalogue: Catalogue = read_catalogue()
        self.ssh_keys: dict[int, SshKey] = {}
        self.networks: dict[int, Network] = {}
        self.firewalls: dict[int, Firewall] = {}
        self.servers: dict[int, Server] = {}
        self.actions: dict[int, Action] = {}
        self._numbers = itertools.count(4_100_001)

    def next_number(self) -> int:
        """A number that nothing else in the project has."""
        return next(self._numbers)

    def table(self, kind: Kind) -> Mapping[int, Resource]:
        """All resources of a kind."""
        tables: dict[Kind, Mapping[int, Resource]] = {
            "ssh_keys": self.ssh_keys,
            "networks": self.networks,
            "firewalls": self.firewalls,
            "servers": self.servers,
        }
        return tables[kind]

    def get(self, kind: Kind, number: int) -> Resource:
        """Find a resource by its number.

        Raises:
            Refused: There is none.
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
            Refused: Another one has it.
        """
        if any(other.name == name and other is not besides for other in self.table(kind).values()):
            raise taken("name", f"{SINGULAR[kind]} name is already used")

    def members(self, network: Network) -> list[Server]:
        """The servers in a network."""
        return [server for server in self.servers.values() if any(at.network == network.id for at in server.private)]

    def guarded(self, firewall: Firewall) -> list[Server]:
        """The servers that a firewall is applied to."""
        return [server for server in self.servers.values() if firewall.id in server.firewalls]

    def private_addresses(self) -> set[IPv4Address]:
        """All private addresses that are in use, in whichever network: hosts share a computer."""
        return {place.ip for server in self.servers.values() for place in server.private}

    def open_action(self, command: str, *resources: tuple[str, Resource]) -> Action:
        """Begin an action; servers that it concerns are locked while it runs.

        Args:
            command: In Hetzner's words.
            resources: Kind (singular) and resource of all that it concerns.
        """
        concerned = tuple((kind, resource.id) for kind, resource in resources)
        action = Action(id=self.next_number(), command=command, resources=concerned)
        self.actions[action.id] = action
        for _, resource in resources:
            if isinstance(resource, Server):
                resource.running.append(action)
        return action

    def close_action(self, action: Action, error: tuple[str, str] | None = None) -> None:
        """End an action.

        Args:
            action: It.
            error: Code and message if it failed.
        """
        action.status = "error" if error else "success"
        action.error = error
        action.finished = now()
        for kind, number in action.resources:
            server = self.servers.get(number) if kind == "server" else None
            if server is not None and action in server.running:
                server.running.remove(action)


def choose(table: Mapping[int, R], key: int | str) -> R | None:
    """Find a resource by number or name.

    Args:
        table: Where.
        key: Which.
    """
    if isinstance(key, int):
        return table.get(key)
    return next((row for row in table.values() if row.name == key), None)


def choose_row(rows: tuple[Any, ...], key: int | str) -> Any | None:
    """Find a row of the catalogue by number or name."""
    return next((row for row in rows if key in (row.id, row.name)), None)
