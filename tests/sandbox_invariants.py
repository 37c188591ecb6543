# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What must hold in the emulated cloud whatever was asked of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from sandbox_world import Json, World

#: The resources of each kind, by number, as lists show them.
Rows = dict[str, dict[int, Json]]


def check_addresses(rows: Rows, *, asked_for: set[int]) -> None:
    """Each address belongs to a server that shows it, or was wanted without one."""
    shown = {
        (address["id"], number)
        for number, server in rows["servers"].items()
        for address in (server["public_net"]["ipv4"], server["public_net"]["ipv6"])
        if address is not None
    }
    assigned = {(number, row["assignee_id"]) for number, row in rows["primary_ips"].items() if row["assignee_id"]}
    assert shown == assigned
    free = {number for number, row in rows["primary_ips"].items() if not row["assignee_id"]}
    assert free <= asked_for
    ips = [row["ip"] for row in rows["primary_ips"].values()]
    assert len(ips) == len(set(ips))


def check_networks(world: World, rows: Rows) -> None:
    """Places in networks and members of networks are the same."""
    places = [
        (place["network"], server["id"], place["ip"])
        for server in rows["servers"].values()
        for place in server["private_net"]
    ]
    assert {(network, number) for network, number, _ in places} == {
        (network["id"], number) for network in rows["networks"].values() for number in network["servers"]
    }
    ips = [ip for _, _, ip in places]
    assert len(ips) == len(set(ips))
    for network, _, ip in places:
        subnets = [IPv4Network(row["ip_range"]) for row in rows["networks"][network]["subnets"]]
        assert any(IPv4Address(ip) in subnet for subnet in subnets)
    for number, network in rows["networks"].items():
        members = world.send("GET", f"/networks/{number}/members", per_page="50").body["members"]
        here = [row["id"] for row in members if row["status"] != "attaching"]
        assert sorted(here) == sorted(network["servers"])
        assert {row["id"] for row in members} <= set(rows["servers"])


def check_firewalls(rows: Rows) -> None:
    """Firewalls and servers agree on who has which."""
    shown = {(row["id"], n) for n, server in rows["servers"].items() for row in server["public_net"]["firewalls"]}
    applied: set[tuple[int, int]] = set()
    for number, firewall in rows["firewalls"].items():
        for target in firewall["applied_to"]:
            inner = [target] if target["type"] == "server" else target["applied_to_resources"]
            applied |= {(number, one["server"]["id"]) for one in inner}
    assert applied <= shown
    assert {number for number, _ in shown} <= set(rows["firewalls"])


def check_groups(rows: Rows) -> None:
    """Groups and servers agree on who is in which."""
    servers = rows["servers"].values()
    shown = {(server["placement_group"]["id"], server["id"]) for server in servers if server["placement_group"]}
    groups = rows["placement_groups"]
    assert shown == {(number, one) for number, group in groups.items() for one in group["servers"]}
    assert all(len(group["servers"]) <= 10 for group in groups.values())


def check_actions(servers: dict[int, Json], running: list[list[int]]) -> None:
    """What runs concerns servers that are there, which are locked by it."""
    concerned = {number for numbers in running for number in numbers}
    assert concerned <= set(servers)
    assert concerned == {number for number, server in servers.items() if server["locked"]}
    for number, server in servers.items():
        if server["status"] == "deleting":
            assert sum(number in numbers for numbers in running) == 1
