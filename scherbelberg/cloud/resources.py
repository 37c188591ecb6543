# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the cloud offers and what it holds, as values; how the latter is read from the API's JSON.

Source of the fields: the API's description at https://docs.hetzner.cloud, as of autumn 2026.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from scherbelberg.cloud.pricing import Price, Tariff

Json = Mapping[str, Any]
Kind = Literal["servers", "firewalls", "networks", "ssh_keys"]
#: In the order in which they are deleted.
KINDS: tuple[Kind, ...] = ("servers", "firewalls", "networks", "ssh_keys")


@frozen(kw_only=True)
class Offer:
    """A server type in one location.

    Args:
        location: Its name.
        tariff: What the server alone costs.
        available: What the cloud says of its stock; advice, wrong in both directions.
        ends_s: Epoch seconds after which it cannot be ordered, or None.
    """

    location: str
    tariff: Tariff
    available: bool
    ends_s: float | None = None

    @property
    def hourly(self) -> Price:
        """Price per hour of the server alone."""
        return self.tariff.hourly


@frozen(kw_only=True)
class ServerType:
    """A kind of server.

    Args:
        name: Such as ``cx23``.
        cores: Number of virtual cores.
        memory_bytes: Memory in bytes.
        disk_gb: Disk in gigabytes.
        architecture: ``x86`` or ``arm``.
        dedicated: Whether its cores are nobody else's.
        offers: Where it is sold.
    """

    name: str
    cores: int
    memory_bytes: int
    disk_gb: int
    architecture: str
    dedicated: bool
    offers: tuple[Offer, ...]

    def offer(self, location: str, *, now_s: float) -> Offer | None:
        """What can be ordered in a location at a time, or None."""
        for offer in self.offers:
            if offer.location == location and (offer.ends_s is None or offer.ends_s > now_s):
                return offer
        return None


@frozen(kw_only=True)
class Image:
    """What a server's disk begins with.

    Args:
        id: The cloud's number for it.
        name: Such as ``ubuntu-24.04``; None for snapshots.
        kind: ``system``, ``snapshot``, ...
        architecture: ``x86`` or ``arm``.
        flavor: Operating system, such as ``ubuntu``.
        version: Its version, such as ``24.04``, or None.
        deprecated: Whether its end is announced.
        disk_gb: Smallest disk that it fits on, in gigabytes.
        labels: What somebody says of it.
    """

    id: int
    name: str | None
    kind: str
    architecture: str
    flavor: str
    version: str | None
    deprecated: bool
    disk_gb: float
    labels: Mapping[str, str] = field(factory=dict, hash=False)

    @property
    def ubuntu(self) -> str | None:
        """Version of Ubuntu that is in it, or None if it is another system, or nobody knows."""
        return self.version if self.flavor == "ubuntu" else None


@frozen(kw_only=True)
class Location:
    """A place with servers.

    Args:
        name: Such as ``fsn1``.
        city: Where it is.
        country: ISO 3166 code of its country.
        network_zone: Machines of one zone can share a private network.
    """

    name: str
    city: str
    country: str
    network_zone: str


@frozen(kw_only=True)
class Catalog:
    """What can be rented.

    Args:
        locations: All locations.
        server_types: All server types.
        images: All images that are available.
        ipv4: Location to what a public IPv4 address costs.
        currency: ISO 4217 code of the account's currency.
        now_s: The API's clock when this was read, as epoch seconds.
        unread: What else the cloud lists, such as ``server type 'x1'``, in a way that is not understood.
    """

    locations: tuple[Location, ...]
    server_types: tuple[ServerType, ...]
    images: tuple[Image, ...]
    ipv4: Mapping[str, Tariff]
    currency: str
    now_s: float
    unread: tuple[str, ...] = ()

    @property
    def zones(self) -> dict[str, str]:
        """Location to network zone."""
        return {location.name: location.network_zone for location in self.locations}


@frozen(kw_only=True)
class PriceList:
    """What the cloud charges for what exists, also where that cannot be ordered any more.

    Args:
        servers: Server type and location, by name, to what a server alone costs.
        ipv4: Location to what a public IPv4 address costs.
        currency: ISO 4217 code of the account's currency.
        floating: Type and location of a floating address to its price per month.
        image_gb: Price of a gigabyte of a snapshot per month, or None if the cloud does not tell.
        volume_gb: The same of a volume.
    """

    servers: Mapping[tuple[str, str], Tariff]
    ipv4: Mapping[str, Tariff]
    currency: str
    floating: Mapping[tuple[str, str], Price] = field(factory=dict, hash=False)
    image_gb: Price | None = None
    volume_gb: Price | None = None


@frozen(kw_only=True)
class Resource:
    """Anything that is made in the cloud, as it was when it was read.

    Args:
        kind: Which of the API's collections it is in.
        id: The cloud's number for it.
        name: Its name, unique among its kind.
        labels: Its labels.
        is_guarded: Whether the cloud itself refuses to delete it.
    """

    kind: Kind
    id: int
    name: str
    labels: Mapping[str, str] = field(hash=False)
    is_guarded: bool = False

    @property
    def description(self) -> str:
        """Kind and name in words, such as ``ssh key cluster``."""
        return f"{self.kind.removesuffix('s').replace('_', ' ')} {self.name}"


@frozen(kw_only=True)
class Shared(Resource):
    """A network or firewall, as it was when it was read.

    Args:
        used_by: Numbers of the servers that use it, as far as the cloud tells.
    """

    used_by: tuple[int, ...] = ()


@frozen(kw_only=True)
class Firewall(Shared):
    """A firewall, as it was when it was read.

    Args:
        let_in: TCP port as text to the ranges of addresses from which it is open, or None if the cloud does not tell.
        selectors: Labels of servers that it is applied to, whichever these are at a time.
    """

    let_in: Mapping[str, tuple[str, ...]] | None = field(hash=False)
    selectors: tuple[str, ...] = ()


def _as_tuple(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(numbers)


def _by_network(addresses: Mapping[int, str]) -> dict[int, str]:
    return {int(network): address for network, address in addresses.items()}  # JSON's keys are text


@frozen(kw_only=True)
class Server(Resource):
    """A server, as it was when it was read; None stands for what the cloud does not tell.

    Args:
        status: ``initializing``, ``running``, ...
        server_type: Name of its type.
        location: Name of its location.
        created_s: When it was made, as epoch seconds of the API's clock.
        has_ipv4: Whether it has a public IPv4 address, which is paid for.
        public_ip: That address, or None also if it has none.
        public_ipv6: Its public IPv6 address, the first of its network, or None also if it has none.
        private_ips: Number of each network that it is attached to, to its address there.
        primary_ip: The cloud's number for its public IPv4 address, or None also if it has none.
        floating_ips: Numbers of the floating addresses that lead to it.
        volumes: Numbers of the volumes that are attached to it.
    """

    status: str | None
    server_type: str | None
    location: str | None
    created_s: int | None
    has_ipv4: bool | None
    public_ip: str | None
    private_ips: Mapping[int, str] = field(hash=False, converter=_by_network)
    public_ipv6: str | None = None
    primary_ip: int | None = None
    floating_ips: tuple[int, ...] = field(default=(), converter=_as_tuple)
    volumes: tuple[int, ...] = field(default=(), converter=_as_tuple)

    def private_ip(self, networks: Collection[int]) -> str | None:
        """Its address in a network of several, or None also while it is not attached.

        Args:
            networks: Their numbers.
        """
        return next((address for network, address in self.private_ips.items() if network in networks), None)


def read_resource(kind: Kind, row: Json) -> Resource:
    """Read one of any kind; servers become `Server`, firewalls `Firewall`, networks `Shared`.

    Number, name and labels are all that it takes to find and to delete something. Whatever else a row does not tell, or
    tells otherwise than it did, is unknown: an API that changes must not keep what is paid for from being given back.
    """
    labels = row["labels"].items() if isinstance(row["labels"], Mapping) else ()
    common: dict[str, Any] = {
        "kind": kind,
        "id": row["id"],
        "name": row["name"],
        "labels": {key: value for key, value in labels if isinstance(value, str)},
        "is_guarded": _inner(row, "protection", "delete") is True,
    }
    if kind == "firewalls":
        targets = _rows(row.get("applied_to"))
        selectors = (_text(target, "label_selector", "selector") for target in targets)
        return Firewall(
            **common,
            let_in=_read_openings(row.get("rules")),
            used_by=_numbers(_read_targets(targets)),
            selectors=tuple(text for text in selectors if text),
        )
    if kind == "networks":
        return Shared(**common, used_by=_numbers(_rows(row.get("servers"))))
    if kind != "servers":
        return Resource(**common)
    return Server(
        **common,
        status=_text(row, "status"),
        server_type=_text(row, "server_type", "name"),
        location=_text(row, "location", "name"),
        created_s=_read_time(row.get("created")),
        has_ipv4=_has_ipv4(row),
        public_ip=_text(row, "public_net", "ipv4", "ip"),
        public_ipv6=_first_address(_text(row, "public_net", "ipv6", "ip")),
        private_ips=dict(_read_private(row.get("private_net"))),
        primary_ip=next(iter(_numbers([_inner(row, "public_net", "ipv4", "id")])), None),
        floating_ips=_numbers(_rows(_inner(row, "public_net", "floating_ips"))),
        volumes=_numbers(_rows(row.get("volumes"))),
    )


def _inner(row: Any, *path: str) -> Any:
    """What stands in a row, or None if the way there ends before."""
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def _text(row: Any, *path: str) -> str | None:
    found = _inner(row, *path)
    return found if isinstance(found, str) and found else None


def _first_address(network: str | None) -> str | None:
    """The address that a machine has in its own IPv6 network."""
    try:
        return None if network is None else str(ipaddress.IPv6Network(network, strict=False)[1])
    except (ValueError, IndexError):
        return None


def _has_ipv4(row: Json) -> bool | None:
    """Whether a server has such an address: null says that it has none, and anything but an object says nothing."""
    public = row.get("public_net")
    if not isinstance(public, Mapping) or "ipv4" not in public:
        return None
    ipv4 = public["ipv4"]
    return False if ipv4 is None else True if isinstance(ipv4, Mapping) else None


def _read_time(value: Any) -> int | None:
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except (OverflowError, TypeError, ValueError):
        return None


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _numbers(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(value for value in values if type(value) is int)


def _read_private(attached: Any) -> Iterator[tuple[int, str]]:
    for one in _rows(attached):
        network, address = _inner(one, "network"), _text(one, "ip")
        if type(network) is int and address is not None:
            yield network, address


def _read_targets(targets: Any) -> Iterator[Any]:
    """Numbers of the servers that a firewall guards, directly or by their labels."""
    for target in _rows(targets):
        yield _inner(target, "server", "id")
        yield from _read_targets(_inner(target, "applied_to_resources"))


def _read_openings(rules: Any) -> dict[str, tuple[str, ...]] | None:
    try:
        incoming = [rule for rule in rules if (rule["direction"], rule["protocol"]) == ("in", "tcp")]
        return {str(rule["port"]): tuple(map(str, rule["source_ips"])) for rule in incoming}
    except (AttributeError, LookupError, TypeError):
        return None
