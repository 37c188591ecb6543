# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters whose nodes cannot all be had where they were planned, or fail once: on scripted hosts, with real Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from attrs import evolve
from description import Witness
from sandbox_helpers import Api
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster, ClusterSpec, Event, Phase, Timeouts
from scherbelberg.errors import (
    BootstrapFailed,
    FailedAttempt,
    LeftOver,
    NoCapacity,
    QuotaReached,
    ScherbelbergError,
    TokenRefused,
)
from scherbelberg.events import ignore_events
from scherbelberg.inventory.history import History
from scherbelberg.inventory.orphan_records import read
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.sandbox.faults import ActionFault, Disguise, Faults, HostFault, RequestFault, SoldOut
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.manifest import Manifest
from scherbelberg.state.store import Store

SPEC = ClusterSpec(prefix="seek", workers=2, timeouts=SHORT)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts."""
    witness = Witness()
    folder = tmp_path_factory.mktemp("stage") / "cloud"
    with SandboxThread(folder, Options(hosts="scripted", time_scale=0.02), witness=witness) as sandbox:
        yield sandbox
    assert witness.complaints == []


@pytest.fixture
def around(stage: SandboxThread, home: Any) -> Iterator[Settings]:
    """Settings that lead there, where nothing goes wrong, and nothing is left in the end."""
    stage.set_faults(Faults())
    settings = settings_for(stage, home)
    yield settings
    stage.set_faults(Faults())
    assert (held(settings), folders(settings)) == ([], [])


def remembered(settings: Settings) -> Manifest:
    """What this computer remembers of the cluster."""
    (folder,) = Store(settings.home).folders(prefix="seek")
    return folder.read()


def places(manifest: Manifest) -> dict[str, str]:
    """Where its nodes are."""
    return {node.name: f"{node.server_type} in {node.location}" for node in manifest.nodes}


def tries(found: Manifest | ScherbelbergError) -> list[tuple[str, str, str]]:
    """What was tried in vain."""
    return [(row.node, f"{row.server_type} in {row.location}", row.outcome) for row in found.tried]


async def made(settings: Settings, spec: ClusterSpec, **options: Any) -> Manifest:
    """Make a cluster, which proves itself, give it back, and tell what was remembered of it."""
    cluster = await Cluster.from_new(spec, settings=settings, **options)
    manifest = remembered(settings)
    names = {worker.partition("/")[2] for worker in held(settings) if worker.startswith("servers/")}
    await cluster.destroy()
    assert names == {f"seek-{node.name}" for node in manifest.nodes}
    return manifest


def when_failed(node: str, act: Callable[[], None]) -> Callable[[Event], None]:
    """A listener that acts when a node is given back."""

    def listen(event: Event) -> None:
        if (event.node, event.phase, event.state) == (node, Phase.RENT, "failed"):
            act()

    return listen


def none_left(words: str, disguise: Disguise) -> SoldOut:
    """There is none of a type in a location."""
    server_type, location = words.split(" in ")
    return SoldOut(server_type=server_type, location=location, disguise=disguise)


async def test_no_capacity_in_all_disguises(stage: SandboxThread, around: Settings) -> None:
    """However the cloud says that it has none, all nodes move on until there is one, and each try is told."""
    disguises: dict[str, Disguise] = {
        "cx23 in nbg1": "placement",
        "cx23 in hel1": "location_disabled",
        "cx33 in nbg1": "unsupported_location",
        "cx33 in hel1": "deprecated_type",
    }
    stage.set_faults(Faults(sold_out=tuple(none_left(words, how) for words, how in disguises.items())))
    events: list[Event] = []
    spec = evolve(SPEC, worker=("cx23", "cx33", "cx43"), location=("nbg1", "hel1"), scheduler="cx43")
    manifest = await made(around, spec, listen=events.append)
    assert set(places(manifest).values()) == {"cx43 in nbg1"}
    assert {row[1:] for row in tries(manifest)} == {(words, "sold_out") for words in disguises}
    told = {event.detail for event in events if (event.phase, event.state) == (Phase.RENT, "failed")}
    assert {words.partition(":")[0] for words in told} == set(disguises)


async def test_workers_apart_from_the_scheduler(stage: SandboxThread, around: Settings) -> None:
    """Workers may be of another type and in another location than planned."""
    spec = evolve(SPEC, worker=("cx33", "cx43"), location=("fsn1", "nbg1"), processes="auto")
    stage.set_faults(Faults(sold_out=(SoldOut(server_type="cx33"),)))
    manifest = await made(around, spec)
    assert places(manifest) == {"scheduler": "cx23 in fsn1", "worker000": "cx43 in fsn1", "worker001": "cx43 in fsn1"}
    assert {row[1] for row in tries(manifest)} == {"cx33 in fsn1", "cx33 in nbg1"}
    assert manifest.spec == evolve(spec, network_range=around.network_range)


@pytest.mark.parametrize("limit", [{}, {"max_hourly": "0.06"}])
async def test_no_capacity_anywhere(stage: SandboxThread, around: Settings, limit: dict[str, Any]) -> None:
    """When no place is left, or none that is cheap enough, the error lists all that was tried, and nothing is left."""
    spec = evolve(SPEC, worker=("cx23", "cx53"), location=("fsn1", "nbg1"), scheduler="cx43", **limit)
    stage.set_faults(Faults(sold_out=(SoldOut(server_type="cx[25]3"),)))
    count = 2 if limit else 4
    said = f"no capacity for node worker00[01] in any of {count} places; .*: error during placement"
    with pytest.raises(NoCapacity, match=said) as caught:
        await Cluster.from_new(spec, settings=around)
    assert len({row[1] for row in tries(caught.value)}) == count


async def test_few_requests_where_there_is_no_capacity(stage: SandboxThread, around: Settings) -> None:
    """What one node found sold out the others do not ask for: no more are refused than are under way at a time."""
    stage.set_faults(Faults(sold_out=(SoldOut(server_type="cx23", location="fsn1"),)))
    manifest = await made(around, evolve(SPEC, workers=20, timeouts=Timeouts()))
    assert 1 <= len(manifest.tried) <= 16


@pytest.mark.parametrize(
    ("limits", "name"), [(Faults(servers=2), "server_limit"), (Faults(primary_ips=4), "primary_ip_limit")]
)
async def test_limit_of_the_account(stage: SandboxThread, around: Settings, limits: Faults, name: str) -> None:
    """A limit of the account ends it and is named, and what exists by then is given back."""
    stage.set_faults(limits)
    with pytest.raises(QuotaReached, match=f"the account's limit {name} is reached") as caught:
        await Cluster.from_new(evolve(SPEC, workers=4), settings=around)
    assert {row[2] for row in tries(caught.value)} == {"quota"}


async def test_limit_of_the_account_with_fewer_workers(stage: SandboxThread, around: Settings) -> None:
    """If the user said so, what exists is used: always with a scheduler, whoever was first."""
    stage.set_faults(Faults(servers=2))
    manifest = await made(around, evolve(SPEC, workers=4, min_workers=1))
    assert (len(manifest.nodes), manifest.nodes[0].name) == (2, "scheduler")
    assert [row[2] for row in tries(manifest)] == ["quota"] * 3


@pytest.mark.parametrize(
    "faults",
    [
        Faults(hosts=(HostFault(server="*worker001", how="dies", phase="service"),)),
        Faults(dead=("*worker001",)),
        Faults(actions=(ActionFault(command="start_server", server="*worker001"),)),
    ],
    ids=["machine dies", "never boots", "action fails"],
)
async def test_worker_that_fails_once(stage: SandboxThread, around: Settings, faults: Faults) -> None:
    """Whatever happens to a worker: it is given back, and replaced in the next place."""
    stage.set_faults(faults)
    spec = evolve(SPEC, timeouts=evolve(SHORT, reach=5, logs=1), location=("fsn1", "nbg1"), worker="cx23")
    listen = when_failed("worker001", lambda: stage.set_faults(Faults()))
    manifest = await made(around, spec, listen=listen)
    assert places(manifest) == {"scheduler": "cx23 in fsn1", "worker000": "cx23 in fsn1", "worker001": "cx23 in nbg1"}
    assert tries(manifest) == [("worker001", "cx23 in fsn1", "failed")]
    assert "worker001" in manifest.tried[0].said
    assert "\n" not in manifest.tried[0].said
    bills = [[machine.name for machine in entry.machines] for entry in History(around.home).read()[0]]
    assert bills == [["worker001"], ["scheduler", "worker000", "worker001"]]


async def test_worker_that_fails_again(stage: SandboxThread, around: Settings) -> None:
    """A worker is replaced once, where there is one place only in that; then all is undone, or done without it."""
    stage.set_faults(Faults(hosts=(HostFault(server="*worker001", how="fails", phase="tls"),)))
    spec = evolve(SPEC, location="fsn1", worker="cx23")
    with pytest.raises(BootstrapFailed, match="worker001 failed in phase tls") as caught:
        await Cluster.from_new(spec, settings=around)
    assert tries(caught.value) == [("worker001", "cx23 in fsn1", "failed")] * 2
    events: list[Event] = []
    manifest = await made(around, evolve(spec, min_workers=1), listen=events.append)
    assert [node.name for node in manifest.nodes] == ["scheduler", "worker000"]
    assert tries(manifest) == [("worker001", "cx23 in fsn1", "failed")] * 2
    proofs = [event.detail for event in events if (event.phase, event.state) == (Phase.PROOF, "done")]
    assert proofs == ["1 workers compute, on 1 of 2 machines"]


async def test_workers_that_never_join(stage: SandboxThread, around: Settings) -> None:
    """Workers that do not join are replaced once, and if they do not join then either, done without."""
    stage.set_faults(Faults(hosts=(HostFault(server="*worker00[12]", how="never_joins"),)))
    one_less = Faults(hosts=(HostFault(server="*worker001", how="never_joins"),))
    spec = evolve(SPEC, workers=3, min_workers=1, timeouts=evolve(SHORT, join=4))
    manifest = await made(around, spec, listen=when_failed("worker002", lambda: stage.set_faults(one_less)))
    assert [node.name for node in manifest.nodes] == ["scheduler", "worker000", "worker002"]
    assert sorted(row[0] for row in tries(manifest)) == ["worker001", "worker001", "worker002"]
    assert "missing worker001, worker002" in manifest.tried[0].said


async def test_scheduler_that_fails(stage: SandboxThread, around: Settings) -> None:
    """A scheduler that fails is not replaced: without it nothing else can go on."""
    stage.set_faults(Faults(hosts=(HostFault(server="*scheduler", how="fails", phase="tls"),)))
    with pytest.raises(BootstrapFailed, match="node scheduler failed in phase tls") as caught:
        await Cluster.from_new(evolve(SPEC, min_workers=1), settings=around)
    assert [row[::2] for row in tries(caught.value)] == [("scheduler", "failed")]


async def test_failure_that_is_kept(stage: SandboxThread, around: Settings) -> None:
    """Who wants to look at failures gets to see the first: with keep, nothing that failed is given back or replaced."""
    stage.set_faults(Faults(hosts=(HostFault(server="*worker001", how="fails", phase="tls"),)))
    with pytest.raises(BootstrapFailed, match="worker001"):
        await Cluster.from_new(SPEC, settings=around, keep=True)
    assert "servers/seek-worker001" in held(around)
    stage.set_faults(Faults())
    await made(around, SPEC)


async def test_resumed_where_it_was(stage: SandboxThread, around: Settings) -> None:
    """An interrupted making goes on with each node where it is, though the first candidate has capacity again."""
    spec = evolve(SPEC, worker="cx33", location=("fsn1", "nbg1"))
    fault = RequestFault(method="PUT", path="/networks/*")
    stage.set_faults(Faults(sold_out=(SoldOut(server_type="cx33", location="fsn1"),), requests=(fault,)))
    with pytest.raises(TokenRefused):
        await Cluster.from_new(spec, settings=around, keep=True)
    (folder,) = Store(around.home).folders(prefix="seek")
    # Right before, another node had found that where these are there was no more.
    last = FailedAttempt(node="worker002", server_type="cx33", location="nbg1", outcome="sold_out", said="no")
    before, there = evolve(folder.read(), tried=(*folder.read().tried, last)), held(around)
    folder.save(before)
    stage.set_faults(Faults())
    cluster = await Cluster.from_new(spec, settings=around)
    assert (places(remembered(around)), held(around)) == (places(before), there)
    assert places(before) == {"scheduler": "cx23 in fsn1", "worker000": "cx33 in nbg1", "worker001": "cx33 in nbg1"}
    assert remembered(around).tried == before.tried
    await cluster.destroy()


class _Keeper:
    """Somebody who has the addresses of some servers outlive them, as soon as these are there.

    Args:
        stage: The cloud.
    """

    def __init__(self, stage: SandboxThread) -> None:
        self._api = Api(stage.settings)
        #: Whose.
        self.node = "worker001"
        self.kept: list[int] = []

    def __call__(self, event: Event) -> None:
        """Listen to a create."""
        if (event.node, event.phase, event.state) == (self.node, Phase.REACH, "done"):
            (row,) = self._api("GET", "/servers", name=f"seek-{event.node}").body["servers"]
            self.kept.append(int(row["public_net"]["ipv4"]["id"]))
            assert self._api("PUT", f"/primary_ips/{self.kept[-1]}", {"auto_delete": False}).status == 200

    def end(self) -> None:
        """Delete them."""
        for number in self.kept:
            assert self._api("DELETE", f"/primary_ips/{number}").status == 204
        self._api.close()


@pytest.fixture
def keeper(stage: SandboxThread) -> Iterator[_Keeper]:
    """Such a one."""
    made = _Keeper(stage)
    yield made
    made.end()


async def test_undone_with_an_address_that_stays(stage: SandboxThread, around: Settings, keeper: _Keeper) -> None:
    """What outlives the servers of a create that is undone is named, its folder stays, and `destroy` looks again."""
    stage.set_faults(Faults(hosts=(HostFault(server="*scheduler", how="fails", phase="service"),)))
    with pytest.raises(
        LeftOver, match=r"still paid for, .*primary IP \d+ of seek-worker001, 0\.5000 EUR net"
    ) as caught:
        await Cluster.from_new(SPEC, settings=around, listen=keeper)
    assert caught.value.left_over == tuple(f"primary IP {number}" for number in keeper.kept)
    assert isinstance(caught.value.__cause__, BootstrapFailed)
    (folder,) = Store(around.home).folders(prefix="seek")
    assert [one.id for one in read(folder)] == keeper.kept
    end = partial(delete_clusters, around, "seek", (folder.uid,), listener=ignore_events, timeouts=SHORT)
    with pytest.raises(LeftOver):
        await end()
    keeper.end()
    keeper.kept.clear()
    await end()


async def test_replaced_with_an_address_that_stays(stage: SandboxThread, around: Settings, keeper: _Keeper) -> None:
    """What outlives a worker that was replaced is found before that goes, and named when the cluster goes."""
    fault = HostFault(server="*worker001", how="dies", phase="service")
    listen = both(keeper, when_failed("worker001", lambda: stage.set_faults(Faults())))
    stage.set_faults(Faults(hosts=(fault,)))
    cluster = await Cluster.from_new(SPEC, settings=around, listen=listen)
    assert len(keeper.kept) == 2
    with pytest.raises(LeftOver) as caught:
        await cluster.destroy()
    assert caught.value.left_over == tuple(f"primary IP {number}" for number in keeper.kept)
    keeper.end()
    keeper.kept.clear()
    await delete_clusters(around, "seek", (cluster.uid,), listener=ignore_events, timeouts=SHORT)


def both(*listeners: Callable[[Event], object]) -> Callable[[Event], None]:
    """A listener that tells several."""

    def listen(event: Event) -> None:
        for one in listeners:
            one(event)

    return listen
