# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated API: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import hcloud
import pytest
import requests
from hcloud.firewalls.domain import FirewallRule
from hcloud.networks.domain import NetworkSubnet
from sandbox_helpers import WITHIN_S, Api, Json, Waiter, new_key, order, public, unique

from scherbelberg.sandbox.addresses import claim
from scherbelberg.sandbox.server import Faults, SandboxThread
from scherbelberg.sandbox.traffic import LIMIT, Bucket

SCALE = 0.02
OPENAPI = Path(__file__).parents[2] / "shared" / "hetzner-cloud-openapi.json"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    """A sandbox for all tests here."""
    with SandboxThread(tmp_path_factory.mktemp("cloud") / "sandbox", time_scale=SCALE) as thread:
        yield thread


@pytest.fixture
def api(sandbox: SandboxThread) -> Iterator[Api]:
    """Requests to it, with no faults set."""
    sandbox.set_faults(Faults())
    client = Api(sandbox.settings)
    yield client
    client.close()


@pytest.fixture
def hetzner(sandbox: SandboxThread) -> Iterator[hcloud.Client]:
    """The official client."""
    client = hcloud.Client(
        sandbox.settings.token, api_endpoint=sandbox.settings.endpoint, timeout=WITHIN_S, poll_interval=0.01
    )
    yield client
    client._client._session.close()


def make_network(api: Api, *, zone: str = "eu-central") -> Json:
    """A network over the whole range of the sandbox."""
    ip_range = api.settings.network_range
    body = {
        "name": unique("network"),
        "ip_range": ip_range,
        "subnets": [{"type": "cloud", "ip_range": ip_range, "network_zone": zone}],
    }
    return dict(api("POST", "/networks", body).body["network"])


def make_firewall(api: Api) -> Json:
    """A firewall that lets SSH in."""
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}
    return dict(api("POST", "/firewalls", {"name": unique("firewall"), "rules": [rule]}).body["firewall"])


def test_official_client_rents_and_returns(hetzner: Any, sandbox: SandboxThread) -> None:
    """Hetzner's own Python client makes one of each kind, reads everything, and gives it all back."""
    ip_range = sandbox.settings.network_range
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


def test_settings_hide_the_token(sandbox: SandboxThread) -> None:
    """A repr of the settings holds no secret."""
    assert sandbox.settings.token not in repr(sandbox.settings)


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
    ("POST", "/firewalls", {"name": "a", "apply_to": [TO_NOBODY]}, 404, "not_found", "server"),
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


def test_fault_error(sandbox: SandboxThread, api: Api) -> None:
    """Request k answers the error that was asked for, does nothing, and is the only one."""
    name = unique("firewall")
    sandbox.set_faults(Faults(fail_request=2, status=503, code="unavailable"))
    assert api("GET", "/firewalls").status == 200
    answer = api("POST", "/firewalls", {"name": name})
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert api("GET", "/firewalls", name=name).body["firewalls"] == []
    assert api("POST", "/firewalls", {"name": name}).status == 201


@pytest.mark.parametrize(("how", "made"), [("drop_before", 0), ("drop_after", 1)])
def test_fault_drop(sandbox: SandboxThread, api: Api, how: Any, made: int) -> None:
    """A dropped connection answers nothing, with the work undone or done."""
    name = unique("firewall")
    sandbox.set_faults(Faults(fail_request=1, how=how))
    with pytest.raises(requests.ConnectionError):
        api("POST", "/firewalls", {"name": name})
    assert len(api("GET", "/firewalls", name=name).body["firewalls"]) == made


def test_fault_slow(sandbox: SandboxThread, api: Api) -> None:
    """A slow answer meets an impatient client, and its work is done all the same."""
    name = unique("firewall")
    sandbox.set_faults(Faults(slow_s=0.5))
    headers = {"Authorization": f"Bearer {api.settings.token}"}
    with pytest.raises(requests.ReadTimeout):
        requests.post(api.settings.endpoint + "/firewalls", json={"name": name}, headers=headers, timeout=0.1)
    sandbox.set_faults(Faults())
    Waiter().wait(lambda: api("GET", "/firewalls", name=name).body["firewalls"], what="the slow work")


def test_requests_are_recorded(sandbox: SandboxThread, api: Api) -> None:
    """Tests can see what a client sent."""
    before = len(sandbox.sandbox.requests)
    api("GET", "/servers", name="x")
    assert sandbox.sandbox.requests[before:] == [("GET", "/v1/servers")]


def test_rate_limit(sandbox: SandboxThread, api: Api) -> None:
    """An empty bucket answers 429 with the time of full recovery."""
    door = sandbox.sandbox._door
    assert door
    empty = Bucket()
    while empty.take():
        pass
    door.bucket, full = empty, door.bucket
    try:
        answer = api("GET", "/servers")
    finally:
        door.bucket = full
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert int(answer.headers["RateLimit-Reset"]) > time.time() + 3000


def test_two_sandboxes_coexist(sandbox: SandboxThread, tmp_path: Path) -> None:
    """Two sandboxes share no address, no token and no resource, and one that ends frees its own."""
    with SandboxThread(tmp_path / "other", time_scale=SCALE) as other:
        mine, theirs = sandbox.settings, other.settings
        assert mine.endpoint != theirs.endpoint
        assert mine.network_range != theirs.network_range
        first, second = Api(mine), Api(theirs)
        make_firewall(first)
        assert second("GET", "/firewalls").body["firewalls"] == []
        assert Api(theirs, token=mine.token)("GET", "/firewalls").status == 401
        number = int(theirs.network_range.split(".")[1])
        taken = claim(number)
        assert taken.number != number
        taken.close()
        second.close()
        first.close()
    assert not (tmp_path / "other").exists()
    again = claim(number)
    assert again.number == number
    again.close()


# What the description, older than the API, has otherwise: (schema, field).
KNOWN_DIFFERENCES = {("server", "datacenter"), ("image", "deprecated")}


class _Description:
    """Hetzner's description of the API as JSON schemas."""

    def __init__(self) -> None:
        self._all = json.loads(OPENAPI.read_text(encoding="utf-8"))

    def check(self, method: str, path: str, status: int, body: Json) -> None:
        """Validate an answer."""
        import jsonschema  # type: ignore[import-untyped]  # has stubs in a package that nothing else needs

        responses = self._all["paths"][path][method.lower()]["responses"]
        found = responses.get(str(status)) or responses[f"{status // 100}xx"]
        schema = self._resolve(found["content"]["application/json"]["schema"])
        jsonschema.validate(body, schema)

    def _resolve(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._resolve(entry) for entry in schema]
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._resolve(self._all["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        resolved = {key: self._resolve(value) for key, value in schema.items()}
        gone = {field for _, field in KNOWN_DIFFERENCES}
        if isinstance(resolved.get("required"), list) and gone & set(resolved.get("properties", {})):
            resolved["required"] = [field for field in resolved["required"] if field not in gone]
        # OpenAPI 3.0 writes "or null" in a way that JSON Schema does not know.
        return {"anyOf": [resolved, {"type": "null"}]} if schema.get("nullable") is True else resolved


@pytest.mark.skipif(not OPENAPI.exists(), reason="the description of the API is not beside the repository")
def test_answers_fit_the_description(api: Api) -> None:
    """Answers of all kinds validate against Hetzner's own description of them."""
    description = _Description()
    key = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": public(new_key())})
    network, firewall = make_network(api), make_firewall(api)
    body = order(
        networks=[network["id"]], firewalls=[{"firewall": firewall["id"]}], ssh_keys=[key.body["ssh_key"]["id"]]
    )
    made = api("POST", "/servers", body)
    description.check("POST", "/ssh_keys", key.status, key.body)
    description.check("POST", "/servers", made.status, made.body)
    applied = {
        "name": unique("firewall"),
        "apply_to": [{"type": "server", "server": {"id": made.body["server"]["id"]}}],
    }
    second = api("POST", "/firewalls", applied)
    description.check("POST", "/firewalls", second.status, second.body)
    api.done(made.body["action"], *made.body["next_actions"])
    numbers = {
        "/servers/{id}": made.body["server"]["id"],
        "/networks/{id}": network["id"],
        "/firewalls/{id}": firewall["id"],
        "/ssh_keys/{id}": key.body["ssh_key"]["id"],
        "/actions/{id}": made.body["action"]["id"],
        "/images/{id}": 161547269,
        "/locations/{id}": 1,
        "/server_types/{id}": 104,
    }
    for path, number in numbers.items():
        answer = api("GET", path.format(id=number))
        description.check("GET", path, answer.status, answer.body)
    lists = ("/servers", "/networks", "/firewalls", "/ssh_keys", "/images", "/locations", "/server_types", "/pricing")
    for path in lists:
        answer = api("GET", path)
        description.check("GET", path, answer.status, answer.body)
    for path, params in (("/actions", {"id": str(made.body["action"]["id"])}), ("/actions", {})):
        answer = api("GET", path, **params)
        description.check("GET", path, answer.status, answer.body)
    deleted = api("DELETE", f"/servers/{made.body['server']['id']}")
    description.check("DELETE", "/servers/{id}", deleted.status, deleted.body)
