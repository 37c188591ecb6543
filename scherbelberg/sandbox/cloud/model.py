# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is in the emulated project. Mutable: this is the state that the API changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from attrs import Factory, define, field

from scherbelberg.sandbox.cloud.catalog import Location, ServerType

Kind = Literal["ssh_keys", "networks", "firewalls", "servers", "placement_groups", "primary_ips", "images"]
Status = Literal["initializing", "starting", "running", "stopping", "off", "deleting"]


@define(kw_only=True, eq=False)
class Resource:
    """What all kinds have in common.

    Args:
        id: Its number, unique in the project across kinds.
        name: Its name, unique among its kind; the empty text for a snapshot, which has none.
        labels: Its labels.
        created: When it was made.
        protected: Whether it cannot be deleted.
    """

    id: int
    name: str
    labels: dict[str, str]
    created: datetime
    protected: bool = False


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
        routes: Destination and gateway of each route; stored and shown, nothing else.
        expose_routes: Stored and shown, nothing else.
    """

    ip_range: IPv4Network
    subnets: list[Subnet]
    routes: list[dict[str, str]] = Factory(list)
    expose_routes: bool = False

    @property
    def gateway(self) -> IPv4Address:
        """The first address of a network is Hetzner's."""
        return self.ip_range.network_address + 1


@define(kw_only=True, eq=False)
class Firewall(Resource):
    """A set of rules. Hosts of a sandbox without network namespaces keep and show rules, but do not enforce them.

    Args:
        rules: As the client sent them.
        selectors: Label selectors: what they match has this firewall too.
    """

    rules: list[dict[str, Any]]
    selectors: list[str] = Factory(list)


@define(kw_only=True, eq=False)
class PlacementGroup(Resource):
    """Servers that are spread over different machines.

    Args:
        type: ``spread``, the only one there is.
    """

    type: str


@define(kw_only=True, eq=False)
class PrimaryIp(Resource):
    """A public address, which may outlive its server.

    Args:
        type: ``ipv4`` or ``ipv6``.
        ip: The address, or the IPv6 network.
        location: Where it can be used.
        auto_delete: Whether it goes with its server.
        assignee: Number of its server, or None.
        dns_ptr: Address to name, as far as set by the client.
    """

    type: Literal["ipv4", "ipv6"]
    ip: str
    location: Location
    auto_delete: bool
    assignee: int | None = None
    dns_ptr: dict[str, str] = Factory(dict)


@define(kw_only=True, eq=False)
class Image(Resource):
    """What a server's disk begins with.

    Args:
        kind: ``system`` comes with the cloud, a ``snapshot`` was made by the client.
        architecture: ``x86`` or ``arm``.
        flavour: Operating system, such as ``ubuntu``.
        version: Its version, such as ``24.04``, or None.
        description: A line for people.
        disk_gb: Disk that it needs at least.
        size_gb: Compressed size of a snapshot, or None for a system image and while the snapshot is made.
        source: Number and name of the server that a snapshot was made of.
        status: Whether it can be used.
    """

    kind: Literal["system", "snapshot"]
    architecture: str
    flavour: str
    version: str | None
    description: str
    disk_gb: int
    size_gb: float | None = None
    source: tuple[int, str] | None = None
    status: Literal["available", "creating"] = "available"


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
        undo: Takes back what was done when it began; called once, if it ends in an error.
    """

    id: int
    command: str
    resources: tuple[tuple[str, int], ...]
    status: Literal["running", "success", "error"] = "running"
    error: tuple[str, str] | None = None
    started: datetime
    finished: datetime | None = None
    undo: Callable[[], object] = field(default=lambda: None, repr=False)


@define(kw_only=True, eq=False)
class PrivateAddress:
    """A server's place in a network.

    Args:
        network: The network's number.
        ip: The address.
        status: Whether traffic flows already, or still.
    """

    network: int
    ip: IPv4Address
    status: Literal["attached", "detaching"] = "attached"

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
        disk_gb: Its disk, which a change of type may leave as it was.
        ipv4: Number of its primary IPv4 address, or None.
        ipv6: Number of its primary IPv6 network, or None; its host takes SSH at its first address.
        placement_group: Number of its placement group, or None.
        status: What the API tells.
        private: Its places in networks.
        joining: Number of each network that it is about to join, and the address that it will have there.
        firewalls: Number of each firewall given to it directly, and whether it is in force.
        selected: The same of firewalls that it has by its labels.
        running: Actions that have not ended.
    """

    server_type: ServerType
    image: Image | None
    location: Location
    disk_gb: int
    ipv4: int | None
    ipv6: int | None
    placement_group: int | None = None
    status: Status = "initializing"
    private: list[PrivateAddress] = Factory(list)
    joining: dict[int, IPv4Address] = Factory(dict)
    firewalls: dict[int, bool] = Factory(dict)
    selected: dict[int, bool] = Factory(dict)
    running: list[Action] = field(factory=list, repr=False)
