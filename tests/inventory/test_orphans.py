# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What does not go with its server is found before that goes, told with its price until it is gone, never deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from bare_clusters import make
from catalogues import CALM, credentials, identity, manifest, price, server, tariff
from drift import NONSENSE, Drift, drifting, with_nonsense
from hypothesis import given
from hypothesis import strategies as st
from sandbox_helpers import Api, Json
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held, settings_for

from scherbelberg import Cluster
from scherbelberg.cloud.resources import PriceList
from scherbelberg.errors import CloudUnreachable, LeftOver
from scherbelberg.inventory.orphans import (
    Orphan,
    find_orphans,
    merge_orphans,
    read_orphan,
    still_listed,
    where_to_look,
    write_orphan,
)
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

#: What an IPv4 address costs at Hetzner, per month.
_IPV4 = "0.5000 EUR net, 0.5950 gross per month"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """An emulated cloud whose answers a test may change."""
    with drifting(tmp_path_factory.mktemp("cloud")) as both:
        yield both


@pytest.fixture
def settings(world: tuple[SandboxThread, Drift], home: Path) -> Iterator[Settings]:
    """Settings that lead to it; nothing goes wrong at first."""
    sandbox, drift = world
    yield settings_for(sandbox, home)
    drift.forget()
    sandbox.set_faults(Faults())
    sandbox.set_clock(0)


@pytest.fixture
def cloud(world: tuple[SandboxThread, Drift]) -> Iterator[Api]:
    """Requests without any code of ours, and an empty project in the end."""
    api = Api(world[0].settings)
    yield api
    world[1].forget()
    world[0].set_faults(Faults())
    for row in api("GET", "/servers").body["servers"]:
        api.done(api("DELETE", f"/servers/{row['id']}").body["action"])
    for kind in ("primary_ips", "firewalls", "networks"):
        for row in api("GET", f"/{kind}").body[kind]:
            api("DELETE", f"/{kind}/{row['id']}")
    for row in api("GET", "/images", type="snapshot").body["images"]:
        api("DELETE", f"/images/{row['id']}")
    api.close()


def claim(cloud: Api, shell: Shell, *, ttl_s: int = 3600) -> None:
    """Make a cluster of this computer."""
    who = make(cloud, "ours", ttl_s=ttl_s)
    record = manifest("ours", who.uid, endpoint=shell.settings.access.endpoint)
    nodes = (record.nodes[0], evolve(record.nodes[1], name="worker"))
    Store(shell.settings.home).claim(evolve(record, identity=who, nodes=nodes), credentials()).end_making()


def keep_address(cloud: Api, name: str = "ours-worker") -> int:
    """Have a server's address outlive it, as its owner does in the console."""
    (row,) = cloud("GET", "/servers", name=name).body["servers"]
    number = int(row["public_net"]["ipv4"]["id"])
    assert cloud("PUT", f"/primary_ips/{number}", {"auto_delete": False}).status == 200
    return number


def addresses(cloud: Api) -> list[int]:
    """Numbers of the project's IPv4 addresses."""
    return [row["id"] for row in cloud("GET", "/primary_ips").body["primary_ips"] if row["type"] == "ipv4"]


def test_an_address(shell: Shell, cloud: Api) -> None:
    """It makes a `destroy` end with 8, stands in the folder, and is shown by all until it is gone."""
    claim(cloud, shell)
    number = keep_address(cloud)
    words = f"primary IP {number} of ours-worker, {_IPV4}"
    for _ in range(2):
        code, output, complaints = shell("destroy", "-p", "ours", "--json")
        failure = read("error", output)
        assert (code, failure["left_over"], held(shell.settings)) == (8, [f"primary IP {number}"], []), complaints
        assert words in failure["error"]["message"]
        assert "nothing is left" not in complaints
        assert (folders(shell.settings), addresses(cloud)) == (["ours-ours0"], [number])
    document = read("ls", shell("ls", "--json")[1])
    monthly = {"net": "0.5000000000", "gross": "0.5950000000000000", "currency": "EUR"}
    (row,) = document["outliving"]
    assert {key: Decimal(value) for key, value in row["monthly"].items() if key != "currency"} == {
        key: Decimal(value) for key, value in monthly.items() if key != "currency"
    }
    assert (row["prefix"], row["kind"], row["id"], row["server"]) == ("ours", "primary_ip", number, "ours-worker")
    assert unpromised("ls", document) == []
    assert read("gc", shell("gc", "--json")[1])["outliving"] == [row]
    for command in ("ls", "gc"):
        assert f"Still paid for, of cluster 'ours' that is gone: {words};" in shell(command)[1]
    check = json.loads(shell("doctor", "--json")[1])["checks"][-1]
    assert (check["name"], check["status"]) == ("outliving", "warn")
    assert words in check["message"]

    assert cloud("DELETE", f"/primary_ips/{number}").status == 204
    assert read("ls", shell("ls", "--json")[1])["outliving"] == []
    code, _, complaints = shell("destroy", "-p", "ours")
    assert (code, "nothing is left" in complaints, folders(shell.settings)) == (0, True, [])


def test_forget(shell: Shell, cloud: Api) -> None:
    """Whoever knows that it stays has it forgotten: that is told, is no error, and deletes nothing of it."""
    claim(cloud, shell)
    number = keep_address(cloud)
    code, output, _ = shell("destroy", "-p", "ours", "--forget", "--json")
    document = read("destroy", output)
    assert unpromised("destroy", document) == []
    assert (code, [row["id"] for row in document["forgotten"]], len(document["bills"])) == (0, [number], 1)
    assert (held(shell.settings), folders(shell.settings), addresses(cloud)) == ([], [], [number])
    assert read("ls", shell("ls", "--json")[1])["outliving"] == []


@pytest.mark.parametrize("words", [("nuke", "--yes", "-p", "ours"), ("gc",)])
def test_without_a_folder(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api, words: tuple[str, ...]) -> None:
    """Where this computer has no folder, it is named all the same."""
    make(cloud, "ours", ttl_s=3600)
    number = keep_address(cloud)
    world[0].set_clock(7200)
    code, output, _ = shell(*words, "--json")
    assert (code, json.loads(output)["left_over"]) == (8, [f"primary IP {number}"])
    assert held(shell.settings) == []
    if words == ("gc",):
        assert [row["deleted"] for row in read("gc", output)["clusters"]] == [True]


def test_gc_deletes_first(
    world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it cannot be seen what has outlived others, what is overdue is deleted first, and then that is told."""
    claim(cloud, shell)

    async def fail(*_: object, **__: object) -> None:
        raise CloudUnreachable("The cloud has gone.")

    monkeypatch.setattr("scherbelberg.inventory.orphan_records.check_paid_orphans", fail)
    world[0].set_clock(7200)
    code, output, _ = shell("gc", "--json")
    document = read("gc", output)
    assert (code, [row["deleted"] for row in document["clusters"]]) == (12, [True])
    assert (held(shell.settings), folders(shell.settings)) == ([], [])
    failure = read("error", output)
    assert (failure["left_over"], failure["error"]["message"]) == ([], "The cloud has gone.")


async def test_forget_by_the_api(settings: Settings, cloud: Api) -> None:
    """A program can have it forgotten, too."""
    who = make(cloud, "ours", ttl_s=3600)
    record = manifest("ours", who.uid, endpoint=settings.access.endpoint)
    Store(settings.home).claim(evolve(record, identity=who), credentials()).end_making()
    number = keep_address(cloud)
    cluster = await Cluster.from_existing("ours", settings=settings)
    with pytest.raises(LeftOver, match=f"primary IP {number}") as caught:
        await cluster.destroy()
    assert (caught.value.is_rest, held(settings)) == (True, [])
    await cluster.destroy(forget=True)
    assert (folders(settings), addresses(cloud)) == ([], [number])


def test_written_down_first(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api) -> None:
    """It stands in the folder before the first deletion; a cluster that still lives is not said to be gone."""
    claim(cloud, shell)
    number = keep_address(cloud)
    wrong = RequestFault(method="DELETE", status=403, code="protected", times=None)
    world[0].set_faults(Faults(requests=(wrong,)))
    assert shell("destroy", "-p", "ours")[0] == 8
    (path,) = shell.settings.home.glob("clusters/*/outliving.json")
    (row,) = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert (row["kind"], row["id"], Decimal(row["monthly"]["net"])) == ("primary_ip", number, Decimal("0.5"))
    assert read("ls", shell("ls", "--json")[1])["outliving"] == []
    path.write_text("[", encoding="utf-8")
    world[0].set_faults(Faults())
    code, output, _ = shell("destroy", "-p", "ours", "--json")
    assert (code, json.loads(output)["left_over"]) == (8, [f"primary IP {number}"])


def test_a_snapshot(shell: Shell, cloud: Api) -> None:
    """A snapshot of a node outlives it; those of others are none of ours."""
    claim(cloud, shell)
    (row,) = cloud("GET", "/servers", name="ours-scheduler").body["servers"]
    made = cloud("POST", f"/servers/{row['id']}/actions/create_image", {"type": "snapshot", "description": "x"}).body
    cloud.done(made["action"])
    code, output, _ = shell("destroy", "-p", "ours", "--json")
    number = made["image"]["id"]
    assert (code, json.loads(output)["left_over"]) == (8, [f"snapshot {number}"])
    assert f"snapshot {number} of ours-scheduler, " in json.loads(output)["error"]["message"]
    assert cloud("GET", f"/images/{number}").status == 200


def test_a_volume(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api) -> None:
    """A volume is known by its server alone, where the cloud does not list volumes."""
    claim(cloud, shell)

    def change(kind: str, row: Json) -> None:
        if kind == "servers" and row["name"] == "ours-worker":
            row["volumes"], row["public_net"]["floating_ips"] = [77], [88]

    world[1].change = change
    code, output, _ = shell("destroy", "-p", "ours", "--json")
    assert (code, json.loads(output)["left_over"]) == (8, ["volume 77", "floating IP 88"])
    assert "volume 77 of ours-worker, at an unknown price" in json.loads(output)["error"]["message"]


def test_an_api_that_has_changed(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api) -> None:
    """Where the cloud does not say that an address goes with its server, it is looked whether it has."""

    def change(kind: str, row: Json) -> None:
        if kind == "primary_ips":
            del row["auto_delete"]

    for keeps in (False, True):
        claim(cloud, shell)
        expected = [f"primary IP {keep_address(cloud)}"] if keeps else []
        world[1].change = change
        code, output, _ = shell("destroy", "-p", "ours", "--json")
        assert (code, json.loads(output)["left_over"]) == (8 if keeps else 0, expected)
        world[1].forget()


def test_lists_that_cannot_be_had(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api) -> None:
    """What cannot be looked at keeps nothing from being deleted, and is not said to be gone."""
    claim(cloud, shell)
    wrong = RequestFault(method="GET", path="/primary_ips", status=403, code="forbidden", times=None)
    world[0].set_faults(Faults(requests=(wrong,)))
    code, output, _ = shell("destroy", "-p", "ours", "--json")
    assert (code, held(shell.settings)) == (8, [])
    assert all(name.startswith("primary IP ") for name in json.loads(output)["left_over"])
    world[0].set_faults(Faults())
    assert shell("destroy", "-p", "ours")[0] == 0


def test_few_requests(world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api) -> None:
    """A usual deletion asks for addresses and images once each, and nothing else more."""
    claim(cloud, shell)
    requests = world[0].sandbox.requests
    before = len(requests)
    assert shell("destroy", "-p", "ours")[0] == 0
    asked = [path.removeprefix("/v1/") for method, path in requests[before:] if method == "GET"]
    assert [asked.count(name) for name in ("primary_ips", "images", "volumes", "floating_ips")] == [1, 1, 0, 0]
    before = len(requests)
    assert shell("ls")[0] == 0
    assert len(requests) - before == 4


PRICES = PriceList(
    servers={},
    ipv4={"fsn1": tariff("0.0008")},
    currency="EUR",
    floating={("ipv4", "fsn1"): price("3")},
    image_gb=price("0.01"),
    volume_gb=price("0.05"),
)
_HERE = {"location": {"name": "fsn1"}}
_NODE = evolve(server("ours-worker", identity().labels("worker"), 5), primary_ip=1, floating_ips=(2,), volumes=(3,))
_LISTS: dict[Any, Any] = {
    "primary_ips": [{"id": 1, "auto_delete": False, **_HERE}, {"id": 9, "auto_delete": False, **_HERE}],
    "floating_ips": [{"id": 2, "type": "ipv4", "home_location": {"name": "fsn1"}}],
    "volumes": [{"id": 3, "size": 10, **_HERE}],
    "images": [
        {"id": 4, "type": "snapshot", "image_size": 2.5, "created_from": {"id": 5}, "bound_to": None},
        {"id": 6, "type": "backup", "image_size": 1, "created_from": None, "bound_to": 5},
        {"id": 7, "type": "snapshot", "image_size": 1, "created_from": {"id": 55}, "bound_to": None},
        {"id": 8, "type": "system", "image_size": 1, "created_from": {"id": 5}, "bound_to": None},
    ],
}


def test_all_kinds() -> None:
    """Each kind is found by what tells of it, with its price per month."""
    found = {one.description: one.monthly for one in find_orphans([_NODE], _LISTS, PRICES)}
    assert found == {
        "volume 3": price("0.50"),
        "floating IP 2": price("3"),
        "primary IP 1": tariff("0.0008").monthly,
        "snapshot 4": price("0.025"),
        "backup 6": None,
    }
    assert all(one.monthly is None for one in find_orphans([_NODE], _LISTS, None))


def test_where_to_look() -> None:
    """Nothing is listed without a reason; that there are images no server tells."""
    bare = server("ours-worker", {}, 5)
    assert where_to_look([]) == ()
    assert where_to_look([bare]) == ("images",)
    assert where_to_look([bare, _NODE]) == ("primary_ips", "floating_ips", "volumes", "images")


def test_lists_of_nonsense() -> None:
    """Whatever any field of what is listed is, what the server tells of is found."""
    names = {"volume 3", "floating IP 2"}
    for collection, rows in _LISTS.items():
        for row in rows or ():
            for name in row:
                for value in NONSENSE:
                    changed = json.loads(json.dumps(row))
                    with_nonsense(changed, name, value=value)
                    lists: Any = {**_LISTS, collection: [changed, None]}
                    found = find_orphans([_NODE], lists, PRICES)
                    assert names <= {one.description for one in found}
    assert {one.description for one in find_orphans([_NODE], dict.fromkeys(_LISTS), PRICES)} == names | {"primary IP 1"}


_THINGS = st.builds(
    Orphan,
    kind=st.sampled_from(["primary_ip", "floating_ip", "volume", "snapshot", "backup"]),
    id=st.integers(1, 5),
    server=st.sampled_from(["a", "b"]),
) | st.builds(
    Orphan,
    kind=st.sampled_from(["primary_ip", "volume"]),
    id=st.integers(1, 5),
    server=st.just("a"),
    monthly=st.just(price("1.5")),
    currency=st.just("EUR"),
)


@CALM
@given(known=st.lists(_THINGS, max_size=6), later=st.lists(_THINGS, max_size=6))
def test_nothing_is_lost(known: list[Orphan], later: list[Orphan]) -> None:
    """What is written is read again; what was found at any time stays until a list shows that it is gone."""
    assert [read_orphan(json.loads(json.dumps(write_orphan(one)))) for one in known] == known
    both = merge_orphans(known, later)
    assert {(one.kind, one.id) for one in both} == {(one.kind, one.id) for one in (*known, *later)}
    assert still_listed(both, {one.collection: None for one in both}) == both
    assert still_listed(both, {one.collection: [] for one in both}) == ()
    rows: dict[Any, Any] = {one.collection: [{"id": one.id}] for one in both[:1]}
    assert still_listed(both[:1], rows) == both[:1]
