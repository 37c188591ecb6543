# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is done with servers of the emulated API: power, groups, types, protection, and locks."""

from __future__ import annotations

import pytest
from sandbox_helpers import Api, Json, order, unique
from sandbox_orders import Ahead, act, code, finish, idle, look, make, settled

INVALID = (422, "invalid_input")
LOCKED = (423, "locked")
PLAIN = ("poweron", "poweroff", "shutdown", "reboot", "reset")


@pytest.mark.parametrize(
    ("word", "command", "before", "after"),
    [
        ("poweron", "start_server", "off", "running"),
        ("poweron", "start_server", "running", "running"),
        ("poweroff", "stop_server", "running", "off"),
        ("poweroff", "stop_server", "off", "off"),
        ("shutdown", "shutdown_server", "running", "off"),
        ("shutdown", "shutdown_server", "off", "off"),
        ("reboot", "reboot_server", "running", "running"),
        ("reboot", "reboot_server", "off", "off"),  # nobody hears the request
        ("reset", "reset_server", "running", "running"),
        ("reset", "reset_server", "off", "running"),
    ],
)
def test_power(ahead: Ahead, word: str, command: str, before: str, after: str) -> None:
    """Each power action has its command and leaves the server as it should."""
    server = ahead.order(start_after_create=before == "running").body["server"]
    ahead.world.tick()
    assert look(ahead, server["id"])["status"] == before
    action = act(ahead, server, word).body["action"]
    assert (action["command"], action["status"]) == (command, "running")
    assert action["resources"] == [{"type": "server", "id": server["id"]}]
    ahead.world.tick(0)
    assert (look(ahead, server["id"])["status"] == "off") is (before == "off" and word not in ("poweron", "reset"))
    ahead.world.tick()
    assert bool(ahead.world.hosts.up[server["id"]]) is (after == "running")
    row = look(ahead, server["id"])
    assert (row["status"], row["locked"]) == (after, False)
    done = ahead("GET", f"/servers/{server['id']}/actions/{action['id']}").body["action"]
    assert (done["status"], done["progress"], done["error"]) == ("success", 100, None)


def test_server_on_its_way(ahead: Ahead) -> None:
    """A server is initializing, starting, running, stopping, off and deleting, and is locked in between."""
    number = ahead.order().body["server"]["id"]
    seen: list[str] = []
    for word in (None, "poweroff", None):
        while not seen or look(ahead, number)["locked"]:
            seen.append(look(ahead, number)["status"])
            ahead.world.tick(1)
        seen.append(look(ahead, number)["status"])
        if word:
            act(ahead, {"id": number}, word)
    assert list(dict.fromkeys(seen)) == ["initializing", "starting", "running", "stopping", "off"]
    assert ahead("DELETE", f"/servers/{number}").body["action"]["command"] == "delete_server"
    assert look(ahead, number)["status"] == "deleting"


REQUESTS: list[tuple[str, str, Json | None]] = [
    ("DELETE", "", None),
    *(("POST", f"/actions/{word}", None) for word in PLAIN),
    ("POST", "/actions/attach_to_network", {"network": 1}),
    ("POST", "/actions/detach_from_network", {"network": 1}),
    ("POST", "/actions/create_image", {}),
    ("POST", "/actions/change_type", {"server_type": "cx33", "upgrade_disk": False}),
    ("POST", "/actions/add_to_placement_group", {"placement_group": 1}),
    ("POST", "/actions/remove_from_placement_group", None),
    ("POST", "/actions/change_protection", {"delete": True, "rebuild": True}),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=lambda value: str(value)[-24:])
def test_locked_servers(ahead: Ahead, method: str, path: str, body: Json | None) -> None:
    """Nothing is done with a server while an action runs: while it is made, stopped, or deleted."""
    number = ahead.order().body["server"]["id"]
    for begin in (None, ("POST", "/actions/poweroff"), ("DELETE", "")):
        if begin:
            ahead.world.tick()
            assert ahead(begin[0], f"/servers/{number}{begin[1]}").status in (200, 201)
        assert code(ahead(method, f"/servers/{number}{path}", body)) == LOCKED
    assert ahead("PUT", f"/servers/{number}", {"labels": {"a": "b"}}).status == 200


def test_protected_server(api: Api) -> None:
    """A protected server is not deleted; both protections go together."""
    server = idle(api)
    assert code(act(api, server, "change_protection", {"delete": True, "rebuild": False})) == INVALID
    row = finish(api, server, "change_protection", {"delete": True, "rebuild": True})
    assert row["protection"] == {"delete": True, "rebuild": True}
    assert code(api("DELETE", f"/servers/{server['id']}")) == (403, "protected")
    assert finish(api, server, "poweron")["status"] == "running"
    finish(api, server, "change_protection", {"delete": False, "rebuild": False})
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("cax21", (422, "invalid_server_type")),  # another architecture
        ("cx23", (422, "invalid_server_type")),  # smaller
        ("cx33", (422, "invalid_server_type")),  # the same
        ("cx22", (422, "invalid_server_type")),  # no longer sold
        ("cpx31", INVALID),  # sold elsewhere
        ("cx99", INVALID),
        (7.5, INVALID),
    ],
)
def test_types_that_do_not_fit(ahead: Ahead, wanted: object, expected: tuple[int, str]) -> None:
    """A server that is off becomes one of a type of its architecture with at least its disk, sold in its place."""
    server = ahead.order(server_type="cx33").body["server"]
    ahead.world.tick()
    body = {"server_type": wanted, "upgrade_disk": True}
    fitting = {"server_type": "cx43", "upgrade_disk": True}
    assert code(act(ahead, server, "change_type", fitting)) == (422, "server_not_stopped")
    act(ahead, server, "poweroff")
    ahead.world.tick()
    assert code(act(ahead, server, "change_type", body)) == expected
    assert act(ahead, server, "change_type", fitting).body["action"]["command"] == "change_server_type"
    ahead.world.tick()
    row = look(ahead, server["id"])
    assert (row["server_type"]["name"], row["primary_disk_size"], row["status"]) == ("cx43", 160, "running")


def test_placement_groups(api: Api) -> None:
    """A group is joined by order or while off, shown on both sides, left, and deleted when empty."""
    group = make(api, "placement_groups", labels={"a": "b"})
    assert (group["type"], group["servers"], group["labels"]) == ("spread", [], {"a": "b"})
    server = settled(api, placement_group=group["id"])
    assert server["placement_group"]["id"] == group["id"]
    assert look(api, group["id"], "placement_groups")["servers"] == [server["id"]]
    assert code(api("DELETE", f"/placement_groups/{group['id']}")) == (422, "resource_in_use")
    assert finish(api, server, "remove_from_placement_group")["placement_group"] is None
    assert code(act(api, server, "remove_from_placement_group")) == INVALID
    join = {"placement_group": group["id"]}
    assert code(act(api, server, "add_to_placement_group", join)) == (422, "server_not_stopped")
    finish(api, server, "poweroff")
    assert code(act(api, server, "add_to_placement_group", {"placement_group": 1})) == (404, "not_found")
    assert finish(api, server, "add_to_placement_group", join)["placement_group"]["servers"] == [server["id"]]
    assert code(act(api, server, "add_to_placement_group", join)) == INVALID
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])
    assert api("DELETE", f"/placement_groups/{group['id']}").status == 204


def test_ten_servers_are_spread(ahead: Ahead) -> None:
    """A group takes ten servers, by order and by joining."""
    group = ahead.make("placement_groups", type="spread")
    alone = ahead.order(start_after_create=False).body["server"]
    ahead.world.tick()
    for _ in range(10):
        assert ahead.order(placement_group=group["id"]).status == 201
    assert code(ahead.order(placement_group=group["id"])) == (409, "placement_error")
    body = {"placement_group": group["id"]}
    assert code(act(ahead, alone, "add_to_placement_group", body)) == (409, "placement_error")
    for _ in range(49):
        ahead.make("placement_groups", type="spread")
    full = ahead("POST", "/placement_groups", {"name": "late", "type": "spread"})
    assert code(full) == (403, "resource_limit_exceeded")
    assert full.error["details"] == {"limits": [{"name": "placement_group_limit"}]}


@pytest.mark.parametrize("kind", ["ssh_keys", "networks", "firewalls", "placement_groups", "primary_ips", "servers"])
def test_names_are_unique_for_each_kind(api: Api, kind: str) -> None:
    """A name is taken once among its kind, at its making and later, and the refused request changes nothing."""
    rows = [idle(api) if kind == "servers" else make(api, kind) for _ in range(2)]
    path = f"/{kind}/{rows[1]['id']}"
    assert code(api("PUT", path, {"name": rows[0]["name"], "labels": {"a": "b"}})) == (409, "uniqueness_error")
    assert look(api, rows[1]["id"], kind) == rows[1]
    assert api("PUT", path, {"name": rows[1]["name"]}).status == 200
    other = "primary_ips" if kind == "firewalls" else "firewalls"
    assert make(api, other, name=rows[0]["name"])["name"] == rows[0]["name"]  # another kind's name is free
    body = order(name=rows[0]["name"]) if kind == "servers" else make_body(api, kind, rows[0]["name"])
    refused = api("POST", f"/{kind}", body)
    assert code(refused) == (409, "uniqueness_error")
    assert refused.error["details"] == {"fields": [{"name": "name"}]}


def make_body(api: Api, kind: str, name: str) -> Json:
    """The body of a good request under a name."""
    own: dict[str, Json] = {
        "ssh_keys": {"public_key": make(api, "ssh_keys")["public_key"]},
        "networks": {"ip_range": api.settings.network_range},
        "placement_groups": {"type": "spread"},
        "primary_ips": {"type": "ipv4", "assignee_type": "server", "location": "fsn1"},
    }
    return {"name": name} | own.get(kind, {})


def test_key_in_use_can_be_deleted(api: Api) -> None:
    """A server does not need its SSH key any more once it is ordered."""
    key = make(api, "ssh_keys")
    made = api("POST", "/servers", order(ssh_keys=[key["name"]])).body
    assert made["root_password"] is None
    assert api("DELETE", f"/ssh_keys/{key['id']}").status == 204
    api.done(made["action"], *made["next_actions"])
    assert code(api("POST", "/servers", order(ssh_keys=[key["name"]]))) == INVALID


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "---- BEGIN SSH2 PUBLIC KEY ----", "KEY\nssh-ed25519 AAAA", "x KEY"]
)
def test_keys_that_are_none(api: Api, text: str) -> None:
    """A public key is one line in OpenSSH's format and nothing else."""
    whole = str(make(api, "ssh_keys")["public_key"])
    reply = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": text.replace("KEY", whole)})
    assert code(reply) == INVALID
