# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hetzner's own Python package as a stranger: what servers are connected to."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from hcloud.firewalls.domain import FirewallResource, FirewallResourceLabelSelector
from hcloud.networks.domain import NetworkSubnet
from hcloud.servers.domain import ServerCreatePublicNetwork
from sandbox_helpers import Api, unique
from strangers import FSN1, finish, make_network, official_client, refusal, rent

from scherbelberg.sandbox.faults import ActionFault, Faults
from scherbelberg.sandbox.server import SandboxThread


@pytest.fixture
def hetzner(api: Api) -> Iterator[Any]:
    """The package's client, as anybody makes it; untyped, since every attribute of what it returns may be None."""
    with official_client(api.settings.endpoint, api.settings.token) as client:
        yield client


def test_networks_of_a_server(hetzner: Any, api: Api) -> None:
    """A server joins a network at an address or in a subnet of its choice, and leaves it."""
    whole = IPv4Network(api.settings.network_range)
    first, second, *_ = map(str, whole.subnets(new_prefix=24))
    network = make_network(hetzner, str(whole)[:-2] + "20")
    network.delete_subnet(network.subnets[0])
    for ip_range in (first, second):
        network.add_subnet(NetworkSubnet(type="cloud", ip_range=ip_range, network_zone="eu-central"))
    server, other = rent(hetzner), rent(hetzner)
    finish(
        server.attach_to_network(network, ip=str(whole[77])),
        other.attach_to_network(network, ip_range=second),
    )
    assert {row.id: (row.ip, row.subnet) for row in network.get_member_all()} == {
        server.id: (str(whole[77]), first),
        other.id: (str(whole[258]), second),
    }
    assert refusal(lambda: server.attach_to_network(network)).code == "server_already_attached"
    assert refusal(lambda: network.delete_subnet(NetworkSubnet(ip_range=second))).code == "resource_in_use"
    finish(server.detach_from_network(network), other.detach_from_network(network))
    server.reload()
    assert server.private_net == []
    nowhere: list[dict[str, str]] = [
        {"ip": str(whole[-2])},
        {"ip_range": f"{whole[512]}/24"},
        {"ip": str(whole[9]), "ip_range": second},
    ]
    for place in nowhere:
        error = refusal(functools.partial(server.attach_to_network, network, **place))
        assert error.code in ("ip_not_available", "no_subnet_available")
    finish(server.delete(), other.delete())
    assert network.delete()


def test_unfinished(hetzner: Any, api: Api, emulated: SandboxThread) -> None:
    """What takes long is seen on its way, locks the server, and does not keep it from being deleted."""
    network = make_network(hetzner, api.settings.network_range)
    leaver, joiner = rent(hetzner), rent(hetzner)
    finish(leaver.attach_to_network(network))
    emulated.set_faults(Faults(actions=(ActionFault(command="*tach_*", how="endless"),)))
    action = joiner.attach_to_network(network)
    leaver.detach_from_network(network)
    action.reload()
    assert (action.status, action.progress) == ("running", 0)
    members = {row.id: row.status for row in network.get_member_all()}
    assert members == {leaver.id: "detaching", joiner.id: "attaching"}
    assert [row.id for row in network.get_member_all(status=["attaching"], sort=["id"])] == [joiner.id]
    for server in (leaver, joiner):
        assert refusal(server.power_on).code == "locked"
    emulated.set_faults(Faults())
    finish(leaver.delete(), joiner.delete())
    assert network.get_member_all() == []
    assert network.delete()


def test_firewalls_of_servers(hetzner: Any) -> None:
    """Firewalls come and go with servers and with labels."""
    server = rent(hetzner, start_after_create=True, labels={"role": unique("db")})
    firewall = hetzner.firewalls.create(unique("fw")).firewall
    words = FirewallResourceLabelSelector(f"role={server.labels['role']}")
    for target in (
        FirewallResource(type="server", server=server),
        FirewallResource(type="label_selector", label_selector=words),
    ):
        finish(*firewall.apply_to_resources([target]), *server.get_actions(status=["running"]))
        firewall.reload()
        [shown] = firewall.applied_to
        assert shown.type == target.type
        reached = [shown.server] if shown.server else [row.server for row in shown.applied_to_resources]
        assert [row.id for row in reached] == [server.id]
        server.reload()
        assert [row.status for row in server.public_net.firewalls] == ["applied"]
        assert refusal(firewall.delete).code == "resource_in_use"
        finish(*firewall.remove_from_resources([target]), *server.get_actions(status=["running"]))
    server.reload()
    assert server.public_net.firewalls == []
    assert firewall.delete()
    finish(server.delete())


def test_primary_ips(hetzner: Any) -> None:
    """An address of its own goes from server to server, has a name, and is protected."""
    address = hetzner.primary_ips.create(type="ipv4", name=unique("ip"), location=FSN1, labels={"a": "b"}).primary_ip
    assert (address.location.name, address.auto_delete) == ("fsn1", False)
    assert (address.assignee_id, address.assignee_type) == (None, "unassigned")  # a server's only when it has one
    address.change_dns_ptr(ip=address.ip, dns_ptr="db.example.org")
    address.reload()
    assert address.dns_ptr == [{"ip": address.ip, "dns_ptr": "db.example.org"}]
    server = rent(hetzner, public_net=ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=True))
    assert hetzner.servers.get_by_id(server.id).public_net.ipv4 is None
    finish(address.assign(assignee_id=server.id, assignee_type="server"))
    server.reload()
    assert (server.public_net.ipv4.ip, server.public_net.ipv4.dns_ptr) == (address.ip, "db.example.org")
    assert refusal(address.delete).code == "must_be_unassigned"
    finish(server.power_on())
    assert refusal(address.unassign).code == "server_not_stopped"
    finish(server.power_off())
    finish(address.unassign(), address.change_protection(delete=True))
    assert refusal(address.delete).code == "protected"
    address.change_protection(delete=False)
    assert hetzner.primary_ips.get_list(ip=address.ip).primary_ips == [address]
    made = hetzner.primary_ips.create(type="ipv4", name=unique("ip"), assignee_type="server", assignee_id=server.id)
    assert (made.action.command, made.primary_ip.assignee_id) == ("create_primary_ip", server.id)
    assert made.primary_ip.update(auto_delete=True, name=unique("ip")).auto_delete
    assert address.delete()
    finish(server.delete())
    assert refusal(made.primary_ip.reload).code == "not_found"
