# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers that another tool took our labels from are found by what they use, named, and never deleted by us."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from attrs import evolve
from bare_clusters import make
from catalogues import credentials, identity, manifest, server
from sandbox_helpers import Api, Json, order, unique
from schemas import read
from shells import Shell
from surroundings import SHORT, folders, held

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Firewall, Kind, Resource, Shared, read_resource
from scherbelberg.events import ignore_events
from scherbelberg.inventory.clusters import is_ours, network_warning
from scherbelberg.lifecycle.deletion import delete_all
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.state.store import Store

pytestmark = pytest.mark.hosts("scripted")
#: Far below the deadline of a deletion: nothing was waited for.
_FEW = 25


@pytest.fixture
def cloud(sandbox: SandboxThread) -> Iterator[Api]:
    """Requests without any code of ours."""
    api = Api(sandbox.settings)
    yield api
    api.close()


@pytest.fixture
def rows(cloud: Api, shell: Shell) -> dict[str, Json]:
    """A cluster of this computer whose servers use its firewall and its network: the rows of all, by name."""
    who = make(cloud, "ours", ttl_s=3600)
    record = manifest("ours", who.uid, endpoint=shell.settings.access.endpoint)
    nodes = (record.nodes[0], evolve(record.nodes[1], name="worker"))
    Store(shell.settings.home).claim(evolve(record, identity=who, nodes=nodes), credentials()).end_making()
    found = {row["name"]: row for kind in ("servers",) for row in cloud("GET", f"/{kind}").body[kind]}
    for kind in ("firewalls", "networks"):
        (found[kind],) = cloud("GET", f"/{kind}").body[kind]
    for name in ("ours-scheduler", "ours-worker"):
        use(cloud, found[name], found)
    return found


def use(cloud: Api, row: Json, rows: dict[str, Json], *, firewall: bool = True) -> None:
    """Have a server use the cluster's firewall and its network."""
    if firewall:
        body = {"apply_to": [{"type": "server", "server": {"id": row["id"]}}]}
        path = f"/firewalls/{rows['firewalls']['id']}/actions/apply_to_resources"
        cloud.done(*cloud("POST", path, body).body["actions"])
    network = rows["networks"]
    if not network["subnets"]:
        part = {"type": "cloud", "network_zone": "eu-central", "ip_range": network["ip_range"]}
        added = cloud("POST", f"/networks/{network['id']}/actions/add_subnet", part)
        cloud.done(added.body["action"])
        network["subnets"].append(part)
    path = f"/servers/{row['id']}/actions/attach_to_network"
    cloud.done(cloud("POST", path, {"network": network["id"]}).body["action"])


def relabel(cloud: Api, kind: str, row: Json) -> None:
    """Replace something's labels, as another tool does."""
    assert cloud("PUT", f"/{kind}/{row['id']}", {"labels": {"team": "x"}}).status == 200


@pytest.mark.parametrize("words", [("destroy",), ("nuke", "--yes")])
def test_a_worker(
    sandbox: SandboxThread, shell: Shell, cloud: Api, rows: dict[str, Json], words: tuple[str, ...]
) -> None:
    """All that is ours is deleted but what leads to the server; that is named, at once, with the way to delete it."""
    row = rows["ours-worker"]
    relabel(cloud, "servers", row)
    sent = len(sandbox.sandbox.requests)
    code, output, complaints = shell(*words, "-p", "ours", "--json")
    assert code == 8, complaints
    assert len(sandbox.sandbox.requests) - sent < _FEW
    document = read("error", output)
    assert document["left_over"] == ["firewall ours", "network ours", "server ours-worker"]
    assert (
        f"Server ours-worker (number {row['id']}), which uses firewall ours and network ours, has lost the labels of"
        f" cluster 'ours' and is still paid for: if it is the cluster's, 'hcloud server delete {row['id']}' or"
        " Hetzner's console deletes it." in document["error"]["message"]
    )
    assert held(shell.settings) == ["servers/ours-worker", "networks/ours", "firewalls/ours"]
    assert folders(shell.settings) == ["ours-ours0"]
    cloud.done(cloud("DELETE", f"/servers/{row['id']}").body["action"])
    code, _, complaints = shell("destroy", "-p", "ours")
    assert (code, held(shell.settings), folders(shell.settings)) == (0, [], []), complaints


def test_in_the_network_alone(shell: Shell, cloud: Api, rows: dict[str, Json]) -> None:
    """A server that only the network leads to is named as well, each time, until it is gone."""
    row = rows["ours-worker"]
    body = {"remove_from": [{"type": "server", "server": {"id": row["id"]}}]}
    path = f"/firewalls/{rows['firewalls']['id']}/actions/remove_from_resources"
    cloud.done(*cloud("POST", path, body).body["actions"])
    relabel(cloud, "servers", row)
    for _ in range(2):
        code, output, _ = shell("destroy", "-p", "ours", "--json")
        assert (code, json.loads(output)["left_over"]) == (8, ["network ours", "server ours-worker"])


def test_all_of_it(shell: Shell, cloud: Api, rows: dict[str, Json]) -> None:
    """Where nothing has our labels any more, this computer's record tells which servers there should be."""
    for name, row in rows.items():
        relabel(cloud, name if name in {"firewalls", "networks"} else "servers", row)
    before = held(shell.settings)
    code, output, complaints = shell("destroy", "-p", "ours", "--json")
    assert (code, json.loads(output)["left_over"]) == (8, ["server ours-scheduler", "server ours-worker"]), complaints
    assert (held(shell.settings), folders(shell.settings)) == (before, ["ours-ours0"])


def test_a_strangers_server(sandbox: SandboxThread, shell: Shell, cloud: Api, rows: dict[str, Json]) -> None:
    """A server of somebody else that uses what is ours is named, too, and not said to be ours."""
    made = cloud("POST", "/servers", order(name="database", start_after_create=False)).body
    cloud.done(made["action"])
    use(cloud, made["server"], rows)
    sent = len(sandbox.sandbox.requests)
    code, output, complaints = shell("destroy", "-p", "ours", "--json")
    assert code == 8, complaints
    assert len(sandbox.sandbox.requests) - sent < _FEW
    document = read("error", output)
    assert document["left_over"] == ["firewall ours", "network ours"]
    assert (
        f"Server database (number {made['server']['id']}) uses firewall ours and network ours, and is none of cluster"
        " 'ours': take it out of them in Hetzner's console, or delete it." in document["error"]["message"]
    )
    assert held(shell.settings) == ["servers/database", "networks/ours", "firewalls/ours"]


def test_nothing_is_asked_without_a_reason(sandbox: SandboxThread, shell: Shell, rows: dict[str, Json]) -> None:
    """Where all users are the cluster's, the project's other servers are not listed."""
    assert rows
    asked: list[str] = []
    door = sandbox.sandbox.requests
    before = len(door)
    assert shell("destroy", "-p", "ours")[0] == 0
    asked = [path for method, path in door[before:] if method == "GET"]
    assert asked.count("/v1/firewalls") <= 2


def test_by_a_selector(sandbox: SandboxThread, shell: Shell, cloud: Api, rows: dict[str, Json]) -> None:
    """A firewall that somebody applies to labels is never free: that is said at once, with what to do."""
    body = {"apply_to": [{"type": "label_selector", "label_selector": {"selector": "team=x"}}]}
    path = f"/firewalls/{rows['firewalls']['id']}/actions/apply_to_resources"
    assert cloud("POST", path, body).status == 201
    sent = len(sandbox.sandbox.requests)
    code, output, complaints = shell("destroy", "-p", "ours", "--json")
    assert (code, json.loads(output)["left_over"]) == (8, ["firewall ours"]), complaints
    assert len(sandbox.sandbox.requests) - sent < _FEW
    assert (
        "Somebody has applied firewall ours to whatever has the labels 'team=x': take that out of it in Hetzner's"
        " console." in json.loads(output)["error"]["message"]
    )
    assert held(shell.settings) == ["firewalls/ours"]


@pytest.mark.usefixtures("rows")
async def test_a_list_that_lagged_behind(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of ours that the first list lacks, since it was made meanwhile, is found by its labels and deleted."""
    hetzner = Hetzner(shell.settings.access, request_s=5, patience_s=5)
    find, lists = hetzner.find, []

    async def lag(kind: Kind, wanted: Mapping[str, str]) -> tuple[Resource, ...]:
        lists.append(kind)
        found = await find(kind, wanted)
        return () if kind == "servers" and lists.count(kind) == 1 else found

    monkeypatch.setattr(hetzner, "find", lag)
    gone: list[Resource] = []
    wanted = {"managed-by": "scherbelberg", "prefix": "ours", "uid": "ours0"}
    await delete_all(hetzner, wanted, listener=ignore_events, timeouts=SHORT, note=gone.extend)
    hetzner.close()
    assert held(shell.settings) == []
    assert {one.name for one in gone} >= {"ours-scheduler", "ours-worker"}


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("ours-scheduler", {}, True),
        ("ours-worker012", {"team": "x"}, True),
        ("ours-worker000", {"uid": "other"}, False),
        ("anything", {"uid": "u"}, True),
        ("ours-2-worker000", {}, False),
        ("ours-database", {}, False),
        ("our-worker000", {}, False),
    ],
)
def test_whose(name: str, labels: dict[str, str], expected: bool) -> None:
    """A server is ours by its uid, or, without one, by a name as we give it."""
    assert is_ours(server(name, labels), {"prefix": "ours", "uid": "u"}) is expected


def test_words_without_users() -> None:
    """A server that nothing of ours leads to is named by its name alone."""
    words = network_warning(server("ours-worker000", {}, 7), (), {"prefix": "ours", "uid": "u"})
    assert words.startswith("Server ours-worker000 (number 7) has lost the labels of cluster 'ours' and is still paid")


def test_users_are_read() -> None:
    """Firewalls name their users one by one or by labels, networks by number; whatever else stands there is nobody."""
    common = {"id": 1, "name": unique("x"), "labels": identity().labels("any")}
    direct = {"type": "server", "server": {"id": 5}}
    chosen = {"type": "label_selector", "applied_to_resources": [{"type": "server", "server": {"id": 6}}, None]}
    selected = {**chosen, "label_selector": {"selector": "a=b"}}
    firewall = read_resource("firewalls", {**common, "applied_to": [direct, chosen, selected, None, {"server": 3}]})
    assert isinstance(firewall, Firewall)
    assert (set(firewall.used_by), firewall.selectors) == ({5, 6}, ("a=b",))
    network = read_resource("networks", {**common, "servers": [7, "8", None]})
    assert isinstance(network, Shared)
    assert network.used_by == (7,)
