# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reading the API's JSON: each reader's result is stated in full."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from catalogues import CX22, NOW_S

from scherbelberg.cloud.offers import read_image, read_ipv4_prices, read_server_type
from scherbelberg.cloud.pricing import Price, Tariff, read_price
from scherbelberg.cloud.resources import (
    KINDS,
    Firewall,
    Image,
    Offer,
    Resource,
    Server,
    ServerType,
    Shared,
    read_resource,
)


def _price(net: str, gross: str) -> dict[str, str]:
    return {"net": net, "gross": gross}


def _tariff(net: str, gross: str, *, monthly: tuple[str, str] = ("5", "6")) -> Tariff:
    return Tariff(
        hourly=Price(net=Decimal(net), gross=Decimal(gross)),
        monthly=Price(net=Decimal(monthly[0]), gross=Decimal(monthly[1])),
    )


def test_kinds() -> None:
    """What costs money is deleted first, and nothing before what uses it."""
    assert KINDS == ("servers", "firewalls", "networks", "ssh_keys")


def test_read_server_type() -> None:
    """A type is sold where it has both a place and a price; deprecation and stock are those of the place."""
    row = {
        "id": 114,
        "name": "cx23",
        "description": "CX23",
        "cores": 2,
        "memory": 4.0,
        "disk": 40,
        "architecture": "x86",
        "cpu_type": "shared",
        "deprecation": None,
        "prices": [
            {
                "location": "hel1",
                "price_hourly": _price("0.0088", "0.0104720000"),
                "price_monthly": _price("5", "6"),
            },
            {
                "location": "fsn1",
                "price_hourly": _price("0.0088000000", "0.0105"),
                "price_monthly": _price("5", "6"),
            },
            {"location": "nbg1", "price_hourly": _price("0.0090", "0.0107"), "price_monthly": _price("5", "6")},
            {"location": "ash", "price_hourly": _price("1", "2"), "price_monthly": _price("3", "4")},
        ],
        "locations": [
            {"id": 1, "name": "fsn1", "available": True, "recommended": True, "deprecation": None},
            {
                "id": 2,
                "name": "nbg1",
                "available": False,
                "recommended": False,
                "deprecation": {"announced": "2026-09-16T00:00:00Z", "unavailable_after": "2026-12-16T01:00:00+01:00"},
            },
            {"id": 3, "name": "hel1"},
            {"id": 6, "name": "sin", "available": True, "deprecation": None},
        ],
    }
    assert read_server_type(row) == ServerType(
        name="cx23",
        cores=2,
        memory_bytes=4 * 2**30,
        disk_gb=40,
        architecture="x86",
        dedicated=False,
        offers=(
            Offer(location="fsn1", tariff=_tariff("0.0088", "0.0105"), available=True),
            Offer(
                location="nbg1",
                tariff=_tariff("0.0090", "0.0107"),
                available=False,
                ends_s=1797379200,  # 2026-12-16T00:00:00Z
            ),
            Offer(location="hel1", tariff=_tariff("0.0088", "0.010472"), available=True),
        ),
    )


@pytest.mark.parametrize("memory", [0.5, 4, 4.0, "4.0"])
def test_memory(memory: float) -> None:
    """Memory comes in GiB, and may be a fraction."""
    row: dict[str, Any] = {
        "name": "x",
        "cores": 1,
        "memory": memory,
        "disk": 1,
        "architecture": "x86",
        "cpu_type": "dedicated",
        "prices": [],
        "locations": [],
    }
    assert read_server_type(row).memory_bytes == float(memory) * 2**30


@pytest.mark.parametrize(("at_s", "sold"), [(NOW_S - 0.5, True), (NOW_S, False), (NOW_S + 1, False)])
def test_offer_ends(at_s: float, sold: bool) -> None:
    """An offer can be ordered until its end."""
    assert (CX22.offer("fsn1", now_s=at_s) is not None) is sold


def test_no_offer() -> None:
    """Where a type is not sold there is no offer."""
    assert CX22.offer("hel1", now_s=0) is None
    assert CX22.offer("nowhere", now_s=0) is None


def test_read_price_is_exact() -> None:
    """Prices are decimal text and stay so."""
    assert read_price(_price("0.1000000000", "0.119")) == Price(net=Decimal("0.1"), gross=Decimal("0.119"))


def test_read_ipv4_prices() -> None:
    """Of all prices those of a public IPv4 address are taken, per hour and location."""
    prices = [
        {"location": "fsn1", "price_hourly": _price("0.0008", "0.00096"), "price_monthly": _price("0.5", "0.6")},
        {"location": "ash", "price_hourly": _price("0.0009", "0.00108"), "price_monthly": _price("0.6", "0.7")},
    ]
    pricing = {"primary_ips": [{"type": "ipv6", "prices": []}, {"type": "ipv4", "prices": prices}]}
    assert read_ipv4_prices(pricing) == {
        "fsn1": _tariff("0.0008", "0.00096", monthly=("0.5", "0.6")),
        "ash": _tariff("0.0009", "0.00108", monthly=("0.6", "0.7")),
    }
    assert read_ipv4_prices({"primary_ips": []}) == {}


_IMAGE: dict[str, Any] = {
    "id": 67794396,
    "type": "system",
    "status": "available",
    "name": "ubuntu-24.04",
    "description": "Ubuntu 24.04",
    "os_flavor": "ubuntu",
    "os_version": "24.04",
    "architecture": "arm",
    "disk_size": 5,
}


def test_read_image() -> None:
    """An image is read in full."""
    assert read_image(_IMAGE | {"deprecation": None}) == Image(
        id=67794396,
        name="ubuntu-24.04",
        kind="system",
        architecture="arm",
        flavor="ubuntu",
        version="24.04",
        deprecated=False,
        disk_gb=5,
    )


@pytest.mark.parametrize(
    "extra",
    [
        {"deprecation": {"announced": "2026-09-08T00:00:00Z", "unavailable_after": "2026-12-08T00:00:00Z"}},
        {"deprecated": "2026-09-08T00:00:00Z"},
        {"deprecated": "2026-09-08T00:00:00Z", "deprecation": None},
    ],
)
def test_deprecated_image(extra: dict[str, Any]) -> None:
    """An image's end is said by the new field or the old one."""
    assert read_image(_IMAGE | extra).deprecated


def test_read_snapshot() -> None:
    """A snapshot has no name, and perhaps no version."""
    snapshot = read_image(_IMAGE | {"type": "snapshot", "name": None, "os_version": None})
    assert (snapshot.kind, snapshot.name, snapshot.version) == ("snapshot", None, None)


_SERVER: dict[str, Any] = {
    "id": 42,
    "name": "cluster-scheduler",
    "status": "running",
    "created": "2026-11-18T09:06:40Z",
    "labels": {"uid": "u"},
    "server_type": {"id": 114, "name": "cx23"},
    "location": {"id": 1, "name": "fsn1", "network_zone": "eu-central"},
    "public_net": {
        "ipv4": {"id": 7, "ip": "198.51.100.1"},
        "ipv6": {"ip": "2001:db8::/64"},
        "firewalls": [],
        "floating_ips": [8],
    },
    "volumes": [5, 6],
    "private_net": [{"network": 9, "ip": "10.0.0.2", "alias_ips": [], "mac_address": "86:00:00:00:00:01"}],
}


def test_read_server() -> None:
    """A server is read in full."""
    assert read_resource("servers", _SERVER) == Server(
        kind="servers",
        id=42,
        name="cluster-scheduler",
        labels={"uid": "u"},
        status="running",
        server_type="cx23",
        location="fsn1",
        created_s=1794992800,
        has_ipv4=True,
        public_ip="198.51.100.1",
        public_ipv6="2001:db8::1",
        private_ips={9: "10.0.0.2"},
        primary_ip=7,
        floating_ips=(8,),
        volumes=(5, 6),
    )


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("2001:db8:1:2::/64", "2001:db8:1:2::1"),
        ("2001:db8:1:2::5/64", "2001:db8:1:2::1"),
        ("2001:db8::7/128", None),
        ("198.51.100.1", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_ipv6_address(network: object, expected: str | None) -> None:
    """Of the network that the cloud names, a machine has the first address; what is none is nothing."""
    server = read_resource("servers", _SERVER | {"public_net": {"ipv4": None, "ipv6": {"ip": network}}})
    assert isinstance(server, Server)
    assert server.public_ipv6 == expected


def test_read_server_without_addresses() -> None:
    """A server may have no public IPv4 address, and is not attached at first."""
    server = read_resource("servers", _SERVER | {"public_net": {"ipv4": None, "ipv6": None}, "private_net": []})
    assert isinstance(server, Server)
    assert (server.has_ipv4, server.public_ip, server.private_ips) == (False, None, {})


@pytest.mark.parametrize("kind", ["networks", "ssh_keys"])
def test_read_other_resources(kind: Any) -> None:
    """Of all other kinds number, name and labels are read."""
    resource = read_resource(kind, {"id": 3, "name": "cluster", "labels": {"a": "b"}, "created": "2026-11-18"})
    expected = Shared if kind == "networks" else Resource
    assert resource == expected(kind=kind, id=3, name="cluster", labels={"a": "b"})
    assert type(resource) is expected


def test_read_firewall() -> None:
    """Of a firewall, it is read who is let in by TCP and where, and nothing else that it says."""
    rules = [
        {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["192.0.2.0/24", "::/0"]},
        {"direction": "in", "protocol": "udp", "port": "53", "source_ips": ["0.0.0.0/0"]},
        {"direction": "in", "protocol": "icmp", "port": None, "source_ips": ["0.0.0.0/0"]},
        {"direction": "out", "protocol": "tcp", "port": "80", "destination_ips": ["0.0.0.0/0"]},
    ]
    firewall = read_resource("firewalls", {"id": 3, "name": "cluster", "labels": {}, "rules": rules})
    assert isinstance(firewall, Firewall)
    assert firewall.let_in == {"22": ("192.0.2.0/24", "::/0")}


def test_resources_are_hashable() -> None:
    """Resources can be members of a set, whatever their labels."""
    assert len({read_resource("servers", _SERVER), read_resource("servers", _SERVER)}) == 1
