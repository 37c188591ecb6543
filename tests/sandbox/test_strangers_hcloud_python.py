# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hetzner's own Python package as a stranger: what can be had, and what costs nothing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from hcloud.firewalls.domain import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.networks.domain import NetworkRoute, NetworkSubnet
from sandbox_helpers import Api, new_key, public, unique
from strangers import official_client, refusal

from scherbelberg.sandbox.server import SandboxThread


@pytest.fixture
def hetzner(api: Api) -> Iterator[Any]:
    """The package's client, as anybody makes it; untyped, since every attribute of what it returns may be None."""
    with official_client(api.settings.endpoint, api.settings.token) as client:
        yield client


def test_locations(hetzner: Any) -> None:
    """Locations are found by name and number, and filtered lists hold nothing else."""
    rows = hetzner.locations.get_all()
    assert [row.name for row in rows] == ["fsn1", "nbg1", "hel1", "ash", "hil", "sin"]
    helsinki = hetzner.locations.get_by_name("hel1")
    assert (helsinki.city, helsinki.country, helsinki.network_zone) == ("Helsinki", "FI", "eu-central")
    assert hetzner.locations.get_by_id(rows[2].id) == helsinki
    assert hetzner.locations.get_by_name("fsn1-dc14") is None


def test_server_types(hetzner: Any) -> None:
    """A type tells its size, prices, and for each location whether it is sold there."""
    arm = hetzner.server_types.get_by_name("cax11")
    assert (arm.architecture, arm.cores, arm.memory, arm.disk, arm.cpu_type) == ("arm", 2, 4, 40, "shared")
    assert [(place.location.name, place.available) for place in arm.locations] == [
        ("fsn1", True),
        ("nbg1", True),
        ("hel1", True),
    ]
    retired = hetzner.server_types.get_by_name("cx22")
    assert retired.locations[0].deprecation.unavailable_after.year == 2026
    assert hetzner.server_types.get_by_id(arm.id).name == "cax11"


def test_nothing_there(hetzner: Any) -> None:
    """There are no ISOs, and numbers of nothing are refused."""
    assert hetzner.isos.get_all() == []
    assert hetzner.isos.get_by_name("debian.iso") is None
    assert refusal(lambda: hetzner.isos.get_by_id(1)).code == "not_found"
    assert refusal(lambda: hetzner.locations.get_by_id(99)).code == "not_found"
    for kind in ("ssh_keys", "networks", "firewalls", "placement_groups", "primary_ips", "servers", "images"):
        client: Any = getattr(hetzner, kind)
        assert client.get_all(label_selector="no=body") == []
        assert refusal(functools.partial(client.get_by_id, 1)).code == "not_found"


def test_datacenters_are_gone(hetzner: Any) -> None:
    """What Hetzner has taken out of its API is refused, with the place where it says so."""
    with pytest.warns(DeprecationWarning, match="2026-10-01"):
        datacenters = hetzner.datacenters
    error = refusal(datacenters.get_all)
    assert error.code == "deprecated_api_endpoint"
    assert error.details["announcement"].startswith("https://docs.hetzner.cloud/changelog")
    assert refusal(lambda: datacenters.get_by_id(1)).code == "deprecated_api_endpoint"


def test_listing_arbitrary_actions_is_gone(hetzner: Any) -> None:
    """Actions can be had by their numbers alone."""
    with pytest.warns(DeprecationWarning, match="get_list"):
        error = refusal(hetzner.actions.get_list)
    assert error.code == "deprecated_api_endpoint"


def test_system_images(hetzner: Any) -> None:
    """An image's name is there once per architecture, and a system image cannot be changed."""
    arm = hetzner.images.get_by_name_and_architecture("ubuntu-24.04", "arm")
    assert (arm.architecture, arm.os_flavor, arm.os_version, arm.type) == ("arm", "ubuntu", "24.04", "system")
    found = hetzner.images.get_all(name="ubuntu-26.04", type=["system"], include_deprecated=True)
    assert sorted(str(row.architecture) for row in found) == ["arm", "x86"]
    assert [row.name for row in hetzner.images.get_all(architecture=["arm"], sort=["name:desc"])] == [
        "ubuntu-26.04",
        "ubuntu-24.04",
        "ubuntu-22.04",
        "debian-12",
    ]
    assert hetzner.images.get_all(type=["backup", "app"]) == []
    assert hetzner.images.get_by_name_and_architecture("ubuntu-20.04", "x86") is None
    assert refusal(arm.delete).code == "forbidden"


def test_ssh_keys(hetzner: Any) -> None:
    """A key is found by name and fingerprint, renamed, labelled, deleted; its twin is refused."""
    line = public(new_key())
    key = hetzner.ssh_keys.create(name=unique("key"), public_key=line, labels={"who": "anna"})
    assert (key.public_key, key.labels) == (line, {"who": "anna"})
    assert hetzner.ssh_keys.get_by_fingerprint(key.fingerprint) == key
    error = refusal(lambda: hetzner.ssh_keys.create(name=unique("twin"), public_key=line))
    assert error.code == "uniqueness_error"
    renamed = key.update(name=unique("other"), labels={"who": "ben"})
    assert hetzner.ssh_keys.get_by_name(renamed.name) == renamed
    assert hetzner.ssh_keys.get_all(label_selector="who=ben,!where") == [renamed]
    assert key.delete() is True
    assert refusal(key.reload).code == "not_found"


def test_placement_groups(hetzner: Any) -> None:
    """A group spreads, and goes when empty."""
    group = hetzner.placement_groups.create(unique("group"), "spread", labels={"a": "b"}).placement_group
    assert (group.type, group.servers, group.labels) == ("spread", [], {"a": "b"})
    assert group.update(labels={}).labels == {}
    assert hetzner.placement_groups.get_by_id(group.id).name == group.name
    assert group.delete() is True


def test_networks(hetzner: Any, api: Api) -> None:
    """A network gets subnets and routes, loses them, grows, and is protected."""
    whole = IPv4Network(api.settings.network_range)
    first, second, third, *_ = map(str, whole.subnets(new_prefix=24))
    cloud = NetworkSubnet(type="cloud", ip_range=first, network_zone="eu-central")
    small = str(next(whole.subnets(new_prefix=20)))
    network = hetzner.networks.create(unique("net"), small, subnets=[cloud], labels={"a": "b"})
    assert [(row.ip_range, row.type) for row in network.subnets] == [(first, "cloud")]
    assert network.subnets[0].gateway == str(whole[1])
    east = NetworkSubnet(type="cloud", ip_range=second, network_zone="us-east")
    route = NetworkRoute(destination=third, gateway=str(whole[9]))
    for action in (network.add_subnet(east), network.add_route(route), network.change_ip_range(str(whole))):
        action.wait_until_finished()
    network.reload()
    assert network.ip_range == str(whole)
    assert [row.network_zone for row in network.subnets] == ["eu-central", "us-east"]
    assert [(row.destination, row.gateway) for row in network.routes] == [(third, str(whole[9]))]
    for action in (network.delete_subnet(east), network.delete_route(route), network.change_protection(delete=True)):
        assert action.command in ("delete_subnet", "delete_route", "change_protection")
    network.reload()
    assert (len(network.subnets), network.routes, network.protection) == (1, [], {"delete": True})
    assert network.get_member_all() == []
    assert refusal(network.delete).code == "protected"
    network.change_protection(delete=False)
    assert len(network.get_actions()) == 7
    assert network.delete() is True


@pytest.mark.parametrize("ip_range", ["8.8.0.0/16", "rubbish", "{own}/28"])
def test_networks_elsewhere(hetzner: Any, api: Api, ip_range: str) -> None:
    """Ranges that are public, too small or none are refused, and the field is named."""
    own = api.settings.network_range.removesuffix("/16")
    error = refusal(lambda: hetzner.networks.create(unique("net"), ip_range.format(own=own)))
    assert error.code == "invalid_input"
    assert error.details["fields"][0]["name"] == "ip_range"


def rule(port: str) -> FirewallRule:
    """A rule that lets everybody in."""
    return FirewallRule(
        direction="in", protocol="tcp", port=port, source_ips=["0.0.0.0/0", "::/0"], description=f"port {port}"
    )


def test_firewalls(hetzner: Any) -> None:
    """Rules are set as a whole, labels select servers, and a firewall with a selector cannot go."""
    made = hetzner.firewalls.create(unique("fw"), rules=[rule("22")], labels={"a": "b"})
    assert [action.command for action in made.actions] == ["set_firewall_rules"]
    firewall = made.firewall
    [first] = firewall.rules
    assert (first.port, first.source_ips, first.description) == ("22", ["0.0.0.0/0", "::/0"], "port 22")
    out = FirewallRule(direction="out", protocol="icmp", destination_ips=["10.0.0.0/8"])
    firewall.set_rules([rule("80-85"), out])
    words = FirewallResourceLabelSelector("role in (db,web)")
    target = FirewallResource(type=FirewallResource.TYPE_LABEL_SELECTOR, label_selector=words)
    firewall.apply_to_resources([target])
    firewall.reload()
    assert [(row.direction, row.protocol, row.port) for row in firewall.rules] == [
        ("in", "tcp", "80-85"),
        ("out", "icmp", None),
    ]
    assert firewall.applied_to[0].label_selector.selector == "role in (db,web)"
    assert refusal(lambda: firewall.apply_to_resources([target])).code == "firewall_already_applied"
    assert refusal(firewall.delete).code == "resource_in_use"
    firewall.remove_from_resources([target])
    firewall.reload()
    assert not firewall.applied_to
    assert firewall.update(name=unique("fw"), labels={}).labels == {}
    assert firewall.delete() is True


def test_many_pages(hetzner: Any, emulated: SandboxThread) -> None:
    """Lists come in pages of at most 50, sorted, and are put together again."""
    word = unique("many")
    numbers = [hetzner.firewalls.create(unique(word), labels={"word": word}).firewall.id for _ in range(52)]
    before = emulated.sandbox.requests.count(("GET", "/v1/firewalls"))
    rows = hetzner.firewalls.get_all(label_selector=f"word={word}", sort=["id:desc"])
    assert [row.id for row in rows] == numbers[::-1]
    assert emulated.sandbox.requests.count(("GET", "/v1/firewalls")) - before == 2
    page = hetzner.firewalls.get_list(label_selector=f"word={word}", page=6, per_page=10)
    assert [row.id for row in page.firewalls] == numbers[50:]
    meta = page.meta.pagination
    assert (meta.page, meta.last_page, meta.next_page, meta.previous_page, meta.total_entries) == (6, 6, None, 5, 52)
    assert refusal(lambda: hetzner.firewalls.get_list(per_page=51)).code == "invalid_input"


def test_tokens(api: Api) -> None:
    """A token that is none, and one that may only read, are told apart."""
    with official_client(api.settings.endpoint, "rubbish") as nobody:
        assert refusal(nobody.servers.get_all).code == "unauthorized"
    with official_client(api.settings.endpoint, api.settings.read_token) as reader:
        assert reader.locations.get_by_name("fsn1")
        error = refusal(lambda: reader.placement_groups.create(unique("group"), "spread"))
        assert error.code == "token_readonly"
        assert error.correlation_id
