# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bodies of requests made from Hetzner's own description of its API: known fields are taken, wrong types never."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from description import OPENAPI, Description, description
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_helpers import new_key, public
from sandbox_orders import Ahead, act
from sandbox_world import KINDS, Json

from scherbelberg.sandbox.api.unsupported import ACTIONS

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason="the description of the API is not beside the repository")

#: In the description, and gone from the API since.
GONE = {"datacenter"}
#: One value of each type, and a few of each kind of emptiness.
VALUES: tuple[Any, ...] = (None, True, 7, 1.5, "x", "", [], [7], [None], {}, {"a": 7}, [[]], [{}])
LABELS = {"a": "b"}
RULE: Json = {
    "direction": "in",
    "protocol": "tcp",
    "port": "22",
    "source_ips": ["0.0.0.0/0"],
    "destination_ips": [],
    "description": "SSH",
}
ROUTE: Json = {"destination": "172.20.0.0/24", "gateway": "10.0.0.9"}
SUBNET: Json = {"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.9.0/24"}
SELECTING: Json = {"type": "label_selector", "label_selector": {"selector": "a=b"}}


def furnish(ahead: Ahead) -> dict[str, Any]:
    """Make something of each kind, for requests to refer to."""
    group = ahead.make("placement_groups", type="spread")
    inside = ahead.make(
        "networks", ip_range="10.0.0.0/20", routes=[ROUTE], subnets=[SUBNET | {"ip_range": "10.0.0.0/24"}]
    )
    ahead("POST", f"/networks/{inside['id']}/actions/add_subnet", {k: v for k, v in SUBNET.items() if k != "ip_range"})
    firewall, other = ahead.make("firewalls", apply_to=[SELECTING]), ahead.make("firewalls")
    public_net = {"enable_ipv4": False}
    body = {"start_after_create": False, "public_net": public_net, "networks": [inside["id"]]}
    server = ahead.order(**body).body["server"]
    ahead.world.tick()
    image = act(ahead, server, "create_image").body["image"]
    ahead.world.tick()
    return {
        "group": group["id"],
        "inside": inside["id"],
        "outside": ahead.network("10.1.0.0/16")["id"],
        "firewall": firewall["id"],
        "other": other["id"],
        "server": server["id"],
        "image": image["id"],
        "key": ahead.make("ssh_keys", public_key=public(new_key()))["id"],
        "primary": ahead.make("primary_ips", type="ipv4", assignee_type="server", location="fsn1")["id"],
        "ip": next(iter(row["ip"] for row in ahead.world.every("primary_ips").values() if row["name"].startswith("n"))),
    }


#: For each request with a body: which resource it is about, and a body that is accepted.
GOOD: dict[tuple[str, str], tuple[str, Callable[[dict[str, Any]], Json]]] = {
    ("post", "/firewalls"): (
        "",
        lambda of: {
            "name": "new",
            "labels": LABELS,
            "rules": [RULE],
            "apply_to": [SELECTING, {"type": "server", "server": {"id": of["server"]}}],
        },
    ),
    ("put", "/firewalls/{id}"): ("firewall", lambda _: {"name": "new", "labels": LABELS}),
    ("post", "/firewalls/{id}/actions/set_rules"): ("firewall", lambda _: {"rules": [RULE]}),
    ("post", "/firewalls/{id}/actions/apply_to_resources"): (
        "other",
        lambda of: {"apply_to": [SELECTING, {"type": "server", "server": {"id": of["server"]}}]},
    ),
    ("post", "/firewalls/{id}/actions/remove_from_resources"): ("firewall", lambda _: {"remove_from": [SELECTING]}),
    ("put", "/images/{id}"): ("image", lambda _: {"description": "new", "type": "snapshot", "labels": LABELS}),
    ("post", "/images/{id}/actions/change_protection"): ("image", lambda _: {"delete": True}),
    ("post", "/networks"): (
        "",
        lambda _: {
            "name": "new",
            "labels": LABELS,
            "ip_range": "10.0.0.0/16",
            "subnets": [SUBNET],
            "routes": [ROUTE],
            "expose_routes_to_vswitch": True,
        },
    ),
    ("put", "/networks/{id}"): (
        "inside",
        lambda _: {"name": "new", "labels": LABELS, "expose_routes_to_vswitch": False},
    ),
    ("post", "/networks/{id}/actions/add_subnet"): ("inside", lambda _: SUBNET),
    ("post", "/networks/{id}/actions/delete_subnet"): ("inside", lambda _: {"ip_range": "10.0.1.0/24"}),
    ("post", "/networks/{id}/actions/add_route"): (
        "inside",
        lambda _: {"destination": "0.0.0.0/0", "gateway": "10.0.0.9"},
    ),
    ("post", "/networks/{id}/actions/delete_route"): ("inside", lambda _: ROUTE),
    ("post", "/networks/{id}/actions/change_ip_range"): ("inside", lambda _: {"ip_range": "10.0.0.0/16"}),
    ("post", "/networks/{id}/actions/change_protection"): ("inside", lambda _: {"delete": True}),
    ("post", "/placement_groups"): ("", lambda _: {"name": "new", "labels": LABELS, "type": "spread"}),
    ("put", "/placement_groups/{id}"): ("group", lambda _: {"name": "new", "labels": LABELS}),
    ("post", "/primary_ips"): (
        "",
        lambda of: {
            "name": "new",
            "labels": LABELS,
            "type": "ipv4",
            "auto_delete": False,
            "assignee_type": "server",
            "assignee_id": of["server"],
        },
    ),
    ("put", "/primary_ips/{id}"): ("primary", lambda _: {"name": "new", "labels": LABELS, "auto_delete": True}),
    ("post", "/primary_ips/{id}/actions/assign"): (
        "primary",
        lambda of: {"assignee_type": "server", "assignee_id": of["server"]},
    ),
    ("post", "/primary_ips/{id}/actions/change_dns_ptr"): ("primary", lambda of: {"ip": of["ip"], "dns_ptr": "a.b"}),
    ("post", "/primary_ips/{id}/actions/change_protection"): ("primary", lambda _: {"delete": True}),
    ("post", "/servers"): (
        "",
        lambda of: {
            "name": "new",
            "server_type": "cx23",
            "image": "ubuntu-24.04",
            "location": "fsn1",
            "labels": LABELS,
            "ssh_keys": [of["key"]],
            "networks": [of["inside"]],
            "firewalls": [{"firewall": of["firewall"]}],
            "user_data": "#cloud-config\n",
            "start_after_create": True,
            "public_net": {"enable_ipv4": True, "enable_ipv6": True, "ipv4": of["primary"], "ipv6": None},
            "automount": False,
            "volumes": [],
            "placement_group": of["group"],
        },
    ),
    ("put", "/servers/{id}"): ("server", lambda _: {"name": "new", "labels": LABELS}),
    ("post", "/servers/{id}/actions/add_to_placement_group"): ("server", lambda of: {"placement_group": of["group"]}),
    ("post", "/servers/{id}/actions/attach_to_network"): (
        "server",
        lambda of: {"network": of["outside"], "ip": "10.1.0.7", "ip_range": "10.1.0.0/16", "alias_ips": []},
    ),
    ("post", "/servers/{id}/actions/detach_from_network"): ("server", lambda of: {"network": of["inside"]}),
    ("post", "/servers/{id}/actions/change_protection"): ("server", lambda _: {"delete": True, "rebuild": True}),
    ("post", "/servers/{id}/actions/change_type"): (
        "server",
        lambda _: {"server_type": "cx33", "upgrade_disk": True},
    ),
    ("post", "/servers/{id}/actions/create_image"): (
        "server",
        lambda _: {"description": "new", "type": "snapshot", "labels": LABELS},
    ),
    ("post", "/ssh_keys"): ("", lambda _: {"name": "new", "labels": LABELS, "public_key": public(new_key())}),
    ("put", "/ssh_keys/{id}"): ("key", lambda _: {"name": "new", "labels": LABELS}),
}


def described() -> Iterator[tuple[str, str]]:
    """List the requests with a body about kinds that the sandbox has, but for what it lacks."""
    for path, operations in description()._all["paths"].items():
        if path.split("/")[1] in KINDS and not (path.startswith("/servers/") and path.endswith(ACTIONS)):
            yield from (
                (method, path) for method in operations if method in ("post", "put") and _has_body(operations[method])
            )


def _has_body(operation: Json) -> bool:
    return "requestBody" in operation


def test_every_request_is_covered() -> None:
    """The bodies here are for all requests with a body that the description knows and the sandbox has."""
    assert set(described()) == set(GOOD)


def send(ahead: Ahead, of: dict[str, Any], request: tuple[str, str], body: object) -> Any:
    """Send a body to where it belongs."""
    return ahead(request[0].upper(), request[1].replace("{id}", str(of.get(GOOD[request][0]))), body)


@pytest.mark.parametrize("request_", GOOD, ids=" ".join)
def test_wrong_types_are_refused(ahead: Ahead, request_: tuple[str, str]) -> None:
    """A body of which any part, at any depth, is what the description forbids is refused; the whole one is accepted."""
    of = furnish(ahead)
    good = GOOD[request_][1](of)
    schema = request_schema(description(), request_)
    path = request_[1].replace("{id}", "1")
    wrong = [body for body in spoiled(good, schema) if description().objection(request_[0], path, body)]
    wrong.remove(None)  # which is no body at all
    assert len(wrong) > 5
    for body in wrong:
        reply = send(ahead, of, request_, body)
        assert (reply.status, reply.body["error"]["code"]) == (422, "invalid_input"), body
    assert send(ahead, of, request_, good | {"colour": "red"}).error["message"].endswith("unknown field")
    reply = send(ahead, of, request_, good)
    assert reply.status < 300, reply.body


def spoiled(good: Any, schema: Json) -> Iterator[Any]:
    """Put each value in the place of each part of a good body, and leave each field out."""
    yield from VALUES
    if isinstance(good, dict):
        for name in {**good, **schema.get("properties", {})}:
            for inner in spoiled(good.get(name), schema.get("properties", {}).get(name, {})):
                yield deepcopy(good) | {name: inner}
            yield {key: value for key, value in good.items() if key != name}
    elif isinstance(good, list):
        for index, entry in enumerate(good):
            for inner in spoiled(entry, schema.get("items", {})):
                yield [*good[:index], inner, *good[index + 1 :]]


def request_schema(known: Description, request: tuple[str, str]) -> Json:
    """The schema of a request's body, without references."""
    operation = known._all["paths"][request[1]][request[0]]
    return dict(known._resolve(known._schema(operation, "request")))


def bodies(schema: Json) -> st.SearchStrategy[Any]:
    """Draw what a schema allows."""
    if "anyOf" in schema:
        return st.one_of([bodies(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return DRAWS[schema["type"]](schema)


def _texts(schema: Json) -> st.SearchStrategy[Any]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"])
    return st.text(max_size=9) | st.just("10.0.0.0/24")


def _objects(schema: Json) -> st.SearchStrategy[Any]:
    fields = {name: bodies(inner) for name, inner in schema.get("properties", {}).items() if name not in GONE}
    if isinstance(schema.get("additionalProperties"), dict) and not fields:
        return st.dictionaries(st.sampled_from("abc"), bodies(schema["additionalProperties"]), max_size=2)
    required = {name: value for name, value in fields.items() if name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional={name: fields[name] for name in fields.keys() - required.keys()})


DRAWS: dict[str, Callable[[Json], st.SearchStrategy[Any]]] = {
    "object": _objects,
    "array": lambda schema: st.lists(bodies(schema["items"]), max_size=2),
    "string": _texts,
    "integer": lambda _: st.integers(0, 2**53),
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
}


@pytest.fixture(scope="module")
def furnished() -> Iterator[tuple[Ahead, dict[str, Any]]]:
    """A project with something of each kind."""
    own = Ahead()
    yield own, furnish(own)
    assert own.world.witness.complaints == []
    own.world.close()


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_described_fields_are_known(furnished: tuple[Ahead, dict[str, Any]], data: st.DataObject) -> None:
    """Whatever the description allows is understood: accepted, or refused for what it says, and never as unknown."""
    ahead, of = furnished
    request = data.draw(st.sampled_from(sorted(GOOD)))
    body = data.draw(bodies(request_schema(description(), request)))
    reply = send(ahead, of, request, body)
    assert reply.status < 500
    if reply.status >= 400:
        assert not re.search("unknown field|body", reply.error["message"]), (request, body)
        assert not reply.changed
