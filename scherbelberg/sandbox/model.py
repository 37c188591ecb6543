# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is in the emulated project. Mutable: this is the state that the API changes."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from attrs import Factory, define, field

from scherbelberg.sandbox.catalogue import Image, Location, ServerType

Kind = Literal["ssh_keys", "networks", "firewalls", "servers"]
Status = Literal["initializing", "starting", "running", "stopping", "off", "deleting"]


def now() -> datetime:
    """The time that goes into answers."""
    return datetime.now(UTC)


@define(kw_only=True, eq=False)
class Resource:
    """What all kinds have in common.

    Args:
        id: Its number, unique in the project across kinds.
        name: Its name, unique among its kind.
        labels: Its labels.
        created: When it was made.
    """

    id: int
    name: str
    labels: dict[str, str]
    created: datetime = Factory(now)


@define(kw_only=True, eq=False)
class SshKey(Resource):
    """A public key.

    Args:
        public_key: In OpenSSH's format.
        fingerprint: MD5, as Hetzner shows it.
    """

    public_key: str
    fingerprint: str


@define(kw_only=True, eq=False)
class Subnet:
    """A part of a network.

    Args:
        ip_range: Its addresses.
        network_zone: Where its members must be.
        type: ``cloud``, or ``server``, its older name.
    """

    ip_range: IPv4Network
    network_zone: str
    type: str


@define(kw_only=True, eq=False)
class Network(Resource):
    """A private network.

    Args:
        ip_range: All of its addresses.
        subnets: Its parts.
        expose_routes: Stored and shown, nothing else.
    """

    ip_range: IPv4Network
    subnets: list[Subnet]
    expose_routes: bool = False


@define(kw_only=True, eq=False)
class Firewall(Resource):
    """A set of rules; hosts of this sandbox share a machine, so rules are kept and shown but not enforced.

    Args:
        rules: As the client sent them.
    """

    rules: list[dict[str, Any]]


@define(kw_only=True, eq=False)
class Action:
    """Something that takes time.

    Args:
        id: Its number.
        command: What it does, in Hetzner's words.
        resources: Kind (singular) and number of what it concerns.
        status: How far it is.
        error: Code and message if it failed.
        started: When it began.
        finished: When it ended.
    """

    id: int
    command: str
    resources: tuple[tuple[str, int], ...]
    status: Literal["running", "success", "error"] = "running"
    error: tuple[str, str] | None = None
    started: datetime = Factory(now)
    finished: datetime | None = None


@define(kw_only=True, eq=False)
class PrivateAddress:
    """A server's place in a network.

    Args:
        network: The network's number.
        ip: The address.
    """

    network: int
    ip: IPv4Address

    @property
    def mac(self) -> str:
        """A locally administered hardware address that is the same for the same place."""
        return "86:00:" + ":".join(f"{byte:02x}" for byte in self.ip.packed)


@define(kw_only=True, eq=False)
class Server(Resource):
    """A server.

    Args:
        server_type: What it is.
        image: What it was made from.
        location: Where it is.
        ip: Public address, or None without one.
        ip_number: Number of its primary IPv4 address.
        ipv6: Whether it shows a public IPv6 network; nothing answers there.
        status: What the API tells.
        private: Its places in networks.
        joining: Numbers of the networks that it is about to join.
        firewalls: Number of each firewall, and whether it is in force.
        running: Actions that have not ended.
    """

    server_type: ServerType
    image: Image
    location: Location
    ip: IPv4Address | None
    ip_number: int
    ipv6: bool
    status: Status = "initializing"
    private: list[PrivateAddress] = Factory(list)
    joining: set[int] = Factory(set)
    firewalls: dict[int, bool] = Factory(dict)
    running: list[Action] = field(factory=list, repr=False)
