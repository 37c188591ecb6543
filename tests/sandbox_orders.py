# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the emulated API share: servers and networks that are ready, actions, and words for refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox_helpers import Api, Json, Waiter, new_key, order, public, unique
from sandbox_world import World


def settled(api: Api, **changes: object) -> Json:
    """Order a server, wait until all of it is done, and look at it."""
    made = api("POST", "/servers", order(**changes))
    assert made.status == 201, made.body
    api.done(made.body["action"], *made.body["next_actions"])
    return look(api, made.body["server"]["id"])


def idle(api: Api, **changes: object) -> Json:
    """Order a server that is never started, which is quicker."""
    return settled(api, start_after_create=False, **changes)


def look(api: Any, number: int, kind: str = "servers") -> Json:
    """Look at a resource."""
    return dict(api("GET", f"/{kind}/{number}").body[kind[:-1]])


def act(api: Any, row: Json, word: str, body: object = None, *, kind: str = "servers") -> Any:
    """Begin an action."""
    return api("POST", f"/{kind}/{row['id']}/actions/{word}", body)


def finish(api: Api, row: Json, word: str, body: object = None, *, kind: str = "servers") -> Json:
    """Begin an action, wait until it has ended well, and look at what it was done with."""
    reply = act(api, row, word, body, kind=kind)
    assert reply.status == 201, reply.body
    api.done(reply.body.get("action") or reply.body["actions"][0])
    return look(api, row["id"], kind)


def ended(api: Api, action: Json) -> Json:
    """Wait until an action has ended, well or not."""
    Waiter().wait(lambda: _action(api, action)["status"] != "running", what="the end of an action")
    return _action(api, action)


def _action(api: Api, action: Json) -> Json:
    return dict(api("GET", f"/actions/{action['id']}").body["action"])


def code(reply: Any) -> tuple[int, str]:
    """HTTP status and code of a refusal."""
    return reply.status, reply.body.get("error", {}).get("code", "none")


def part(api: Api, suffix: str) -> str:
    """A range or an address within the sandbox's, such as ``.3.0/24``."""
    return api.settings.network_range.removesuffix(".0.0/16") + suffix


def make(api: Api, kind: str, **fields: object) -> Json:
    """Make a resource of a simple kind."""
    own: dict[str, Json] = {
        "ssh_keys": {"public_key": public(new_key())},
        "networks": {"ip_range": api.settings.network_range},
        "placement_groups": {"type": "spread"},
        "primary_ips": {"type": "ipv4", "assignee_type": "server", "location": "fsn1"},
    }
    body = {"name": unique(kind.replace("_", "-")[:-1])} | own.get(kind, {}) | fields
    reply = api("POST", f"/{kind}", body)
    assert reply.status == 201, reply.body
    return dict(reply.body[kind[:-1]])


class Ahead:
    """A world in which servers are made in one call; for many of them, and for moments between two steps."""

    def __init__(self) -> None:
        self.world = World()
        self.count = 0

    def __call__(self, method: str, path: str, body: object = None, **params: str | Sequence[str]) -> Any:
        """Send a request."""
        return self.world.send(method, path, body, **params)

    def make(self, kind: str, **fields: object) -> Json:
        """Make a resource whose name does not matter."""
        self.count += 1
        reply = self("POST", f"/{kind}", {"name": f"n{self.count}"} | fields)
        assert reply.status == 201, reply.body
        return dict(reply.body[kind[:-1]])

    def order(self, **changes: object) -> Any:
        """Order a server; no time passes."""
        return self("POST", "/servers", order(**changes))

    def network(self, ip_range: str = "10.0.0.0/16", **fields: object) -> Json:
        """Make a network with a subnet over all of it."""
        subnet = {"type": "cloud", "network_zone": "eu-central", "ip_range": ip_range}
        return self.make("networks", ip_range=ip_range, subnets=[subnet], **fields)
