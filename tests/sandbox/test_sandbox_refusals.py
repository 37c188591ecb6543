# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated API: what it refuses, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from sandbox_helpers import (
    WITHIN_S,
    Api,
    Json,
    make_firewall,
    make_network,
    new_key,
    order,
    public,
    unique,
)

RULE: Json = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}
TO_NOBODY: Json = {"type": "server", "server": {"id": 1}}
SUBNET: Json = {"type": "cloud", "network_zone": "eu-central"}


def networks(**changes: object) -> Json:
    """The body of a network with one thing wrong."""
    return {"name": "a", "ip_range": "RANGE/24"} | changes


def rule(**changes: object) -> Json:
    """The body of a firewall with one thing wrong in its rule."""
    return {"name": "a", "rules": [RULE | changes]}


#: method, path, body, status, code, words of the message
REFUSED: list[tuple[str, str, object, int, str, str]] = [
    ("GET", "/nowhere", None, 404, "not_found", ""),
    ("GET", "/servers/1", None, 404, "not_found", "server"),
    ("GET", "/servers/x", None, 404, "not_found", ""),
    ("PATCH", "/servers", None, 405, "method_not_allowed", ""),
    ("GET", "/servers?per_page=51", None, 422, "invalid_input", "per_page"),
    ("GET", "/servers?page=0", None, 422, "invalid_input", "page"),
    ("GET", "/servers?sort=size", None, 422, "invalid_input", "sort"),
    ("GET", "/servers?label_selector=a==b==c", None, 422, "invalid_input", "label_selector"),
    ("GET", "/actions", None, 410, "deprecated_api_endpoint", ""),
    ("GET", "/actions?id=x", None, 422, "invalid_input", "id"),
    ("GET", "/actions/1", None, 404, "not_found", "action"),
    ("GET", "/datacenters", None, 410, "deprecated_api_endpoint", ""),
    ("DELETE", "/networks/1", None, 404, "not_found", "network"),
    ("PUT", "/networks/1", {}, 404, "not_found", "network"),
    ("POST", "/servers/1/actions/poweron", None, 404, "not_found", "server"),
    ("POST", "/ssh_keys", [], 422, "invalid_input", "object"),
    ("POST", "/ssh_keys", {"name": "a"}, 422, "invalid_input", "public_key"),
    ("POST", "/ssh_keys", {"name": "a", "public_key": "ssh-ed25519 AAAA"}, 422, "invalid_input", "not valid"),
    ("POST", "/ssh_keys", {"name": "", "public_key": ""}, 422, "invalid_input", "name"),
    ("POST", "/networks", {"name": "a", "ip_range": "10.0.0.0/16"}, 422, "invalid_input", "within"),
    ("POST", "/networks", {"name": "a", "ip_range": "bad"}, 422, "invalid_input", "ip_range"),
    ("POST", "/networks", {"name": "a", "ip_range": "RANGE/25"}, 422, "invalid_input", "at least /24"),
    ("POST", "/networks", networks(subnets=[SUBNET | {"type": "x"}]), 422, "invalid_input", "type"),
    ("POST", "/networks", networks(subnets=[SUBNET | {"network_zone": "mars"}]), 422, "invalid_input", "network_zone"),
    ("POST", "/networks", networks(subnets=[SUBNET | {"ip_range": "10.0.0.0/24"}]), 422, "invalid_input", "within"),
    ("POST", "/networks", networks(subnets=[SUBNET, SUBNET]), 422, "no_subnet_available", ""),
    ("POST", "/networks", {"name": "a", "ip_range": "RANGE/24", "zone": "x"}, 422, "invalid_input", "zone"),
    ("POST", "/firewalls", {"rules": []}, 422, "invalid_input", "name"),
    ("POST", "/firewalls", rule(port=None), 422, "invalid_input", "port"),
    ("POST", "/firewalls", rule(port="70000"), 422, "invalid_input", "port"),
    ("POST", "/firewalls", rule(port="9-8"), 422, "invalid_input", "port"),
    ("POST", "/firewalls", rule(source_ips=[]), 422, "invalid_input", "source_ips"),
    ("POST", "/firewalls", rule(source_ips=["1.2.3.4/8"]), 422, "invalid_input", "host bits"),
    ("POST", "/firewalls", {"name": "a", "rules": [RULE] * 51}, 422, "invalid_input", "50"),
    ("POST", "/firewalls", {"name": "a", "apply_to": [TO_NOBODY]}, 422, "firewall_resource_not_found", "server"),
    ("POST", "/servers", {"server_type": None}, 422, "invalid_input", "server_type"),
    ("POST", "/servers", {"server_type": "cx99"}, 422, "invalid_input", "server type cx99 not found"),
    ("POST", "/servers", {"server_type": "cx22"}, 422, "invalid_input", "server type 104 is deprecated"),
    ("POST", "/servers", {"image": "windows"}, 422, "invalid_input", "image windows not found"),
    ("POST", "/servers", {"image": 103908130}, 422, "invalid_input", "architecture"),
    ("POST", "/servers", {"location": "mars"}, 422, "invalid_input", "location mars not found"),
    ("POST", "/servers", {"location": "ash"}, 422, "invalid_input", "unsupported location for server type"),
    ("POST", "/servers", {"datacenter": "fsn1-dc14"}, 422, "invalid_input", "datacenter"),
    ("POST", "/servers", {"colour": "red"}, 422, "invalid_input", "colour"),
    ("POST", "/servers", {"name": "under_score"}, 422, "invalid_input", "RFC 1123"),
    ("POST", "/servers", {"name": "-a"}, 422, "invalid_input", "RFC 1123"),
    ("POST", "/servers", {"name": 7}, 422, "invalid_input", "name"),
    ("POST", "/servers", {"ssh_keys": ["nobody"]}, 422, "invalid_input", "SSH key nobody not found"),
    ("POST", "/servers", {"networks": [1]}, 422, "invalid_input", "network 1 not found"),
    ("POST", "/servers", {"firewalls": [{"firewall": 1}]}, 422, "invalid_input", "firewall 1 not found"),
    ("POST", "/servers", {"labels": {"time": "12:00"}}, 422, "invalid_input", "12:00"),
    ("POST", "/servers", {"labels": {"-a": "b"}}, 422, "invalid_input", "-a"),
    ("POST", "/servers", {"labels": {"hetzner.cloud/a": "b"}}, 422, "invalid_input", "reserved"),
    ("POST", "/servers", {"labels": {"a": "b" * 64}}, 422, "invalid_input", "label value"),
    ("POST", "/servers", {"labels": {"a": 1}}, 422, "invalid_input", "label value"),
    ("POST", "/servers", {"user_data": "#cloud-config\n" + "#" * 32768}, 422, "invalid_input", "32 KiB"),
    ("POST", "/servers", {"public_net": {"enable_ipv4": False, "enable_ipv6": False}}, 422, "invalid_input", "public"),
    ("POST", "/servers", {"placement_group": 3}, 422, "invalid_input", "placement_group"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} {case[1]} {case[5]}")
def test_refused(api: Api, case: tuple[str, str, Any, int, str, str]) -> None:
    """What Hetzner refuses is refused with Hetzner's code, and nothing is made."""
    method, path, body, status, code, words = case
    if path == "/servers" and method == "POST":
        body = order(**body)
    body = json.loads(json.dumps(body).replace("RANGE", api.settings.network_range.split("/")[0]))
    before = [api("GET", f"/{kind}").body["meta"] for kind in ("ssh_keys", "networks", "firewalls", "servers")]
    answer = api(method, path, body)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert words in answer.error["message"]
    after = [api("GET", f"/{kind}").body["meta"] for kind in ("ssh_keys", "networks", "firewalls", "servers")]
    assert after == before


def test_broken_json_is_refused(api: Api) -> None:
    """A body that is no JSON is told apart from one with wrong fields."""
    answer = requests.post(
        api.settings.endpoint + "/servers",
        data=b"{",
        headers={"Authorization": f"Bearer {api.settings.token}"},
        timeout=WITHIN_S,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json_error")


def test_names_and_fingerprints_are_unique(api: Api) -> None:
    """The same name, or the same key under another name, is refused as a conflict."""
    key = public(new_key())
    name = unique("key")
    made = api("POST", "/ssh_keys", {"name": name, "public_key": key}).body["ssh_key"]
    for body in ({"name": name, "public_key": public(new_key())}, {"name": unique("key"), "public_key": key}):
        answer = api("POST", "/ssh_keys", body)
        assert (answer.status, answer.error["code"]) == (409, "uniqueness_error")
    other = make_firewall(api)
    assert api("POST", "/firewalls", {"name": other["name"]}).error["code"] == "uniqueness_error"
    network = make_network(api)
    body = {"name": network["name"], "ip_range": api.settings.network_range}
    assert api("POST", "/networks", body).error["code"] == "uniqueness_error"
    found = api("GET", "/ssh_keys", fingerprint=made["fingerprint"]).body["ssh_keys"]
    assert [row["id"] for row in found] == [made["id"]]


def test_server_is_locked_while_an_action_runs(api: Api) -> None:
    """Deleting and power wait for actions, and names are taken from the first moment."""
    body = order(start_after_create=False)
    made = api("POST", "/servers", body).body
    assert made["next_actions"] == []
    assert made["root_password"]
    number = made["server"]["id"]
    for method, path in (("DELETE", f"/servers/{number}"), ("POST", f"/servers/{number}/actions/poweron")):
        answer = api(method, path)
        assert (answer.status, answer.error["code"]) == (423, "locked")
    assert api("POST", "/servers", body).error["code"] == "uniqueness_error"
    api.done(made["action"])
    server = api("GET", f"/servers/{number}").body["server"]
    assert (server["status"], server["locked"]) == ("off", False)
    network = make_network(api)
    attach = {"network": network["id"], "ip": api.settings.network_range.replace(".0.0/16", ".7.7")}
    api.done(api("POST", f"/servers/{number}/actions/attach_to_network", attach).body["action"])
    answer = api("POST", f"/servers/{number}/actions/attach_to_network", attach)
    assert answer.error["code"] == "server_already_attached"
    private = api("GET", f"/servers/{number}").body["server"]["private_net"][0]
    assert private["ip"] == attach["ip"]
    started = api("POST", f"/servers/{number}/actions/poweron").body["action"]
    assert started["command"] == "start_server"
    api.done(started)
    api.done(api("DELETE", f"/servers/{number}").body["action"])
    assert api("GET", f"/servers/{number}/actions").status == 404
    assert api("GET", f"/actions/{started['id']}").body["action"]["resources"] == [{"id": number, "type": "server"}]


def test_network_must_be_in_the_servers_zone(api: Api) -> None:
    """A server cannot join a network that has no subnet in its zone."""
    network = make_network(api, zone="us-east")
    answer = api("POST", "/servers", order(networks=[network["id"]]))
    assert (answer.status, answer.error["code"]) == (422, "no_subnet_available")


def test_private_addresses_are_unique_across_networks(api: Api) -> None:
    """Two networks of the same range never hand out the same address, and a deleted network lets go."""
    networks = [make_network(api), make_network(api)]
    made = [api("POST", "/servers", order(networks=[network["id"]])).body for network in networks]
    for row in made:
        api.done(row["action"], *row["next_actions"])
    servers = [api("GET", f"/servers/{row['server']['id']}").body["server"] for row in made]
    assert len({server["private_net"][0]["ip"] for server in servers}) == 2
    assert api("DELETE", f"/networks/{networks[0]['id']}").status == 204
    assert api("GET", f"/servers/{servers[0]['id']}").body["server"]["private_net"] == []
    api.done(*(api("DELETE", f"/servers/{server['id']}").body["action"] for server in servers))
