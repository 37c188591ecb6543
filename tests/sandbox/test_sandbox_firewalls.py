# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Firewalls of the emulated API: rules, servers, labels, and when one can be deleted."""

from __future__ import annotations

import pytest
from sandbox_helpers import Api, Json, make_firewall, order, unique
from sandbox_orders import Ahead, act, code, ended, finish, idle, look, make

INVALID = (422, "invalid_input")
SSH: Json = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}


def on(*servers: Json) -> list[Json]:
    """Servers as a firewall's targets."""
    return [{"type": "server", "server": {"id": server["id"]}} for server in servers]


def selecting(words: str) -> list[Json]:
    """Labels as a firewall's targets."""
    return [{"type": "label_selector", "label_selector": {"selector": words}}]


@pytest.mark.parametrize(
    "rule",
    [
        SSH,
        SSH | {"port": "1-65535", "description": "all of them"},
        SSH | {"port": "any", "protocol": "udp", "source_ips": ["10.0.0.0/8", "2001:db8::/32", "1.2.3.4/32"]},
        {"direction": "out", "protocol": "icmp", "destination_ips": ["0.0.0.0/0"]},
        {"direction": "in", "protocol": "gre", "source_ips": ["0.0.0.0/0"], "destination_ips": []},
        {"direction": "in", "protocol": "esp", "source_ips": ["0.0.0.0/0"], "port": None},
    ],
)
def test_rules_that_are_taken(api: Api, rule: Json) -> None:
    """A rule is shown as it was given, with what was left out."""
    defaults: Json = {"description": None, "port": None, "source_ips": [], "destination_ips": []}
    firewall = make(api, "firewalls", rules=[rule])
    assert firewall["rules"] == [defaults | rule]
    assert finish(api, firewall, "set_rules", {"rules": []}, kind="firewalls")["rules"] == []
    assert (
        finish(api, firewall, "set_rules", {"rules": [rule] * 50}, kind="firewalls")["rules"] == [defaults | rule] * 50
    )


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "up"},
        {"protocol": "sctp"},
        {"protocol": "icmp"},  # has no port
        {"port": "0"},
        {"port": "22-"},
        {"port": "1-2-3"},
        {"port": "\uff12"},
        {"port": 22},
        {"source_ips": ["1.2.3.4/33"]},
        {"source_ips": ["0.0.0.0/0"] * 101},
        {"destination_ips": ["0.0.0.0/0"]},  # a rule for what comes in
        {"description": "x" * 256},
        {"colour": "red"},
    ],
)
def test_rules_that_are_refused(api: Api, change: Json) -> None:
    """A bad rule is refused, and the old ones stay."""
    firewall = make_firewall(api)
    reply = act(api, firewall, "set_rules", {"rules": [SSH | change]}, kind="firewalls")
    assert code(reply) == INVALID
    assert look(api, firewall["id"], "firewalls") == firewall
    assert code(act(api, firewall, "set_rules", {"rules": [SSH] * 51}, kind="firewalls")) == INVALID


def test_firewall_comes_to_a_server_and_goes(api: Api) -> None:
    """A firewall is applied by order or by action, is in use until it is removed, and both sides show it."""
    first, second = make_firewall(api), make_firewall(api)
    server = idle(api, firewalls=[{"firewall": first["id"]}])
    assert server["public_net"]["firewalls"] == [{"id": first["id"], "status": "applied"}]
    shown = finish(api, second, "apply_to_resources", {"apply_to": on(server)}, kind="firewalls")
    assert shown["applied_to"] == on(server)
    again = act(api, second, "apply_to_resources", {"apply_to": on(server)}, kind="firewalls")
    assert code(again) == (422, "firewall_already_applied")
    assert len(look(api, server["id"])["public_net"]["firewalls"]) == 2
    assert code(api("DELETE", f"/firewalls/{second['id']}")) == (422, "resource_in_use")
    gone = finish(api, second, "remove_from_resources", {"remove_from": on(server)}, kind="firewalls")
    assert gone["applied_to"] == []
    absent = act(api, second, "remove_from_resources", {"remove_from": on(server)}, kind="firewalls")
    assert code(absent) == (404, "firewall_resource_not_found")
    assert api("DELETE", f"/firewalls/{second['id']}").status == 204


def test_firewall_is_free_when_its_server_is_gone(ahead: Ahead) -> None:
    """A firewall cannot be deleted until the deletion of its last server has ended, and can be at once then."""
    firewall = ahead.make("firewalls")
    server = ahead.order(firewalls=[{"firewall": firewall["id"]}]).body["server"]
    ahead.world.tick()
    assert ahead("DELETE", f"/servers/{server['id']}").status == 200
    for _ in range(2):
        assert code(ahead("DELETE", f"/firewalls/{firewall['id']}")) == (422, "resource_in_use")
        assert look(ahead, server["id"])["status"] == "deleting"
        ahead.world.tick(1)
    assert code(ahead("GET", f"/servers/{server['id']}")) == (404, "not_found")
    assert ahead("DELETE", f"/firewalls/{firewall['id']}").status == 204


def test_firewall_by_labels(ahead: Ahead) -> None:
    """Servers that get or lose a label get or lose the firewall soon after, and are locked meanwhile."""
    server = ahead.order(labels={"role": "worker"}).body["server"]
    other = ahead.order().body["server"]
    ahead.world.tick()
    firewall = ahead.make("firewalls", apply_to=selecting("role=worker"))

    def shown(row: Json) -> list[str]:
        assert {one["id"] for one in look(ahead, row["id"])["public_net"]["firewalls"]} <= {firewall["id"]}
        return [one["status"] for one in look(ahead, row["id"])["public_net"]["firewalls"]]

    assert (shown(server), shown(other)) == (["pending"], [])
    assert look(ahead, server["id"])["locked"]
    ahead.world.tick()
    assert (shown(server), shown(other)) == (["applied"], [])
    (target,) = look(ahead, firewall["id"], "firewalls")["applied_to"]
    assert target == selecting("role=worker")[0] | {"applied_to_resources": on(server)}
    taken = act(ahead, firewall, "remove_from_resources", {"remove_from": on(server)}, kind="firewalls")
    assert code(taken) == (422, "firewall_managed_by_label_selector")
    ahead("PUT", f"/servers/{server['id']}", {"labels": {}})
    ahead("PUT", f"/servers/{other['id']}", {"labels": {"role": "worker"}})
    ahead.world.tick()
    assert (shown(server), shown(other)) == ([], ["applied"])
    assert code(ahead("DELETE", f"/firewalls/{firewall['id']}")) == (422, "resource_in_use")
    twice = selecting("role=worker") * 2
    assert act(ahead, firewall, "remove_from_resources", {"remove_from": twice}, kind="firewalls").status == 201
    assert code(ahead("DELETE", f"/firewalls/{firewall['id']}")) == (422, "resource_in_use")
    ahead.world.tick()
    assert shown(other) == []
    assert ahead("DELETE", f"/firewalls/{firewall['id']}").status == 204


def test_label_that_comes_back_keeps_the_firewall(ahead: Ahead) -> None:
    """A label that goes and comes back before the cloud has acted leaves the firewall where it is."""
    firewall = ahead.make("firewalls", apply_to=selecting("a"))
    server = ahead.order(labels={"a": "1"}).body["server"]
    ahead.world.tick()
    for labels in ({}, {"a": "2"}):
        ahead("PUT", f"/servers/{server['id']}", {"labels": labels})
    ahead.world.tick()
    assert look(ahead, server["id"])["public_net"]["firewalls"] == [{"id": firewall["id"], "status": "applied"}]


def test_labels_of_a_server_that_goes(ahead: Ahead) -> None:
    """A server that is being deleted gets no firewall, whatever becomes of its labels."""
    firewall = ahead.make("firewalls", apply_to=selecting("a"))
    assert code(ahead("DELETE", f"/firewalls/{firewall['id']}")) == (422, "resource_in_use")  # though nothing matches
    server = ahead.order().body["server"]
    ahead.world.tick()
    ahead("DELETE", f"/servers/{server['id']}")
    ahead("PUT", f"/servers/{server['id']}", {"labels": {"a": "1"}})
    actions = ahead("GET", f"/servers/{server['id']}/actions").body["actions"]
    assert [row["command"] for row in actions][-1] == "delete_server"
    ahead.world.tick()
    assert ahead("GET", "/servers").body["servers"] == []


@pytest.mark.parametrize("word", ["apply_to", "remove_from"])
@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([{"type": "server", "server": {"id": 1}}], (404, "firewall_resource_not_found")),
        ([{"type": "server"}], INVALID),
        ([{"type": "volume"}], INVALID),
        ([{"type": "server", "server": {"id": "1"}}], INVALID),
        ([{"type": "label_selector", "label_selector": {"selector": ""}}], INVALID),
        ([{"type": "label_selector", "label_selector": {"selector": "a=b=c"}}], INVALID),
    ],
)
def test_targets_that_are_refused(api: Api, word: str, targets: list[Json], expected: tuple[int, str]) -> None:
    """A firewall is neither applied to nor removed from what is not there."""
    firewall = make_firewall(api)
    assert code(act(api, firewall, f"{word}_resources", {word: targets}, kind="firewalls")) == expected


def test_refused_firewall_is_not_made(ahead: Ahead) -> None:
    """A firewall whose targets do not fit does not come into being."""
    server = ahead.order().body["server"]
    network = ahead.network()
    private = ahead.order(networks=[network["id"]], public_net={"enable_ipv4": False, "enable_ipv6": False}).body[
        "server"
    ]
    for targets, expected in (
        (on(server), (423, "locked")),
        (on(server, server), (422, "server_already_added")),
        (on({"id": 1}), (422, "firewall_resource_not_found")),
        (on(private), (422, "private_net_only_server")),
    ):
        assert code(ahead("POST", "/firewalls", {"name": "a", "apply_to": targets})) == expected
    assert ahead("GET", "/firewalls").body["firewalls"] == []


def test_a_server_has_five_firewalls(ahead: Ahead) -> None:
    """A sixth firewall is refused when given, and not taken when labels would bring it."""
    firewalls = [ahead.make("firewalls") for _ in range(6)]
    entries = [{"firewall": firewall["id"]} for firewall in firewalls]
    assert code(ahead.order(firewalls=entries)) == INVALID
    server = ahead.order(firewalls=entries[:5], labels={"a": "1"}).body["server"]
    ahead.world.tick()
    body = {"apply_to": on(server)}
    late = act(ahead, firewalls[5], "apply_to_resources", body, kind="firewalls")
    assert code(late) == (403, "resource_limit_exceeded")
    ahead.make("firewalls", apply_to=selecting("a"))
    ahead.world.tick()
    assert len(look(ahead, server["id"])["public_net"]["firewalls"]) == 5


def test_order_with_a_firewall_that_goes(api: Api) -> None:
    """A firewall that a server was ordered with is in use from that moment."""
    firewall = make_firewall(api)
    made = api("POST", "/servers", order(firewalls=[{"firewall": firewall["id"]}])).body
    assert code(api("DELETE", f"/firewalls/{firewall['id']}")) == (422, "resource_in_use")
    assert code(api("PUT", f"/firewalls/{firewall['id']}", {"name": unique("firewall")}))[0] == 200
    assert ended(api, made["action"])["status"] == "success"
