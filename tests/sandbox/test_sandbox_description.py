# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The witness that holds every answer in these tests against Hetzner's description, and answers for it to look at."""

from __future__ import annotations

from typing import Any

import pytest
from description import OPENAPI, description
from sandbox_helpers import Api, make_firewall, make_network, new_key, order, public, unique

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason="the description of the API is not beside the repository")


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/servers/1", 200, {"server": {"id": 1}}),
        ("GET", "/servers/1", 200, {"server": None}),
        ("GET", "/ssh_keys", 200, {"ssh_keys": [{"id": "1"}]}),
        ("DELETE", "/ssh_keys/1", 204, {"ssh_key": {}}),
        ("GET", "/nothing", 200, {}),
    ],
)
def test_witness_complains_of_answers(method: str, path: str, status: int, body: dict[str, Any]) -> None:
    """An answer that lacks something, has another type, or comes from nowhere is not let pass."""
    assert description().complaint(method, path, status, body)


def test_witness_objects_to_requests() -> None:
    """A request that is accepted must fit, too; numbers and names are both good where the API takes both."""
    assert description().objection("POST", "/ssh_keys", {"name": 1, "public_key": "x"})
    good = {"name": "a", "server_type": 22, "image": 1, "ssh_keys": [1, "b"]}
    assert description().objection("POST", "/servers", good) is None


def test_every_kind_has_been_looked_at(api: Api) -> None:
    """Each list and each kind of resource is shown at least once while the witness looks."""
    key = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": public(new_key())}).body["ssh_key"]
    network, firewall = make_network(api), make_firewall(api)
    body = order(networks=[network["id"]], firewalls=[{"firewall": firewall["id"]}], ssh_keys=[key["id"]])
    made = api("POST", "/servers", body).body
    api.done(made["action"], *made["next_actions"])
    address = made["server"]["public_net"]["ipv4"]["id"]
    ones = {"servers": made["server"]["id"], "networks": network["id"], "firewalls": firewall["id"]}
    ones |= {"ssh_keys": key["id"], "primary_ips": address, "actions": made["action"]["id"]}
    ones |= {"images": 161547269, "locations": 1, "server_types": 104}
    for kind, number in ones.items():
        assert api("GET", f"/{kind}/{number}").status == 200
    for kind in {*ones, "placement_groups", "isos", "pricing"} - {"actions"}:
        assert api("GET", f"/{kind}").status == 200
    assert api("DELETE", f"/servers/{ones['servers']}").status == 200
