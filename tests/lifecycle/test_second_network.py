# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the cloud tells of several things of a kind, the cluster's own is taken and not the first one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from bare_clusters import make
from catalogues import NOW_S, credentials, identity, manifest, network, server
from drift import Drift, drifting
from sandbox_helpers import Api
from shells import Shell
from surroundings import SHORT, settings_for

from scherbelberg import ClusterSpec, sync
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.listing import find_own
from scherbelberg.planning.plan import network_labels
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.state.store import Store

_FOREIGN = 424242


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """A cloud in which each server is, first of all, in somebody else's network."""

    def in_another_network(kind: str, row: Any) -> None:
        if kind == "servers":
            row["private_net"].insert(0, {"network": _FOREIGN, "ip": "10.99.0.7", "alias_ips": [], "mac_address": ""})

    with drifting(tmp_path_factory.mktemp("networks")) as (running, drift):
        drift.change = in_another_network
        yield running, drift


def test_made_in_the_own_network(world: tuple[SandboxThread, Drift], home: Path) -> None:
    """A cluster is made, and computes, by its addresses in its own network."""
    settings = settings_for(world[0], home)
    with sync.Cluster.from_new(ClusterSpec(prefix="two", workers=1, timeouts=SHORT), settings=settings) as cluster:
        assert {node.private_ip for node in cluster.nodes} == {"10.0.0.2", "10.0.0.3"}
        with cluster.get_client() as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        cluster.destroy()


@pytest.mark.hosts("scripted")
def test_shown_in_the_own_network(shell: Shell, sandbox: SandboxThread) -> None:
    """`show` tells the address in the cluster's network, though the server joined another one before."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "ours", ttl_s=3600)
    record = manifest("ours", who.uid, endpoint=shell.settings.access.endpoint)
    Store(shell.settings.home).claim(evolve(record, identity=who), credentials()).end_making()
    part = {"type": "cloud", "network_zone": "eu-central"}
    other = cloud("POST", "/networks", {"name": "foreign", "ip_range": "172.16.0.0/16"}).body["network"]
    (own,) = (row for row in cloud("GET", "/networks").body["networks"] if row["name"] == "ours")
    addresses = {}
    for row in cloud("GET", "/servers").body["servers"]:
        for one in (other, own):
            if not cloud("GET", f"/networks/{one['id']}").body["network"]["subnets"]:
                body = part | {"ip_range": one["ip_range"]}
                cloud.done(cloud("POST", f"/networks/{one['id']}/actions/add_subnet", body).body["action"])
            path = f"/servers/{row['id']}/actions/attach_to_network"
            cloud.done(cloud("POST", path, {"network": one["id"]}).body["action"])
        found = cloud("GET", f"/servers/{row['id']}").body["server"]["private_net"]
        assert [entry["network"] for entry in found] == [other["id"], own["id"]]
        addresses[row["labels"].get("node", row["name"])] = found[1]["ip"]
    cloud.close()
    document = json.loads(shell("show", "-p", "ours", "--json")[1])
    assert {node["name"]: node["private_ip"] for node in document["nodes"]} == addresses


def test_the_network_of_its_name_speaks() -> None:
    """Labels that somebody copied to another network, which the cloud lists first, change nothing."""
    who = identity()
    copied = evolve(who, owner="mallory_at_desk", created_s=int(NOW_S) + 5).labels("network")
    resources = (
        network("copy", copied | {"state": "creating"}, 7),
        server("cluster-scheduler", who.labels("scheduler"), 1),
        network("cluster", network_labels(who, "ready"), 8),
    )
    machine = evolve(resources[1], private_ips={7: "10.7.0.2", 8: "10.0.0.2"})
    for found in (resources, resources[::-1]):
        (one,) = group_clusters(found)
        assert (one.state, one.owner, one.created_s) == ("ready", who.owner, who.created_s)
        assert one.private_ip(machine) == "10.0.0.2"


@pytest.mark.hosts("scripted")
async def test_the_one_that_can_be_used(shell: Shell, sandbox: SandboxThread) -> None:
    """Of two clusters of one name that this computer has keys of, the one that can be used is meant."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "twice", ttl_s=3600)
    old = evolve(who, uid="older0", created_s=who.created_s - 1000)
    order = {"name": "left", "server_type": "cx23", "image": "ubuntu-24.04", "location": "fsn1"}
    made = cloud("POST", "/servers", order | {"labels": old.labels("worker"), "start_after_create": False})
    assert made.status == 201
    for one in (old, who):
        record = manifest("twice", one.uid, endpoint=shell.settings.access.endpoint)
        Store(shell.settings.home).claim(evolve(record, identity=one), credentials()).end_making()
    cloud.close()
    assert (await find_own(shell.settings, "twice")).cluster.uid == who.uid
