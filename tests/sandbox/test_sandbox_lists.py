# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lists of the emulated API: filters, orders, pages, label selectors, and lists of actions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sandbox_helpers import Api, Json
from sandbox_orders import Ahead, act, code

INVALID = (422, "invalid_input")
#: Name and labels of three firewalls.
FLOCK = (("b1", {"k": "1", "site": "a"}), ("a1", {"k": "2", "site": "a"}), ("a2", {"k": "2", "site": ""}))


@pytest.fixture(scope="module")
def flock() -> Iterator[Ahead]:
    """A project with a few of each kind, which nobody changes."""
    own = Ahead()
    for name, labels in FLOCK:
        own.make("firewalls", name=name, labels=labels)
    server = own.order(name="up", labels={"a": "1"}).body["server"]
    own.order(name="down", start_after_create=False)
    own.world.tick()
    act(own, server, "create_image", {"labels": {"a": "1"}})
    own.world.tick()
    act(own, server, "create_image")
    own.make("placement_groups", name="g", type="spread")
    own.make("networks", name="n", ip_range="10.0.0.0/16")
    own.make("primary_ips", name="p", type="ipv6", assignee_type="server", location="fsn1")
    yield own
    assert own.world.witness.complaints == []
    own.world.close()


def names(flock: Ahead, kind: str, **params: object) -> list[str]:
    """Names in a list."""
    return [row["name"] for row in flock("GET", f"/{kind}", **params).body[kind]]  # type: ignore[arg-type]  # lists, too


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("k=1", ["b1"]),
        ("k==1", ["b1"]),
        ("k!=1", ["a1", "a2"]),
        ("k", ["b1", "a1", "a2"]),
        ("!k", []),
        ("nobody!=x", ["b1", "a1", "a2"]),
        ("k in (1,3)", ["b1"]),
        ("k in (1, 2),site=a", ["b1", "a1"]),
        ("k notin (2)", ["b1"]),
        ("site=", ["a2"]),
        ("k=2,site!=a", ["a2"]),
        ("k=2,site!=a,!other", ["a2"]),
    ],
)
def test_label_selectors(flock: Ahead, selector: str, expected: list[str]) -> None:
    """A selector chooses in a list what it chooses at Hetzner, and the count says how many."""
    body = flock("GET", "/firewalls", label_selector=selector).body
    assert [row["name"] for row in body["firewalls"]] == expected
    assert body["meta"]["pagination"]["total_entries"] == len(expected)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ([], ["b1", "a1", "a2"]),
        (["name"], ["a1", "a2", "b1"]),
        (["name:desc"], ["b1", "a2", "a1"]),
        (["id:desc"], ["a2", "a1", "b1"]),
        (["created", "name:desc"], ["b1", "a2", "a1"]),
        (["name:asc", "id:desc"], ["a1", "a2", "b1"]),
    ],
)
def test_orders(flock: Ahead, sort: list[str], expected: list[str]) -> None:
    """A list is sorted by the first key, and where that is equal by the next."""
    for firewall in flock.world.project.firewalls.values():
        firewall.created = next(iter(flock.world.project.firewalls.values())).created
    assert names(flock, "firewalls", sort=sort) == expected


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("firewalls", {"name": "a1"}, ["a1"]),
        ("firewalls", {"name": "a"}, []),
        ("firewalls", {"name": "a1", "label_selector": "k=1"}, []),
        ("networks", {"name": "n"}, ["n"]),
        ("placement_groups", {"name": "g", "type": "spread"}, ["g"]),
        ("placement_groups", {"type": "other"}, []),
        ("servers", {"status": "running"}, ["up"]),
        ("servers", {"status": ["running", "off"]}, ["up", "down"]),
        ("servers", {"status": "deleting"}, []),
        ("primary_ips", {"name": "p"}, ["p"]),
        ("primary_ips", {"ip": "1.2.3.4"}, []),
        ("images", {"name": "debian-12", "architecture": "arm"}, ["debian-12"]),
        ("images", {"type": "snapshot"}, [None, None]),
        ("images", {"type": "snapshot", "status": "creating"}, [None]),
        ("images", {"type": ["snapshot", "backup"], "status": "available", "label_selector": "a"}, [None]),
        ("images", {"type": "system", "bound_to": "1"}, []),
        ("images", {"name": "debian-12", "include_deprecated": "true"}, ["debian-12", "debian-12"]),
        ("images", {"type": "app"}, []),
        ("server_types", {"name": "cax11"}, ["cax11"]),
        ("server_types", {"name": "cax11", "sort": "whatever"}, ["cax11"]),  # knows no sorting
        ("locations", {"name": "hil"}, ["hil"]),
        ("locations", {"sort": "name:desc", "per_page": "2"}, ["sin", "nbg1"]),
        ("isos", {"architecture": "x86", "include_architecture_wildcard": "true"}, []),
        ("firewalls", {"name": "a1", "colour": "red", "status": "x"}, ["a1"]),  # unknown parameters are ignored
        ("firewalls", {"page": "9"}, []),
    ],
)
def test_filters(flock: Ahead, kind: str, params: Json, expected: list[str | None]) -> None:
    """Each list knows the filters that its description names, and ignores what it does not know."""
    assert names(flock, kind, **params) == expected


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/firewalls", {"per_page": "51"}),
        ("/firewalls", {"per_page": "0"}),
        ("/firewalls", {"per_page": "x"}),
        ("/firewalls", {"page": "-1"}),
        ("/firewalls", {"page": "1" * 5000}),
        ("/firewalls", {"sort": "rules"}),
        ("/firewalls", {"sort": "name:up"}),
        ("/ssh_keys", {"sort": "created"}),
        ("/primary_ips", {"sort": "name"}),
        ("/servers/actions", {"sort": "name"}),
        ("/locations", {"sort": "created"}),
        ("/images", {"label_selector": "a b"}),
        ("/actions", {"id": ["1"] * 26}),
        ("/actions", {"id": "1" * 5000}),
    ],
)
def test_lists_that_are_refused(flock: Ahead, path: str, params: Json) -> None:
    """Pages, orders and selectors that there are not are refused."""
    assert code(flock("GET", path, **params)) == INVALID


def test_snapshots_without_names_are_sorted(flock: Ahead) -> None:
    """What has no name comes first when sorted by name, and last the other way round."""
    shown = names(flock, "images", sort="name")
    assert shown == [None, None, *sorted(filter(None, shown))]
    assert names(flock, "images", sort="name:desc")[-2:] == [None, None]


def test_lists_of_actions(flock: Ahead) -> None:
    """Actions are listed by number, by kind and by resource, filtered by status, and sorted though some run."""
    number = flock("GET", "/servers", name="up").body["servers"][0]["id"]
    of_kind = flock("GET", "/servers/actions", sort="finished:desc").body["actions"]
    of_one = flock("GET", f"/servers/{number}/actions", sort="command").body["actions"]
    assert [row["command"] for row in of_one] == ["create_image", "create_image", "create_server", "start_server"]
    assert len(of_kind) == 5
    running = [row["id"] for row in of_kind if row["status"] == "running"]
    assert len(running) == 1
    for path in ("/servers/actions", f"/servers/{number}/actions", "/images/actions"):
        assert [row["id"] for row in flock("GET", path, status="running").body["actions"]] == running
    ids = [str(row["id"]) for row in of_one]
    assert [row["id"] for row in flock("GET", "/servers/actions", id=ids[:2]).body["actions"]] == [
        int(one) for one in sorted(ids[:2])
    ]
    found = flock("GET", "/actions", id=[*ids, ids[0], "1"]).body["actions"]
    assert sorted(str(row["id"]) for row in found) == sorted(ids)
    assert code(flock("GET", f"/networks/actions/{ids[0]}")) == (404, "not_found")
    assert flock("GET", f"/servers/{number}/actions/{ids[0]}").status == 200
    assert code(flock("GET", f"/servers/1/actions/{ids[0]}")) == (404, "not_found")
    assert code(flock("GET", "/servers/1/actions")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/ssh_keys/actions", "/placement_groups/actions", "/ssh_keys/1/actions"])
def test_kinds_without_actions(api: Api, path: str) -> None:
    """Where the API shows no actions, there is no list of them."""
    assert code(api("GET", path)) == (404, "not_found")
