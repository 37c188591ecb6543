# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""An API that has changed keeps nothing from being found and deleted: kind, id, name and labels are enough."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from bare_clusters import make
from catalogues import OWNER, UID, credentials, identity, manifest
from drift import ABSENT, NEEDED, NONSENSE, Drift, drifting, with_nonsense
from rich.console import Console
from sandbox_helpers import Api
from sandbox_world import World
from schemas import read
from shells import Shell
from surroundings import SHORT, folders, held, settings_for

from scherbelberg.cli.documents import cluster_document
from scherbelberg.cli.tables import print_cluster, print_overview
from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.offers import read_price_list
from scherbelberg.cloud.resources import KINDS, Firewall, Kind, PriceList, Server, read_resource
from scherbelberg.errors import BadInput, CloudError
from scherbelberg.events import ignore_events
from scherbelberg.inventory.billing import known_prices
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.ledger import entry, entry_document, read_entry
from scherbelberg.inventory.listing import KnownCluster
from scherbelberg.lifecycle.deletion import undo_on_failure
from scherbelberg.planning.plan import network_labels
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.keys import make_ssh_pair
from scherbelberg.state.store import Store

Json = dict[str, Any]
#: Fields inside of others that are read.
_INNER = {
    "servers": (
        *(("location", "name"), ("server_type", "name"), ("protection", "delete")),
        *(("public_net", "ipv4"), ("public_net", "ipv4", "ip")),
    )
}


@pytest.fixture(scope="module")
def rows() -> dict[Kind, Json]:
    """A row of each kind, as the emulated cloud lists it, and its prices."""
    world = World()
    who = identity()
    world.send("POST", "/ssh_keys", {"name": "k", "public_key": credentials().ssh.public, "labels": who.labels("key")})
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}
    world.send("POST", "/firewalls", {"name": "c", "rules": [rule], "labels": who.labels("firewall")})
    world.send("POST", "/networks", {"name": "c", "ip_range": "10.0.0.0/16", "labels": network_labels(who, "ready")})
    order = {"name": "c-scheduler", "server_type": "cx23", "image": "ubuntu-24.04", "location": "fsn1"}
    world.send("POST", "/servers", order | {"labels": who.labels("scheduler")})
    world.tick()
    found: dict[Any, Json] = {kind: world.send("GET", f"/{kind}").body[kind][0] for kind in KINDS}
    found["pricing"] = world.send("GET", "/pricing").body["pricing"]
    world.close()
    return found


def _broken(kind: str, row: Json) -> Iterator[tuple[str, Json]]:
    """The row with each field that is not needed broken in each way, and with nothing but what is needed."""
    paths = [(name,) for name in row if name not in NEEDED] + list(_INNER.get(kind, ()))
    for path in paths:
        for value in NONSENSE:
            broken = json.loads(json.dumps(row))
            with_nonsense(broken, *path, value=value)
            yield f"{'.'.join(path)}: {value!r}", broken
    yield "bare", {name: row[name] for name in NEEDED}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field(rows: dict[Kind, Json], kind: Kind) -> None:
    """Whatever any one field is, a row is read, counted, shown and billed, and what it does not tell is unknown."""
    prices = read_price_list(rows["pricing"])  # type: ignore[index] # it stands beside the kinds
    others = [read_resource(other, rows[other]) for other in KINDS if other != kind]
    for what, row in _broken(kind, rows[kind]):
        found = read_resource(kind, row)
        assert (found.kind, found.id, found.name, found.labels) == (kind, row["id"], row["name"], row["labels"]), what
        (holding,) = group_clusters([found, *others])
        assert (holding.uid, holding.owner, holding.state, len(holding.servers)) == (UID, OWNER, "ready", 1), what
        document = cluster_document(
            KnownCluster(cluster=holding, folder=None, now_s=holding.created_s + 60), None, prices, ()
        )
        read("show", json.dumps(document))
        with contextlib.closing(io.StringIO()) as page:
            print_cluster(document, Console(file=page, width=200))
            print_overview([document], Console(file=page, width=200))
            assert "None" not in page.getvalue(), what
        gone = entry(holding, prices, endpoint="here", ended_s=holding.created_s + 60)
        assert read_entry(entry_document(gone)) == gone, what


def test_unknown_is_not_free(rows: dict[Kind, Json]) -> None:
    """Where type, place, age or address of a server are unknown, so is its price: nothing is told too cheap."""
    prices = read_price_list(rows["pricing"])  # type: ignore[index] # it stands beside the kinds
    for name in ("server_type", "location", "created", "public_net"):
        (holding,) = group_clusters([read_resource("servers", {**rows["servers"], name: None})])
        assert entry(holding, prices, endpoint="here", ended_s=holding.created_s + 60).price is None, name
    without = {**rows["servers"], "public_net": {**rows["servers"]["public_net"], "ipv4": None}}
    (holding,) = group_clusters([read_resource("servers", without)])
    assert entry(holding, prices, endpoint="here", ended_s=holding.created_s + 60).price is not None


def test_what_is_told_is_read(rows: dict[Kind, Json]) -> None:
    """One field that is nonsense takes no other one with it."""
    server = read_resource("servers", {**rows["servers"], "location": None})
    assert isinstance(server, Server)
    assert (server.server_type, server.location, server.has_ipv4) == ("cx23", None, True)
    firewall = read_resource("firewalls", {**rows["firewalls"], "rules": [None]})
    assert isinstance(firewall, Firewall)
    assert firewall.let_in is None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """An emulated cloud whose answers change."""
    with drifting(tmp_path_factory.mktemp("cloud")) as both:
        yield both


@pytest.fixture
def settings(world: tuple[SandboxThread, Drift], home: Path) -> Iterator[Settings]:
    """Settings that lead to it, while it answers as it should at first."""
    sandbox, drift = world
    yield settings_for(sandbox, home)
    drift.forget()


@pytest.fixture
def cloud(world: tuple[SandboxThread, Drift]) -> Iterator[Api]:
    """Requests without any code of ours."""
    api = Api(world[0].settings)
    yield api
    api.close()


def _only_what_is_needed(kind: str, row: Json) -> None:
    if kind in KINDS or kind == "pricing":
        for name in row.keys() - NEEDED:
            del row[name]


def _nulls(kind: str, row: Json) -> None:
    if kind in KINDS or kind == "pricing":
        for name in row.keys() - NEEDED:
            row[name] = None


@pytest.mark.parametrize("change", [_only_what_is_needed, _nulls])
@pytest.mark.parametrize("words", [("destroy",), ("nuke", "--yes"), ("gc", "-p", "ours")])
def test_commands(
    world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api, words: tuple[str, ...], change: Any
) -> None:
    """`ls` lists, and `destroy`, `nuke` and `gc` delete, also what the cloud tells nothing of but its labels."""
    sandbox, drift = world
    who = make(cloud, "ours", ttl_s=3600)
    record = evolve(manifest("ours", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    drift.change = change
    code, output, complaints = shell("ls", "--json")
    (row,) = read("ls", output)["clusters"]
    assert (code, row["cost"], row["nodes"][0]["location"]) == (0, None, None), complaints
    assert "unknown" in shell("ls")[1]
    sandbox.set_clock(7200)
    code, output, complaints = shell(*words, *(() if "-p" in words else ("-p", "ours")), "--json")
    sandbox.set_clock(0)
    assert code == 0, complaints
    drift.forget()
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


@pytest.mark.parametrize("change", [_only_what_is_needed, _nulls])
async def test_undoing(world: tuple[SandboxThread, Drift], settings: Settings, cloud: Api, change: Any) -> None:
    """A create that fails gives back what it has made, whatever the cloud does not tell any more."""
    who = make(cloud, "ours", ttl_s=3600)
    world[1].change = change
    hetzner = Hetzner(settings.access, request_s=5, patience_s=5)
    gone: list[Any] = []
    with pytest.raises(BadInput, match="as planned"):
        async with undo_on_failure(hetzner, who, listener=ignore_events, timeouts=SHORT, note=gone.extend):
            raise BadInput("It fails as planned.")
    hetzner.close()
    world[1].forget()
    assert (held(settings), len(gone)) == ([], 4)


async def test_number_of_resources(world: tuple[SandboxThread, Drift], settings: Settings, cloud: Api) -> None:
    """A list that does not tell how long it is, is counted."""
    who = make(cloud, "ours", ttl_s=3600)
    hetzner = Hetzner(settings.access, request_s=5, patience_s=5)
    wanted = {"uid": who.uid}
    for value in (None, ABSENT, "2"):
        world[1].total = value
        assert await hetzner.count("servers", wanted) == 2
    gone: list[Any] = []
    with pytest.raises(BadInput, match="as planned"):
        async with undo_on_failure(hetzner, who, listener=ignore_events, timeouts=SHORT, note=gone.extend):
            raise BadInput("It fails as planned.")
    hetzner.close()
    assert (held(settings), len(gone)) == ([], 4)


_PRICE: tuple[str, ...] = ("NaN", "Infinity", "x", "", "-1")


def test_every_price(rows: dict[Kind, Json]) -> None:
    """A price list without a currency is refused; a price in it that is no number is unknown, and hides no others."""
    pricing: Json = rows["pricing"]  # type: ignore[index] # it stands beside the kinds
    for name in ("server_types", "primary_ips", "currency"):
        for value in NONSENSE:
            broken = json.loads(json.dumps(pricing))
            with_nonsense(broken, name, value=value)
            _is_read_or_refused(broken)
    for text in _PRICE:
        broken = json.loads(json.dumps(pricing))
        kind = broken["server_types"][0]
        kind["prices"][0]["price_hourly"]["net"] = text
        whole, rest = read_price_list(pricing), read_price_list(broken)
        assert set(whole.servers) - set(rest.servers) == {(kind["name"], kind["prices"][0]["location"])}


def _is_read_or_refused(pricing: Json) -> None:
    try:
        found = read_price_list(pricing)
    except TypeError:
        return
    assert isinstance(found, PriceList)
    assert isinstance(found.currency, str)


async def test_prices_that_make_no_sense(world: tuple[SandboxThread, Drift], settings: Settings) -> None:
    """Whoever looks or gives back is not kept by prices that cannot be read: they are unknown."""
    hetzner = Hetzner(settings.access, request_s=5, patience_s=5)
    assert await known_prices(hetzner) is not None
    world[1].change = _nulls
    assert await known_prices(hetzner) is None
    hetzner.close()


@pytest.mark.parametrize("date", ["", "soon"])
def test_no_time(
    world: tuple[SandboxThread, Drift], shell: Shell, cloud: Api, date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloud that does not tell the time keeps nothing from being deleted by name, and nothing is found overdue."""
    who = make(cloud, "ours", ttl_s=3600)
    record = evolve(manifest("ours", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    monkeypatch.setattr("scherbelberg.sandbox.api.http.format_datetime", lambda now, *, usegmt: date)
    code, output, _ = shell("gc", "--json")
    assert (code, "does not tell the time" in read("error", output)["error"]["message"]) == (12, True)
    assert held(shell.settings) != []
    code, _, complaints = shell("destroy", "-p", "ours")
    assert code == 0, complaints
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


async def test_pages(world: tuple[SandboxThread, Drift], settings: Settings, cloud: Api) -> None:
    """A list goes on over all its pages whatever is said of the next one, and ends where none says that it does."""
    labels = {"managed-by": "scherbelberg", "uid": "p1", "owner": "anna"}
    for number in range(51):
        key = {"name": f"key-{number}", "public_key": make_ssh_pair().public, "labels": labels}
        assert cloud("POST", "/ssh_keys", key).status == 201
    async with open_api(settings.access, SHORT) as hetzner:
        for value in (ABSENT, "2", 0, 1, 2.5, [], {}):
            world[1].next_page = value
            assert len(await hetzner.find("ssh_keys", {"uid": "p1"})) == 51, value
    for row in cloud("GET", "/ssh_keys", per_page="50").body["ssh_keys"]:
        cloud("DELETE", f"/ssh_keys/{row['id']}")


async def test_pages_without_end(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """What answers with full pages for ever is no API."""

    async def answer(*_: object, **__: object) -> Json:
        return {"servers": [{}] * 50}

    async with open_api(settings.access, SHORT) as hetzner:
        monkeypatch.setattr(hetzner, "call", answer)
        with pytest.raises(CloudError, match="is not Hetzner's API"):
            await hetzner.every("servers")
