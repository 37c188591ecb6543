# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Primary IPs of the emulated API: their own life, and what they do with the servers that have them."""

from __future__ import annotations

import asyncio
import socket

import asyncssh
import pytest
from attrs import evolve
from sandbox_helpers import Api, Json, Machine, order, unique, wait_for_ssh
from sandbox_orders import act, code, finish, idle, look, make

INVALID = (422, "invalid_input")


def test_primary_ip_is_shown_as_made(api: Api) -> None:
    """An address of its own is shown with its place, name, and that nobody has it."""
    primary = make(api, "primary_ips", labels={"a": "b"})
    assert (primary["assignee_id"], primary["assignee_type"]) == (None, "unassigned")
    assert (primary["auto_delete"], primary["blocked"], primary["protection"]) == (False, False, {"delete": False})
    assert primary["location"]["name"] == "fsn1"
    assert primary["dns_ptr"][0]["dns_ptr"].endswith(".clients.your-server.de")
    assert [row["id"] for row in api("GET", "/primary_ips", ip=primary["ip"]).body["primary_ips"]] == [primary["id"]]
    ipv6 = make(api, "primary_ips", type="ipv6", location="ash", auto_delete=True)
    assert (ipv6["ip"].endswith("::/64"), ipv6["dns_ptr"], ipv6["auto_delete"]) == (True, [], True)
    for row in (primary, ipv6):
        assert api("DELETE", f"/primary_ips/{row['id']}").status == 204


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"location": "mars"}, INVALID),
        ({"location": None}, INVALID),  # neither a place nor a server
        ({"assignee_id": 1}, (404, "not_found")),
        ({"type": "ipv5"}, INVALID),
        ({"assignee_type": "load_balancer"}, INVALID),
        ({"datacenter": "fsn1-dc14"}, INVALID),
        ({"name": ""}, INVALID),
    ],
)
def test_primary_ips_that_are_refused(api: Api, change: Json, expected: tuple[int, str]) -> None:
    """An address that is ordered wrongly is not made."""
    before = api("GET", "/primary_ips").body["meta"]
    body = {"name": unique("ip"), "type": "ipv4", "assignee_type": "server", "location": "fsn1"} | change
    reply = api("POST", "/primary_ips", {name: value for name, value in body.items() if value is not None})
    assert code(reply) == expected
    assert api("GET", "/primary_ips").body["meta"] == before


def test_addresses_that_come_with_a_server_go_with_it(api: Api) -> None:
    """A server's own addresses vanish with it, and one that was there before stays."""
    kept = make(api, "primary_ips")
    server = idle(api, public_net={"ipv4": kept["id"]})
    assert server["public_net"]["ipv4"]["ip"] == kept["ip"]
    born = server["public_net"]["ipv6"]["id"]
    assert look(api, born, "primary_ips")["assignee_id"] == server["id"]
    assert code(api("DELETE", f"/primary_ips/{kept['id']}")) == (422, "must_be_unassigned")
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])
    assert code(api("GET", f"/primary_ips/{born}")) == (404, "not_found")
    assert look(api, kept["id"], "primary_ips")["assignee_id"] is None
    api("PUT", f"/primary_ips/{kept['id']}", {"auto_delete": True})
    server = idle(api, public_net={"ipv4": kept["id"], "enable_ipv6": False})
    assert server["public_net"]["ipv6"] is None
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])
    assert code(api("GET", f"/primary_ips/{kept['id']}")) == (404, "not_found")


def test_orders_with_addresses_that_do_not_fit(api: Api) -> None:
    """An address that is assigned, elsewhere, of the other kind or unknown makes an order fail."""
    here, there, ipv6 = (make(api, "primary_ips", **row) for row in ({}, {"location": "ash"}, {"type": "ipv6"}))
    idle(api, public_net={"ipv4": here["id"]})
    for public_net, location, expected in (
        ({"ipv4": here["id"]}, "fsn1", (409, "primary_ip_assigned")),
        ({"ipv4": there["id"]}, "fsn1", (422, "primary_ip_datacenter_mismatch")),
        ({"ipv4": ipv6["id"]}, "fsn1", (422, "primary_ip_version_mismatch")),
        ({"ipv4": 1}, "fsn1", INVALID),
        ({"ipv6": ipv6["id"], "enable_ipv6": False}, "fsn1", INVALID),
    ):
        assert code(api("POST", "/servers", order(public_net=public_net, location=location))) == expected
    assert look(api, ipv6["id"], "primary_ips")["assignee_id"] is None
    placed = idle(api, public_net={"ipv4": make(api, "primary_ips", location="hel1")["id"]}, location=None)
    assert placed["location"]["name"] == "hel1"  # where the address is


def test_address_is_assigned_to_a_server_that_is_off(api: Api) -> None:
    """Assigning needs a server that is off, is in the same place and has no such address."""
    primary = make(api, "primary_ips")
    path, body = f"/primary_ips/{primary['id']}/actions", {"assignee_type": "server"}
    server = idle(api)
    has = api("POST", f"{path}/assign", body | {"assignee_id": server["id"]})
    assert code(has) == (422, "server_has_ipv4")
    assert code(api("POST", f"{path}/assign", body | {"assignee_id": 1})) == (404, "not_found")
    assert code(api("POST", f"{path}/unassign")) == (422, "primary_ip_not_assigned")
    born = server["public_net"]["ipv4"]["id"]
    freed = finish(api, {"id": born}, "unassign", kind="primary_ips")
    assert (freed["assignee_id"], freed["assignee_type"]) == (None, "unassigned")
    away = make(api, "primary_ips", location="nbg1")
    assert code(act(api, away, "assign", body | {"assignee_id": server["id"]}, kind="primary_ips")) == INVALID
    assigned = finish(api, primary, "assign", body | {"assignee_id": server["id"]}, kind="primary_ips")
    assert (assigned["assignee_id"], assigned["assignee_type"]) == (server["id"], "server")
    again = act(api, primary, "assign", body | {"assignee_id": server["id"]}, kind="primary_ips")
    assert code(again) == (422, "primary_ip_already_assigned")
    finish(api, server, "poweron")
    assert code(act(api, primary, "unassign", kind="primary_ips")) == (422, "server_not_stopped")
    late = {"name": unique("ip"), "type": "ipv4", "assignee_type": "server", "assignee_id": server["id"]}
    assert code(api("POST", "/primary_ips", late)) == (422, "server_not_stopped")


def test_address_is_made_for_a_server(api: Api) -> None:
    """An address can be made for a server that has none, in that server's place; both at once are too much."""
    server = idle(api, public_net={"enable_ipv4": False}, location="hel1")
    body = {"name": unique("ip"), "type": "ipv4", "assignee_type": "server", "assignee_id": server["id"]}
    assert code(api("POST", "/primary_ips", body | {"location": "hel1"})) == INVALID
    assert code(api("POST", "/primary_ips", body | {"assignee_type": "unassigned"})) == INVALID
    made = api("POST", "/primary_ips", body).body
    assert (made["primary_ip"]["location"]["name"], made["action"]["status"]) == ("hel1", "success")
    assert look(api, server["id"])["public_net"]["ipv4"]["ip"] == made["primary_ip"]["ip"]


def test_server_without_any_address_stays_off(api: Api) -> None:
    """A server that lost its last interface cannot be started."""
    server = idle(api, public_net={"enable_ipv6": False})
    finish(api, server["public_net"]["ipv4"], "unassign", kind="primary_ips")
    assert code(act(api, server, "poweron")) == INVALID
    assert look(api, server["id"])["status"] == "off"


def test_protection_and_auto_delete_exclude_each_other(api: Api) -> None:
    """A protected address is neither deleted nor set to go with its server."""
    primary = make(api, "primary_ips", auto_delete=True)
    path = f"/primary_ips/{primary['id']}"
    assert code(act(api, primary, "change_protection", {"delete": True}, kind="primary_ips")) == INVALID
    assert code(act(api, primary, "change_protection", {}, kind="primary_ips")) == INVALID
    assert api("PUT", path, {"auto_delete": False}).body["primary_ip"]["auto_delete"] is False
    assert finish(api, primary, "change_protection", {"delete": True}, kind="primary_ips")["protection"]["delete"]
    assert code(api("PUT", path, {"auto_delete": True})) == INVALID
    assert code(api("DELETE", path)) == (403, "protected")
    finish(api, primary, "change_protection", {"delete": False}, kind="primary_ips")
    assert api("DELETE", path).status == 204


def test_reverse_names(api: Api) -> None:
    """A name for an address within the primary IP is set and reset, for others it is refused."""
    primary, ipv6 = make(api, "primary_ips"), make(api, "primary_ips", type="ipv6")
    host = ipv6["ip"].replace("::/64", "::1")
    named = finish(api, primary, "change_dns_ptr", {"ip": primary["ip"], "dns_ptr": "a.example"}, kind="primary_ips")
    assert named["dns_ptr"] == [{"ip": primary["ip"], "dns_ptr": "a.example"}]
    named = finish(api, ipv6, "change_dns_ptr", {"ip": host, "dns_ptr": "b.example"}, kind="primary_ips")
    assert named["dns_ptr"] == [{"ip": host, "dns_ptr": "b.example"}]
    for ip, expected in (("127.0.0.9", (404, "not_found")), ("2001:db9::1", (404, "not_found")), ("x", INVALID)):
        assert code(act(api, ipv6, "change_dns_ptr", {"ip": ip, "dns_ptr": "c"}, kind="primary_ips")) == expected


def test_names_that_the_cloud_makes_up_are_free(api: Api) -> None:
    """An address that comes with a server never takes a name that somebody has."""
    last = make(api, "primary_ips")["id"]
    taken = {make(api, "primary_ips", name=f"primary_ip-{last + step}")["name"] for step in range(4, 12)}
    idle(api)
    idle(api)
    names = [row["name"] for row in api("GET", "/primary_ips", per_page="50").body["primary_ips"]]
    assert len(names) == len(set(names))
    assert taken <= set(names)


def test_moved_address_moves_ssh(api: Api, own: Machine) -> None:
    """When an address moves to another server, that one answers SSH there, with its own host key."""
    old = own.row["public_net"]["ipv4"]
    other = idle(api, public_net={"enable_ipv4": False})
    finish(api, own.row, "poweroff")
    finish(api, old, "unassign", kind="primary_ips")
    finish(api, old, "assign", {"assignee_id": other["id"], "assignee_type": "server"}, kind="primary_ips")
    row = finish(api, other, "poweron")
    assert row["public_net"]["ipv4"]["ip"] == old["ip"]
    assert finish(api, own.row, "poweron")["public_net"]["ipv4"] is None
    wait_for_ssh(evolve(own, row=row))
    born = asyncssh.read_public_key(str(own.root.parent / f"{other['id']}/etc/ssh/ssh_host_ed25519_key.pub"))
    shown = asyncio.run(asyncssh.get_server_host_key(old["ip"], own.port, config=None))
    assert shown is not None
    assert shown.public_data == born.public_data != own.host_key.public_data
    finish(api, other, "poweroff")
    with socket.socket() as probe:
        assert probe.connect_ex((old["ip"], own.port)) != 0
