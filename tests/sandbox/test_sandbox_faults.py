# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the emulated cloud: sold out in four disguises, quotas, actions that fail or never end, dead servers."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
from sandbox_helpers import Api, Json, Waiter, order, unique
from sandbox_orders import Ahead, act, code, ended, finish, idle, look, make, settled

from scherbelberg.sandbox.faults import ActionFault, Faults, HostFault, SoldOut
from scherbelberg.sandbox.server import SandboxThread


@pytest.mark.parametrize(
    ("disguise", "expected", "words"),
    [
        ("placement", (412, "resource_unavailable"), "error during placement"),
        ("location_disabled", (412, "resource_unavailable"), "server location disabled"),
        ("unsupported_location", (422, "invalid_input"), "unsupported location for server type"),
        ("deprecated_type", (422, "invalid_input"), "server type 115 is deprecated"),
    ],
)
def test_sold_out(emulated: SandboxThread, api: Api, disguise: Any, expected: tuple[int, str], words: str) -> None:
    """A type is sold out in one location, in Hetzner's words, and nowhere else."""
    emulated.set_faults(Faults(sold_out=(SoldOut(server_type="cx33", location="fsn*", disguise=disguise),)))
    reply = api("POST", "/servers", order(server_type="cx33"))
    assert code(reply) == expected
    assert reply.error["message"] == words
    for change in ({"location": "nbg1"}, {"server_type": "cx23"}):
        assert api("POST", "/servers", order(start_after_create=False) | {"server_type": "cx33"} | change).status == 201
    small = idle(api)
    emulated.set_faults(Faults(sold_out=(SoldOut(server_type="cx33", disguise=disguise),)))
    assert code(act(api, small, "change_type", {"server_type": "cx33", "upgrade_disk": False})) == expected


@pytest.mark.parametrize(
    ("limits", "limit"),
    [({"servers": 1}, "server_limit"), ({"primary_ips": 3}, "primary_ip_limit"), ({"servers": 0}, "server_limit")],
)
def test_quotas(ahead: Ahead, limits: dict[str, Any], limit: str) -> None:
    """An account's limit is named in the details, nothing is made, and what is given back can be had again."""
    server = ahead.order().body["server"]
    ahead.world.tick()
    ahead.world.faults = Faults(**limits)
    reply = ahead.order()
    assert code(reply) == (403, "resource_limit_exceeded")
    assert reply.error["details"] == {"limits": [{"name": limit}]}
    assert not reply.changed
    ahead("DELETE", f"/servers/{server['id']}")
    assert code(ahead.order()) == (403, "resource_limit_exceeded")
    ahead.world.tick()
    assert ahead.order().status == (403 if limits == {"servers": 0} else 201)


def test_quota_of_addresses(ahead: Ahead) -> None:
    """Addresses count one by one: an order needs as many as it does not bring, and one by itself counts, too."""
    ahead.world.faults = Faults(primary_ips=2)
    first = ahead.make("primary_ips", type="ipv4", assignee_type="server", location="fsn1")
    assert code(ahead.order())[0] == 403
    assert ahead.order(public_net={"ipv4": first["id"]}).status == 201
    late = ahead("POST", "/primary_ips", {"name": "b", "type": "ipv6", "location": "fsn1", "assignee_type": "server"})
    assert code(late) == (403, "resource_limit_exceeded")


#: Command, what begins it, and status of the server afterwards.
FAILING: list[tuple[str, str, Json | None, str]] = [
    ("create_server", "order", None, "initializing"),
    ("start_server", "order", None, "off"),
    ("attach_to_network", "order", None, "running"),
    ("start_server", "poweron", None, "off"),
    ("attach_to_network", "attach_to_network", {}, "off"),
    ("create_image", "create_image", None, "off"),
    ("delete_server", "DELETE", None, "off"),
    ("change_server_type", "change_type", {"server_type": "cx33", "upgrade_disk": True}, "off"),
    ("apply_firewall", "apply_to_resources", None, "off"),
]


@pytest.fixture(params=FAILING, ids=lambda case: f"{case[0]} by {case[1]}")
def failing(ahead: Ahead, request: pytest.FixtureRequest) -> Callable[[Any], tuple[Json, Json, Json]]:
    """Lets one kind of action fail; answers the action, and its server before (if it was there) and after."""
    command, word, body, status = request.param

    def fail(how: Any) -> tuple[Json, Json, Json]:
        network, firewall = ahead.network(), ahead.make("firewalls")
        server = ahead.order(name="a", start_after_create=False).body["server"]
        ahead.world.tick()
        before = look(ahead, server["id"])
        ahead.world.faults = Faults(actions=(ActionFault(command=command, server="[ab]", how=how, code="no_luck"),))
        path = f"/servers/{server['id']}"
        if word == "order":
            server = ahead.order(name="b", networks=[network["id"]]).body["server"]
            before = {}
        elif word == "DELETE":
            assert ahead("DELETE", path).status == 200
        elif word == "apply_to_resources":
            target = {"type": "server", "server": {"id": server["id"]}}
            assert act(ahead, firewall, word, {"apply_to": [target]}, kind="firewalls").status == 201
        else:
            extra = {"network": network["id"]} if word.startswith("attach") else {}
            assert act(ahead, server, word, {**(body or {}), **extra}).status == 201
        ahead.world.tick()
        ahead.world.faults = Faults()  # what never ends does not end then either
        ahead.world.tick()
        after = look(ahead, server["id"])
        assert how == "endless" or after["status"] == status
        actions = ahead("GET", f"/servers/{server['id']}/actions").body["actions"]
        return next(one for one in actions if one["command"] == command and one["status"] != "success"), before, after

    return fail


def gone(ahead: Ahead, server: Json) -> None:
    """Delete a server that had bad luck, and see that it leaves nothing behind."""
    assert ahead("DELETE", f"/servers/{server['id']}").status == 200
    ahead.world.tick()
    assert code(ahead("GET", f"/servers/{server['id']}")) == (404, "not_found")
    assert ahead("GET", "/images", type="snapshot").body["images"] == []
    assert [
        row for row in ahead.world.every("primary_ips").values() if row["assignee_id"] in (None, server["id"])
    ] == []


def test_actions_that_fail(ahead: Ahead, failing: Callable[[Any], tuple[Json, Json, Json]]) -> None:
    """An action that fails leaves its work undone: no half image, no half member, the server as it was."""
    action, before, after = failing("error")
    message = f"the sandbox was told to fail {action['command']}"
    assert (action["status"], action["error"]) == ("error", {"code": "no_luck", "message": message})
    assert not before or after == before
    assert (after["locked"], after["private_net"]) == (False, [])
    assert ahead("GET", "/images", type="snapshot").body["images"] == []
    network = ahead("GET", "/networks").body["networks"][0]
    assert ahead("GET", f"/networks/{network['id']}/members").body["members"] == []
    if after["status"] == "initializing":
        assert code(act(ahead, after, "poweron")) == (409, "conflict")
    gone(ahead, after)


def test_actions_that_never_end(ahead: Ahead, failing: Callable[[Any], tuple[Json, Json, Json]]) -> None:
    """An action that never ends locks its server, which can be deleted all the same, and ends in an error then."""
    action, _, after = failing("endless")
    assert (action["status"], action["error"], after["locked"]) == ("running", None, True)
    assert code(act(ahead, after, "poweron")) == (423, "locked")
    gone(ahead, after)
    late = ahead("GET", f"/actions/{action['id']}").body["action"]
    assert (late["status"], late["error"]["code"]) == ("error", "action_failed")


def test_what_follows_a_failure_fails(api: Api, emulated: SandboxThread) -> None:
    """Over HTTP: when the start fails, so does what was to follow, and other servers are spared."""
    emulated.set_faults(Faults(actions=(ActionFault(command="start_*", server="unlucky*"),)))
    network = make(api, "networks", subnets=[{"type": "cloud", "network_zone": "eu-central"}])
    made = api("POST", "/servers", order(name=unique("unlucky"), networks=[network["id"]])).body
    assert ended(api, made["action"])["status"] == "success"
    errors = [ended(api, action)["error"] for action in made["next_actions"]]
    assert errors == [
        {"code": "action_failed", "message": "the sandbox was told to fail start_server"},
        {"code": "action_failed", "message": "an earlier action failed"},
    ]
    assert settled(api)["status"] == "running"
    emulated.set_faults(Faults())
    assert finish(api, made["server"], "poweron")["status"] == "running"
    api.done(api("DELETE", f"/servers/{made['server']['id']}").body["action"])


@pytest.mark.parametrize("command", ["create_server", "delete_server"])
def test_hosts_of_servers_with_endless_actions(api: Api, emulated: SandboxThread, command: str) -> None:
    """Over HTTP and with hosts: a server whose making or deletion never ends is gone after another deletion."""
    emulated.set_faults(Faults(actions=(ActionFault(command=command, how="endless"),)))
    made = api("POST", "/servers", order()).body
    number = made["server"]["id"]
    if command == "delete_server":
        api.done(made["action"], *made["next_actions"])
        made = api("DELETE", f"/servers/{number}").body
    assert _action_status(api, made["action"]) == "running"
    emulated.set_faults(Faults())
    api.done(api("DELETE", f"/servers/{number}").body["action"])
    assert ended(api, made["action"])["error"]["message"] == "the server is deleted"
    assert code(api("GET", f"/servers/{number}")) == (404, "not_found")


def _action_status(api: Api, action: Json) -> str:
    return str(api("GET", f"/actions/{action['id']}").body["action"]["status"])


def test_dead_server(api: Api, emulated: SandboxThread) -> None:
    """A server that never boots counts as running, refuses SSH, and can be deleted."""
    emulated.set_faults(Faults(dead=("dead-*",)))
    dead, alive = settled(api, name=unique("dead")), settled(api)
    assert dead["status"] == "running"
    port = api.settings.ssh_port

    def answers(row: Json) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((row["public_net"]["ipv4"]["ip"], port)) == 0

    Waiter().wait(lambda: answers(alive), what="SSH of the one that lives")
    assert not answers(dead)
    for row in (dead, alive):
        api.done(api("DELETE", f"/servers/{row['id']}").body["action"])


def test_silent_server(api: Api, emulated: SandboxThread) -> None:
    """A silent server drops connections until it has booted, and refuses them when it is off."""
    emulated.set_faults(Faults(dead=("dead-*",), hosts=(HostFault(how="silent"),)))
    dead, alive = settled(api, name=unique("dead")), settled(api)

    def meets(row: Json) -> int:
        with socket.socket() as probe:
            probe.settimeout(0.3)
            return probe.connect_ex((row["public_net"]["ipv4"]["ip"], api.settings.ssh_port))

    Waiter().wait(lambda: meets(alive) == 0, what="SSH of the one that lives")
    assert meets(dead) == errno.EAGAIN  # what Python makes of a deadline
    for row in (dead, alive):
        api.done(api("POST", f"/servers/{row['id']}/actions/poweroff").body["action"])
        assert meets(row) == errno.ECONNREFUSED
    api.done(api("POST", f"/servers/{alive['id']}/actions/poweron").body["action"])
    Waiter().wait(lambda: meets(alive) == 0, what="its return")
    for row in (dead, alive):
        api.done(api("DELETE", f"/servers/{row['id']}").body["action"])


def test_dead_servers_stay_dead(ahead: Ahead) -> None:
    """No reset wakes a dead server while it is said to be dead; others boot, and so does it when it no longer is."""
    ahead.world.faults = Faults(dead=("dead",))
    rows = [ahead.order(name=name).body["server"] for name in ("dead", "alive")]

    def running() -> list[tuple[str, bool]]:
        ahead.world.tick()
        return [(look(ahead, row["id"])["status"], bool(ahead.world.hosts.up[row["id"]])) for row in rows]

    assert running() == [("running", False), ("running", True)]
    act(ahead, rows[0], "reset")
    assert running()[0] == ("running", False)
    ahead.world.faults = Faults()
    act(ahead, rows[0], "reset")
    assert running()[0] == ("running", True)


def test_protection_does_not_outlast_what_never_ends(ahead: Ahead) -> None:
    """A protected server whose action never ends can be freed and deleted, and one whose action runs has to wait."""
    server = ahead.order(start_after_create=False).body["server"]
    body = {"delete": True, "rebuild": True}
    assert code(act(ahead, server, "change_protection", body)) == (423, "locked")
    ahead.world.tick()
    assert act(ahead, server, "change_protection", body).status == 201
    ahead.world.faults = Faults(actions=(ActionFault(command="start_server", how="endless"),))
    act(ahead, server, "poweron")
    ahead.world.tick()
    assert code(ahead("DELETE", f"/servers/{server['id']}")) == (403, "protected")
    assert act(ahead, server, "change_protection", {"delete": False, "rebuild": False}).status == 201
    gone(ahead, server)


#: Command, kind of resource, word of the request, its body, and where its work would show.
INSTANT: list[tuple[str, str, str, Json, str]] = [
    ("set_firewall_rules", "firewalls", "set_rules", {"rules": []}, "rules"),
    ("change_protection", "networks", "change_protection", {"delete": True}, "protection"),
    ("add_route", "networks", "add_route", {"destination": "10.100.1.0/24", "gateway": "10.0.0.2"}, "routes"),
    ("delete_subnet", "networks", "delete_subnet", {"ip_range": "10.0.0.0/16"}, "subnets"),
    ("change_ip_range", "networks", "change_ip_range", {"ip_range": "10.0.0.0/12"}, "ip_range"),
    ("add_to_placement_group", "servers", "add_to_placement_group", {}, "placement_group"),
    ("change_protection", "servers", "change_protection", {"delete": True, "rebuild": True}, "protection"),
    ("assign_primary_ip", "primary_ips", "assign", {"assignee_type": "server"}, "assignee_id"),
    ("change_dns_ptr", "primary_ips", "change_dns_ptr", {"dns_ptr": "a.example"}, "dns_ptr"),
]


@pytest.mark.parametrize("how", ["error", "endless"])
@pytest.mark.parametrize(("command", "kind", "word", "body", "field"), INSTANT)
def test_instant_actions(ahead: Ahead, *, command: str, kind: str, word: str, body: Json, field: str, how: Any) -> None:
    """What takes no time goes wrong as well: its work is left undone, and done when it is asked for again."""
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}
    rows = {
        "firewalls": ahead.make("firewalls", rules=[rule]),
        "networks": ahead.network(),
        "primary_ips": ahead.make("primary_ips", type="ipv4", assignee_type="server", location="fsn1"),
        "servers": ahead.order(start_after_create=False, public_net={"enable_ipv4": False}).body["server"],
    }
    ahead.world.tick()
    more = {
        "add_to_placement_group": {"placement_group": ahead.make("placement_groups", type="spread")["id"]},
        "assign_primary_ip": {"assignee_id": rows["servers"]["id"]},
        "change_dns_ptr": {"ip": rows["primary_ips"]["ip"]},
    }
    before = look(ahead, rows[kind]["id"], kind)[field]

    def ask() -> Json:
        reply = act(ahead, rows[kind], word, {**body, **more.get(command, {})}, kind=kind)
        assert reply.status == 201, reply.body
        return dict(reply.body.get("action") or reply.body["actions"][0])

    ahead.world.faults = Faults(actions=(ActionFault(command=command, how=how),))
    action = ask()
    assert (action["command"], action["status"]) == (command, "error" if how == "error" else "running")
    assert look(ahead, rows[kind]["id"], kind)[field] == before
    ahead.world.faults = Faults()
    if how == "endless" and command in ("add_to_placement_group", "assign_primary_ip"):
        return  # the server is locked for good, but for its deletion and its protection
    assert ask()["status"] == "success"
    assert look(ahead, rows[kind]["id"], kind)[field] != before
