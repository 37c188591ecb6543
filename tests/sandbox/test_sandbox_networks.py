# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of the emulated API: subnets, routes, ranges, members, and servers that come and go."""

from __future__ import annotations

import pytest
from sandbox_helpers import Api, Json, make_network, order, unique
from sandbox_orders import Ahead, act, code, ended, finish, idle, look, make, part, settled

from scherbelberg.sandbox.server import SandboxThread

CLOUD: Json = {"type": "cloud", "network_zone": "eu-central"}
INVALID = (422, "invalid_input")


def test_network_is_shown_as_made(api: Api) -> None:
    """A network shows its range, subnets with gateway, routes, members and protection."""
    ip_range = part(api, ".0.0/20")
    route = {"destination": "0.0.0.0/0", "gateway": part(api, ".1.9")}
    body = {"subnets": [CLOUD, CLOUD | {"ip_range": part(api, ".4.0/24")}], "routes": [route]}
    network = make(api, "networks", ip_range=ip_range, expose_routes_to_vswitch=True, labels={"a": "b"}, **body)
    shown = {"type": "cloud", "network_zone": "eu-central", "gateway": part(api, ".0.1"), "vswitch_id": None}
    assert network["subnets"] == [shown | {"ip_range": part(api, end)} for end in (".0.0/24", ".4.0/24")]
    assert network["routes"] == [route]
    assert (network["servers"], network["load_balancers"]) == ([], [])
    assert network["protection"] == {"delete": False}
    assert network["expose_routes_to_vswitch"]
    assert network["labels"] == {"a": "b"}
    assert look(api, network["id"], "networks") == network


@pytest.mark.parametrize(
    ("word", "body", "expected"),
    [
        ("add_subnet", CLOUD | {"ip_range": ".0.0/25"}, INVALID),  # overlaps with a subnet
        ("add_subnet", CLOUD | {"ip_range": ".3.0/24"}, INVALID),  # overlaps with a route
        ("add_subnet", CLOUD | {"ip_range": ".16.0/24"}, INVALID),  # outside the network
        ("add_subnet", CLOUD | {"ip_range": ".2.0/31"}, INVALID),
        ("add_subnet", CLOUD | {"ip_range": ".2.1/24"}, INVALID),  # host bits
        ("add_subnet", CLOUD | {"ip_range": ".2.0/255.255.255.0"}, INVALID),
        ("add_subnet", CLOUD | {"ip_range": "::/64"}, INVALID),
        ("add_subnet", CLOUD | {"network_zone": "mars"}, INVALID),
        ("add_subnet", CLOUD | {"type": "vswitch"}, INVALID),
        ("add_subnet", CLOUD | {"vswitch_id": 7}, INVALID),
        ("add_subnet", {"type": "cloud"}, INVALID),
        ("delete_subnet", {"ip_range": ".2.0/24"}, (404, "not_found")),
        ("add_route", {"destination": "10.9.0.0/24", "gateway": ".0.1"}, INVALID),  # the network's own gateway
        ("add_route", {"destination": "10.9.0.0/24", "gateway": ".16.1"}, INVALID),  # outside the network
        ("add_route", {"destination": ".0.0/24", "gateway": ".0.9"}, INVALID),  # overlaps with a subnet
        ("add_route", {"destination": ".3.128/25", "gateway": ".0.9"}, INVALID),  # overlaps with a route
        ("add_route", {"destination": "8.8.8.0/24", "gateway": ".0.9"}, INVALID),  # public
        ("add_route", {"destination": "172.31.0.0/16", "gateway": ".0.9"}, INVALID),  # holds Hetzner's own gateway
        ("add_route", {"destination": "10.9.0.0/24", "gateway": "nobody"}, INVALID),
        ("delete_route", {"destination": ".3.0/24", "gateway": ".0.8"}, (404, "not_found")),
        ("change_ip_range", {"ip_range": ".0.0/24"}, INVALID),  # smaller
        ("change_ip_range", {"ip_range": "10.0.0.0/8"}, INVALID),
    ],
)
def test_network_changes_that_are_refused(api: Api, word: str, body: Json, expected: tuple[int, str]) -> None:
    """Subnets, routes and ranges that do not fit are refused, and the network stays as it was."""
    body = {name: part(api, value) if str(value).startswith(".") else value for name, value in body.items()}
    route = {"destination": part(api, ".3.0/24"), "gateway": part(api, ".0.9")}
    network = make(api, "networks", ip_range=part(api, ".0.0/20"), subnets=[CLOUD], routes=[route])
    assert code(act(api, network, word, body, kind="networks")) == expected
    assert look(api, network["id"], "networks") == network


def test_network_changes(api: Api) -> None:
    """Subnets and routes come and go, and a range grows."""
    network = make(api, "networks", ip_range=part(api, ".0.0/20"))
    subnet = {"ip_range": part(api, ".2.0/24")}
    route = {"destination": "10.9.0.0/24", "gateway": part(api, ".2.9")}

    def change(word: str, body: Json) -> Json:
        return finish(api, network, word, body, kind="networks")

    assert [row["ip_range"] for row in change("add_subnet", CLOUD | subnet)["subnets"]] == [subnet["ip_range"]]
    assert change("add_route", route)["routes"] == [route]
    assert change("delete_route", route)["routes"] == []
    assert change("delete_subnet", subnet)["subnets"] == []
    assert change("change_ip_range", {"ip_range": part(api, ".0.0/19")})["ip_range"] == part(api, ".0.0/19")
    later = make(api, "networks", ip_range=part(api, ".16.0/20"))
    grown = act(api, later, "change_ip_range", {"ip_range": part(api, ".0.0/19")}, kind="networks")
    assert code(grown) == INVALID  # would begin elsewhere
    actions = api("GET", f"/networks/{network['id']}/actions").body["actions"]
    assert [row["command"] for row in actions] == [
        "add_subnet",
        "add_route",
        "delete_route",
        "delete_subnet",
        "change_ip_range",
    ]


def test_limits_of_a_network(ahead: Ahead) -> None:
    """A network takes 50 subnets and no more."""
    network = ahead.make("networks", ip_range="10.0.0.0/16")
    replies = [act(ahead, network, "add_subnet", CLOUD, kind="networks") for _ in range(51)]
    assert [code(reply)[0] for reply in replies] == [201] * 50 + [422]
    body: Json = {"name": "a", "ip_range": "10.0.0.0/16", "subnets": [CLOUD] * 51}
    assert code(ahead("POST", "/networks", body)) == INVALID


def test_network_is_joined_after_the_start(ahead: Ahead) -> None:
    """A server runs first and is attached then, at an address that the cloud chose, and members tell how far it is."""
    network = ahead.network()
    made = ahead.order(networks=[network["id"]]).body
    number, path = made["server"]["id"], f"/networks/{network['id']}"
    seen = []
    for _ in range(4):
        server = look(ahead, number)
        member = ahead("GET", f"{path}/members").body["members"][0]
        seen.append((server["status"], len(server["private_net"]), member["status"]))
        ahead.world.tick(1)
    assert seen == [
        ("initializing", 0, "attaching"),
        ("starting", 0, "attaching"),
        ("running", 0, "attaching"),
        ("running", 1, "ok"),
    ]
    (place,) = look(ahead, number)["private_net"]
    assert place | {"mac_address": ""} == {
        "network": network["id"],
        "ip": "10.0.0.2",
        "alias_ips": [],
        "mac_address": "",
    }
    assert look(ahead, network["id"], "networks")["servers"] == [number]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"ip": ".0.1"}, (422, "ip_not_available")),  # the gateway
        ({"ip": ".0.0"}, (422, "ip_not_available")),
        ({"ip": ".0.255"}, (422, "ip_not_available")),
        ({"ip": ".0.77"}, (422, "ip_not_available")),  # another server's
        ({"ip": ".5.7"}, (422, "ip_not_available")),  # in no subnet
        ({"ip": ".1.7"}, (422, "ip_not_available")),  # in a subnet of another zone
        ({"ip": ".0.7", "ip_range": ".2.0/24"}, (422, "ip_not_available")),
        ({"ip_range": ".1.0/24"}, (422, "no_subnet_available")),
        ({"ip_range": ".9.0/24"}, (422, "no_subnet_available")),
        ({"ip": "nobody"}, INVALID),
        ({"alias_ips": [".0.8"]}, INVALID),
        ({"network": 1}, (404, "not_found")),
    ],
)
def test_attaching_that_is_refused(api: Api, crowded: tuple[Json, Json], body: Json, expected: tuple[int, str]) -> None:
    """An address that a server cannot have is refused."""
    network, server = crowded
    values = {name: part(api, value) if str(value).startswith(".") else value for name, value in body.items()}
    reply = act(api, server, "attach_to_network", {"network": network["id"]} | values)
    assert code(reply) == expected
    assert look(api, server["id"])["private_net"] == []


@pytest.fixture(scope="module")
def crowded(emulated: SandboxThread) -> tuple[Json, Json]:
    """A network with a server at .0.77, and a server that is not in it."""
    api = Api(emulated.settings)
    subnets = [
        CLOUD | {"ip_range": part(api, ".0.0/24")},
        CLOUD | {"ip_range": part(api, ".1.0/24"), "network_zone": "us-east"},
        CLOUD | {"ip_range": part(api, ".2.0/24")},
    ]
    network = make(api, "networks", subnets=subnets)
    finish(api, idle(api), "attach_to_network", {"network": network["id"], "ip": part(api, ".0.77")})
    server = idle(api)
    api.close()
    return network, server


def test_attaching_and_detaching(api: Api) -> None:
    """A server takes the address or subnet that was asked for, once, and leaves."""
    subnets = [CLOUD | {"ip_range": part(api, end)} for end in (".6.0/24", ".7.0/24")]
    network = make(api, "networks", subnets=subnets)
    server = idle(api)
    body: Json = {"network": network["id"], "ip_range": part(api, ".7.0/24")}
    (place,) = finish(api, server, "attach_to_network", body)["private_net"]
    assert place["ip"].startswith(part(api, ".7."))
    assert code(act(api, server, "attach_to_network", body)) == (422, "server_already_attached")
    overlapping = make_network(api)
    reply = act(api, server, "attach_to_network", {"network": overlapping["id"]})
    assert code(reply) == (422, "networks_overlap")
    subnet = {"ip_range": part(api, ".7.0/24")}
    assert code(act(api, network, "delete_subnet", subnet, kind="networks")) == (422, "resource_in_use")
    assert finish(api, server, "detach_from_network", {"network": network["id"]})["private_net"] == []
    assert look(api, network["id"], "networks")["servers"] == []
    assert code(act(api, server, "detach_from_network", {"network": network["id"]})) == (404, "not_found")
    assert act(api, network, "delete_subnet", subnet, kind="networks").status == 201


def test_a_server_in_several_networks(ahead: Ahead) -> None:
    """A server is in at most three networks, which have nothing in common."""
    networks = [ahead.network(f"10.{index}.0.0/16")["id"] for index in range(4)]
    assert code(ahead.order(networks=networks)) == INVALID
    assert code(ahead.order(networks=[networks[0], ahead.network()["id"]])) == (422, "networks_overlap")
    made = ahead.order(networks=networks[:3]).body
    ahead.world.tick()
    assert [row["ip"] for row in look(ahead, made["server"]["id"])["private_net"]] == [f"10.{n}.0.2" for n in range(3)]
    reply = act(ahead, made["server"], "attach_to_network", {"network": networks[3]})
    assert code(reply) == (403, "resource_limit_exceeded")


def test_a_hundred_members(ahead: Ahead) -> None:
    """A network takes 100 members, those that are about to join included, by order and by attaching."""
    network = ahead.network()
    alone = ahead.order().body["server"]
    ahead.world.tick()
    for _ in range(99):
        assert ahead.order(networks=[network["id"]], public_net={"enable_ipv4": False}).status == 201
    assert act(ahead, alone, "attach_to_network", {"network": network["id"]}).status == 201
    late = ahead.order(networks=[network["id"]])
    assert code(late) == (403, "resource_limit_exceeded")
    assert late.error["details"] == {"limits": [{"name": "network_members"}]}
    ahead.world.tick()
    assert len(look(ahead, network["id"], "networks")["servers"]) == 100
    assert code(ahead.order(networks=[network["id"]])) == (403, "resource_limit_exceeded")
    members = ahead("GET", f"/networks/{network['id']}/members", per_page="50", page="2").body
    assert (len(members["members"]), members["meta"]["pagination"]["total_entries"]) == (50, 100)


def test_subnet_without_addresses(ahead: Ahead) -> None:
    """A subnet of four addresses has room for one server, and is kept from its first moment on."""
    network = ahead.make("networks", ip_range="10.0.0.0/16", subnets=[CLOUD | {"ip_range": "10.0.5.0/30"}])
    assert ahead.order(networks=[network["id"]]).status == 201
    assert code(ahead.order(networks=[network["id"]])) == (422, "no_subnet_available")
    subnet = {"ip_range": "10.0.5.0/30"}
    assert code(act(ahead, network, "delete_subnet", subnet, kind="networks")) == (422, "resource_in_use")


def test_network_that_is_deleted_lets_go(api: Api) -> None:
    """A network's members are taken out when it goes, unless it is protected."""
    network = make_network(api)
    server = settled(api, networks=[network["id"]])
    assert server["private_net"]
    assert finish(api, network, "change_protection", {"delete": True}, kind="networks")["protection"]["delete"]
    assert code(api("DELETE", f"/networks/{network['id']}")) == (403, "protected")
    finish(api, network, "change_protection", {"delete": False}, kind="networks")
    assert api("DELETE", f"/networks/{network['id']}").status == 204
    assert look(api, server["id"])["private_net"] == []
    assert code(api("GET", f"/networks/{network['id']}/members")) == (404, "not_found")


def test_network_that_goes_while_it_is_joined(api: Api) -> None:
    """Whoever is about to join a network that goes is told so by the action, and keeps running."""
    network = make_network(api)
    made = api("POST", "/servers", order(networks=[network["id"]])).body
    assert api("DELETE", f"/networks/{network['id']}").status == 204
    action = ended(api, made["next_actions"][1])
    assert (action["status"], action["error"]["code"]) == ("error", "not_found")
    server = look(api, made["server"]["id"])
    assert (server["status"], server["private_net"], server["locked"]) == ("running", [], False)


def test_name_of_a_network_is_its_own(api: Api) -> None:
    """A network cannot take another's name, and can keep its own."""
    first, second = make_network(api), make_network(api)
    path = f"/networks/{second['id']}"
    assert code(api("PUT", path, {"name": first["name"], "labels": {"a": "b"}})) == (409, "uniqueness_error")
    assert look(api, second["id"], "networks")["labels"] == {}
    assert api("PUT", path, {"name": second["name"]}).status == 200
    renamed = api("PUT", path, {"name": unique("network"), "expose_routes_to_vswitch": True}).body["network"]
    assert renamed["expose_routes_to_vswitch"]
