# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters that are resources with labels and nothing else, made in a moment, and looked at without our code."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from sandbox_helpers import Api, Json

from scherbelberg.planning.plan import Identity, network_labels

_MOST_LOOKS = 3000


def now_s(cloud: Api) -> int:
    """The cloud's clock."""
    return int(parsedate_to_datetime(cloud("GET", "/locations").headers["Date"]).timestamp())


def make(
    cloud: Api,
    prefix: str,
    *,
    ttl_s: int | None,
    idle_s: int | None = None,
    state: str = "ready",
    owner: str = "anna_at_laptop",
) -> Identity:
    """Make a cluster of two machines as its labels say, without any work on them."""
    begin_s = now_s(cloud)
    who = Identity(
        prefix=prefix,
        uid=f"{prefix}0",
        owner=owner,
        created_s=begin_s,
        deadline_s=None if ttl_s is None else begin_s + ttl_s,
        idle_s=idle_s,
    )
    network_range = cloud.settings.network_range
    network = {"name": prefix, "ip_range": network_range, "labels": network_labels(who, "ready")}
    if state == "creating":
        network["labels"] = network_labels(who, "creating")
    if state != "broken":
        assert cloud("POST", "/networks", network).status == 201
    assert cloud("POST", "/firewalls", {"name": prefix, "labels": who.labels("firewall")}).status == 201
    for role in ("scheduler", "worker"):
        order = {"name": f"{prefix}-{role}", "server_type": "cx23", "image": "ubuntu-24.04", "location": "fsn1"}
        more = {"labels": who.labels(role), "start_after_create": False}
        made = cloud("POST", "/servers", order | more)
        assert made.status == 201
        _wait(cloud, [made.body["action"], *made.body["next_actions"]])
    return who


def _wait(cloud: Api, actions: list[Json]) -> None:
    """Ask until actions have ended, in tests with an event loop, too."""
    ids = [str(action["id"]) for action in actions]
    for _ in range(_MOST_LOOKS):
        if all(row["status"] == "success" for row in cloud("GET", "/actions", id=ids).body["actions"]):
            return
    raise AssertionError(f"actions {ids} do not end")


def labels_in(cloud: Api) -> dict[str, dict[str, str]]:
    """Kind and name of all that could be of a cluster, to its labels."""
    kinds = ("servers", "networks", "firewalls")
    return {f"{kind}/{row['name']}": row["labels"] for kind in kinds for row in cloud("GET", f"/{kind}").body[kind]}
