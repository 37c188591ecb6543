# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated API: what it takes and what it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import hcloud
import pytest
import requests
from hcloud.firewalls.domain import FirewallRule
from hcloud.networks.domain import NetworkSubnet
from sandbox_helpers import (
    WITHIN_S,
    Api,
    make_firewall,
    make_network,
    new_key,
    order,
    public,
    unique,
)

from scherbelberg.sandbox.api.rate_limit import LIMIT
from scherbelberg.sandbox.server import SandboxThread


@pytest.fixture
def hetzner(emulated: SandboxThread) -> Iterator[hcloud.Client]:
    """The official client."""
    client = hcloud.Client(
        emulated.settings.token, api_endpoint=emulated.settings.endpoint, timeout=WITHIN_S, poll_interval=0.01
    )
    yield client
    client._client._session.close()


def test_official_client_rents_and_returns(hetzner: Any, emulated: SandboxThread) -> None:
    """Hetzner's own Python client makes one of each kind, reads everything, and gives it all back."""
    ip_range = emulated.settings.network_range
    key = hetzner.ssh_keys.create(unique("key"), public(new_key()), labels={"a": "b"})
    subnet = NetworkSubnet(type="cloud", ip_range=ip_range, network_zone="eu-central")
    network = hetzner.networks.create(unique("network"), ip_range, subnets=[subnet])
    rule = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["0.0.0.0/0", "::/0"])
    firewall = hetzner.firewalls.create(unique("firewall"), rules=[rule]).firewall
    server_type, location = hetzner.server_types.get_by_name("cx23"), hetzner.locations.get_by_name("nbg1")
    image = hetzner.images.get_by_name_and_architecture("ubuntu-26.04", "x86")
    made = hetzner.servers.create(
        unique("server"),
        server_type,
        image,
        ssh_keys=[key],
        networks=[network],
        firewalls=[firewall],
        location=location,
        labels={"role": "worker"},
    )
    assert made.root_password is None
    assert made.server.public_net.ipv4.ip
    assert made.server.private_net == []
    assert made.server.status == "initializing"
    assert made.server.locked
    assert [action.command for action in made.next_actions] == ["start_server", "attach_to_network"]
    for action in (made.action, *made.next_actions):
        action.wait_until_finished()
    server = hetzner.servers.get_by_id(made.server.id)
    assert server.status == "running"
    assert IPv4Address(server.private_net[0].ip) in IPv4Network(ip_range)
    assert [row.status for row in server.public_net.firewalls] == ["applied"]
    assert hetzner.networks.get_by_id(network.id).servers[0].id == server.id
    assert hetzner.firewalls.get_by_id(firewall.id).applied_to[0].server.id == server.id
    assert server.update(labels={"role": "other"}).labels == {"role": "other"}
    deletion = server.delete()
    with pytest.raises(hcloud.APIException, match="in use") as refused:
        firewall.delete()
    assert refused.value.code == "resource_in_use"
    deletion.wait_until_finished()
    assert hetzner.servers.get_by_name(made.server.name) is None
    assert firewall.delete()
    assert network.delete()
    assert key.delete()


def test_official_client_reads_the_catalogue(hetzner: Any) -> None:
    """Types, images and locations come complete, with each image name once per architecture."""
    types = {row.name: row for row in hetzner.server_types.get_all()}
    assert {"cx23", "cax11", "cpx22", "ccx63", "cpx11"} <= set(types)
    assert {price["location"] for price in types["cx23"].prices} == {"fsn1", "nbg1", "hel1"}
    assert {price["location"] for price in types["cpx11"].prices} == {"ash", "hil", "sin"}
    assert types["cx23"].prices[0]["price_hourly"] == {"net": "0.0088000000", "gross": "0.0104720000000000"}
    assert types["cax11"].architecture == "arm"
    assert len(hetzner.images.get_all(name="ubuntu-24.04")) == 2
    assert len(hetzner.images.get_all(architecture=["arm"])) == 4
    assert {row.network_zone for row in hetzner.locations.get_all()} == {
        "eu-central",
        "us-east",
        "us-west",
        "ap-southeast",
    }
    pricing = hetzner.request("GET", "/pricing")["pricing"]
    ipv4 = next(row for row in pricing["primary_ips"] if row["type"] == "ipv4")
    assert ipv4["prices"][0]["price_hourly"]["net"] == "0.0008000000"
    assert len(pricing["server_types"]) == len(types)


def test_every_type_is_listed_with_advice_on_stock(api: Api) -> None:
    """Locations of a type tell availability and deprecation, and a retired type tells its end."""
    rows = {row["name"]: row for row in api("GET", "/server_types", per_page="50").body["server_types"]}
    place = rows["cx23"]["locations"][0]
    assert (place["available"], place["recommended"], place["deprecation"]) == (True, True, None)
    assert not all(place["available"] for place in rows["cx53"]["locations"])
    assert rows["cx22"]["locations"][0]["deprecation"]["unavailable_after"] < "2026-02"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer ü"])
def test_bad_token_is_refused(api: Api, header: str | None) -> None:
    """Without the right token nothing is told."""
    headers = {} if header is None else {"Authorization": header.encode()}
    answer = requests.get(api.settings.endpoint + "/servers", headers=headers, timeout=WITHIN_S)
    assert answer.status_code == 401
    assert answer.json()["error"] == {"code": "unauthorized", "message": "unable to authenticate", "details": None}


def test_answers_carry_what_clients_rely_on(api: Api) -> None:
    """Date, correlation id and the state of the rate limit come with every answer, errors included."""
    for path in ("/servers", "/nowhere"):
        headers = api("GET", path).headers
        assert abs(parsedate_to_datetime(headers["Date"]).timestamp() - time.time()) < 60
        assert headers["X-Correlation-Id"]
        assert headers["RateLimit-Limit"] == "3600"
        assert int(headers["RateLimit-Remaining"]) < LIMIT
        assert int(headers["RateLimit-Reset"]) > 0
        assert headers["Content-Type"] == "application/json"


def test_settings_hide_the_token(emulated: SandboxThread) -> None:
    """A repr of the settings holds no secret."""
    assert emulated.settings.token not in repr(emulated.settings)


def test_renaming_and_labels(api: Api) -> None:
    """All four kinds take new names and labels, and labels are replaced as a whole."""
    server = api("POST", "/servers", order()).body["server"]
    key = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": public(new_key())}).body["ssh_key"]
    rows = {"networks": make_network(api), "firewalls": make_firewall(api), "ssh_keys": key, "servers": server}
    for kind, row in rows.items():
        path, name = f"/{kind}/{row['id']}", unique("renamed")
        api("PUT", path, {"labels": {"a": "1", "b": "2"}})
        shown = api("PUT", path, {"name": name, "labels": {"b": "3", "example.com/c": ""}}).body[kind[:-1]]
        assert (shown["name"], shown["labels"]) == (name, {"b": "3", "example.com/c": ""})
        assert api("GET", path).body[kind[:-1]]["labels"] == shown["labels"]
        assert api("PUT", path, {"size": 1}).error["code"] == "invalid_input"
        assert [found["id"] for found in api("GET", f"/{kind}", name=name).body[kind]] == [row["id"]]


def test_lists_come_in_pages(api: Api) -> None:
    """Pages hold 25 entries unless asked otherwise, and tell where the next one is."""
    mark = unique("page")
    for index in range(30):
        body = {"name": f"{mark}-{index:02}", "labels": {"mark": mark}}
        assert api("POST", "/firewalls", body).status == 201
    first = api("GET", "/firewalls", label_selector=f"mark={mark}", sort="name:desc").body
    assert first["meta"]["pagination"] == {
        "page": 1,
        "per_page": 25,
        "previous_page": None,
        "next_page": 2,
        "last_page": 2,
        "total_entries": 30,
    }
    assert first["firewalls"][0]["name"] == f"{mark}-29"
    second = api("GET", "/firewalls", label_selector=f"mark={mark}", sort="name:desc", page="2").body
    assert [row["name"] for row in second["firewalls"]] == [f"{mark}-{index:02}" for index in range(4, -1, -1)]
    assert second["meta"]["pagination"]["next_page"] is None
    assert len(api("GET", "/firewalls", label_selector=f"mark={mark}", per_page="50").body["firewalls"]) == 30
