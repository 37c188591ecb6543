# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hetzner's own Python package as a stranger: servers and their lives, snapshots, actions."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from unittest import mock

import hcloud
import pytest
from hcloud.firewalls.domain import FirewallRule
from hcloud.locations.domain import Location
from hcloud.server_types.domain import ServerType
from hcloud.servers.domain import ServerCreatePublicNetwork
from sandbox_helpers import Api, cloud_config, new_key, public, unique
from strangers import CX23, FSN1, finish, make_network, official_client, refusal, rent

from scherbelberg.sandbox.faults import ActionFault, Faults, RequestFault, SoldOut
from scherbelberg.sandbox.server import SandboxThread


@pytest.fixture
def hetzner(api: Api) -> Iterator[Any]:
    """The package's client, as anybody makes it; untyped, since every attribute of what it returns may be None."""
    with official_client(api.settings.endpoint, api.settings.token) as client:
        yield client


def test_everything_at_once(hetzner: Any, api: Api) -> None:
    """A server comes with all that was asked for, is found from all sides, and leaves the rest behind."""
    key = hetzner.ssh_keys.create(unique("key"), public(new_key()))
    network = make_network(hetzner, api.settings.network_range)
    rule = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["0.0.0.0/0"])
    firewall = hetzner.firewalls.create(unique("fw"), rules=[rule]).firewall
    group = hetzner.placement_groups.create(unique("group"), "spread").placement_group
    address = hetzner.primary_ips.create(type="ipv4", name=unique("ip"), location=FSN1).primary_ip
    made = hetzner.servers.create(
        unique("srv"),
        hetzner.server_types.get_by_name("cpx22"),
        hetzner.images.get_by_name_and_architecture("ubuntu-26.04", "x86"),
        ssh_keys=[key],
        networks=[network],
        firewalls=[firewall],
        user_data=cloud_config(packages=["vim"]),
        labels={"role": "worker", "n": "1"},
        location=hetzner.locations.get_by_name("fsn1"),
        placement_group=group,
        public_net=ServerCreatePublicNetwork(ipv4=address, enable_ipv4=True, enable_ipv6=False),
    )
    assert (made.root_password, made.server.status, made.server.locked) == (None, "initializing", True)
    assert [action.command for action in (made.action, *made.next_actions)] == [
        "create_server",
        "start_server",
        "attach_to_network",
    ]
    finish(made.action, *made.next_actions)
    server = hetzner.servers.get_by_name(made.server.name)
    assert (server.status, server.locked, server.labels) == ("running", False, {"role": "worker", "n": "1"})
    assert (server.server_type.name, server.location.name, server.image.os_version) == ("cpx22", "fsn1", "26.04")
    assert (server.public_net.ipv4.ip, server.public_net.ipv6) == (address.ip, None)
    assert server.public_net.primary_ipv4.id == address.id
    assert [(row.firewall.name, row.status) for row in server.public_net.firewalls] == [(firewall.name, "applied")]
    place = server.private_net_for(network)
    assert IPv4Address(place.ip) in IPv4Network(api.settings.network_range)
    [member] = network.get_member_all(type=["server"], status=["ok"], subnet=[api.settings.network_range], sort=["ip"])
    assert (member.id, member.ip, member.subnet) == (server.id, place.ip, api.settings.network_range)
    assert server.placement_group.servers == [server.id]
    assert firewall.get_actions(sort=["id"])[-1].command == "set_firewall_rules"
    found = hetzner.servers.get_all(label_selector="role=worker,n!=2", status=["running"])
    assert [row.id for row in found] == [server.id]
    finish(server.delete())
    assert refusal(server.reload).code == "not_found"
    address.reload()
    assert address.assignee_id is None
    assert all(row.delete() for row in (firewall, group, network, address, key))


def test_power(hetzner: Any) -> None:
    """Each switch does what it says."""
    server = rent(hetzner)
    assert server.status == "off"
    for switch, status in (
        (server.power_on, "running"),
        (server.reboot, "running"),
        (server.reset, "running"),
        (server.shutdown, "off"),
        (server.power_on, "running"),
        (server.power_off, "off"),
    ):
        action = switch()
        assert action.status == "running"
        action.wait_until_finished()
        server.reload()
        assert server.status == status
    commands = [action.command for action in server.get_actions(sort=["id"])]
    assert commands == [
        "create_server",
        "start_server",
        "reboot_server",
        "reset_server",
        "shutdown_server",
        "start_server",
        "stop_server",
    ]
    assert [action.resources for action in server.get_actions(status=["running"])] == []
    finish(server.delete())


def test_name_labels_and_protection(hetzner: Any) -> None:
    """A server is renamed and labelled, and what is protected stays."""
    server, other = rent(hetzner, labels={"a": "b"}), rent(hetzner)
    renamed = server.update(name=unique("new"), labels={"c": "d"})
    assert (renamed.labels, hetzner.servers.get_by_name(renamed.name).id) == ({"c": "d"}, server.id)
    assert refusal(lambda: server.update(name=other.name)).code == "uniqueness_error"
    assert refusal(lambda: server.update(labels={"a:b": "c"})).code == "invalid_input"
    server.change_protection(delete=True, rebuild=True)
    server.reload()
    assert server.protection == {"delete": True, "rebuild": True}
    assert refusal(server.delete).code == "protected"
    server.change_protection(delete=False, rebuild=False)
    finish(server.delete(), other.delete())


def test_types_and_snapshots(hetzner: Any) -> None:
    """A server grows, is copied, and its copy is described, refused where it does not fit, used, deleted."""
    server = rent(hetzner)
    big = ServerType(name="cx33")
    finish(server.change_type(big, upgrade_disk=True))
    server.reload()
    assert (server.server_type.name, server.primary_disk_size, server.status) == ("cx33", 80, "running")
    assert refusal(lambda: server.change_type(CX23, upgrade_disk=False)).code == "server_not_stopped"
    finish(server.power_off())
    assert refusal(lambda: server.change_type(CX23, upgrade_disk=False)).code == "invalid_server_type"
    made = server.create_image(description="before the storm", type="snapshot", labels={"what": "copy"})
    assert (made.image.status, made.image.name, made.action.command) == ("creating", None, "create_image")
    made.action.wait_until_finished()
    [image] = hetzner.images.get_all(label_selector="what=copy", type=["snapshot"])
    assert (image.status, image.disk_size, image.created_from.name) == ("available", 80, server.name)
    assert image.update(description="old", labels={"what": "else"}).description == "old"
    assert refusal(lambda: rent(hetzner, image=image)).code == "invalid_input"
    assert hetzner.images.get_all(sort=["name"])[0].id == image.id
    copy = rent(hetzner, image=image, server_type=big)
    assert copy.image.description == "old"
    image.change_protection(delete=True)
    assert refusal(image.delete).code == "protected"
    image.change_protection(delete=False)
    assert image.delete()
    finish(server.delete(), copy.delete())


def test_placement_group_of_a_server(hetzner: Any) -> None:
    """A server that is off joins a group and leaves it."""
    server = rent(hetzner)
    group = hetzner.placement_groups.create(unique("group"), "spread").placement_group
    finish(server.add_to_placement_group(group))
    group.reload()
    assert group.servers == [server.id]
    assert refusal(group.delete).code == "resource_in_use"
    finish(server.remove_from_placement_group())
    assert group.delete()
    finish(server.delete())


def test_actions_by_number(hetzner: Any) -> None:
    """An action is found under every path, and many at once by their numbers."""
    server = rent(hetzner)
    started = server.power_on()
    started.wait_until_finished()
    numbers = [started.id, server.change_protection(delete=False, rebuild=False).id]
    for actions in (hetzner.actions, hetzner.servers.actions):
        assert actions.get_by_id(numbers[0]).command == "start_server"
        assert refusal(functools.partial(actions.get_by_id, 1)).code == "not_found"
    rows = hetzner.request("GET", "/actions", params={"id": numbers})["actions"]
    assert [row["id"] for row in rows] == numbers
    assert rows[0]["resources"] == [{"id": server.id, "type": "server"}]
    finish(server.delete())


def test_failures(hetzner: Any, emulated: SandboxThread) -> None:
    """What goes wrong reaches the user as the package's own errors."""
    start = ActionFault(command="start_server", server="broken*", code="unavailable")
    create = RequestFault(method="POST", path="/placement_groups", status=503, code="unavailable")
    faults = Faults(actions=(start,), requests=(create,), sold_out=(SoldOut(server_type="cx43"),))
    emulated.set_faults(faults)
    assert refusal(lambda: hetzner.placement_groups.create("a", "spread")).code == "unavailable"
    assert refusal(lambda: rent(hetzner, server_type=ServerType(name="cx43"))).code == "resource_unavailable"
    assert refusal(lambda: rent(hetzner, location=Location(name="ash"))).code == "invalid_input"
    name = unique("broken")
    with pytest.raises(hcloud.actions.domain.ActionFailedException) as failed:
        rent(hetzner, name=name, start_after_create=True)
    assert failed.value.action.error == {"code": "unavailable", "message": mock.ANY}
    finish(hetzner.servers.get_by_name(name).delete())
