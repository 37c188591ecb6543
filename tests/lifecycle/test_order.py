# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is decided and claimed before anything is rented, and once more when a making goes on."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from catalogues import CATALOG, NOW_S, OWNER, UID, credentials, identity, manifest, network, server
from choosing_world import World, fitting, own_world, shipped
from conda_channel import reindex
from fake_channel import add, client

from scherbelberg.cloud.access import Access
from scherbelberg.environments.fit import Environment
from scherbelberg.environments.lock import Wheel, write_lock, write_records
from scherbelberg.environments.shipped import shipped_pins
from scherbelberg.environments.versions import Client
from scherbelberg.errors import BadInput, ChannelUnreachable, ClusterExists, EnvironmentUnavailable
from scherbelberg.events import Listener, ignore_events
from scherbelberg.inventory.clusters import CloudCluster, group_clusters
from scherbelberg.lifecycle.order import _as_maker, _decide, _plan_with_environment, _restore_plan, _resumable, describe
from scherbelberg.planning.plan import ClusterPlan, make_identity
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.state.keys import SshPair
from scherbelberg.state.manifest import new_record
from scherbelberg.state.store import Folder, Store

__all__ = ["own_world"]

_HOUR = 3600


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The folder of a cluster whose making was interrupted."""
    made = Store(tmp_path).claim(evolve(manifest(), state="creating"), credentials())
    made.end_making()
    return made


def test_pinned_image() -> None:
    """Where nobody names an image it is the pinned one, also when the cloud has a newer one by now."""
    pinned = shipped_pins().image
    newest = [evolve(one, id=one.id + 500, name="ubuntu-28.04", version="28.04") for one in CATALOG.images]
    catalog = evolve(CATALOG, images=(*CATALOG.images, *newest))
    plan = _decide(ClusterSpec(), catalog, identity())
    assert {node.image.name for node in plan.nodes} == {pinned}
    assert plan.spec.image is None
    assert {node.image.name for node in _decide(ClusterSpec(image="ubuntu-28.04"), catalog, identity()).nodes} == {
        "ubuntu-28.04"
    }
    gone = evolve(CATALOG, images=tuple(newest))
    assert {node.image.name for node in _decide(ClusterSpec(), gone, identity()).nodes} == {"ubuntu-28.04"}


def test_resuming_is_claimed_at_once(folder: Folder) -> None:
    """From the moment that somebody goes on with a making, another one sees who it is; a failure ends that."""

    def go_on() -> None:
        with _as_maker(folder):
            assert folder.maker is not None
            raise ChannelUnreachable("The channel does not answer.")

    with pytest.raises(ChannelUnreachable) as caught:
        go_on()
    assert folder.maker is None
    assert caught.value.message == (
        "The channel does not answer. What was made of cluster 'cluster' before stays: repeat this, or give it back"
        " with 'scherbelberg destroy -p cluster'."
    )


def test_other_options_say_it_themselves(folder: Folder) -> None:
    """What refuses to go on, and says what to do, is left as it is."""
    with pytest.raises(ClusterExists, match=r"^It began otherwise\.$"), _as_maker(folder):
        raise ClusterExists("It began otherwise.")


def _held(state: str, *, servers: bool = True) -> CloudCluster:
    machine = server("cluster-scheduler", identity().labels("scheduler"))
    (held,) = group_clusters([machine if servers else network("cluster", identity().labels("network"))])
    return evolve(held, state=state)


@pytest.mark.parametrize(("state", "servers"), [("creating", True), ("ready", True), ("broken", False)])
def test_makings_that_go_on(folder: Folder, state: str, servers: bool) -> None:
    """What this computer has not finished goes on, also when the cloud knows of its end, or half of it was undone."""
    held = _held(state, servers=servers)
    assert _resumable((held,), {UID: folder}, 2.0) is held


@pytest.mark.parametrize("state", ["creating", "ready", "broken"])
def test_makings_that_do_not_go_on(folder: Folder, state: str) -> None:
    """What is finished, broken with its servers, or somebody else's refuses another one of its name."""
    with pytest.raises(ClusterExists, match="nuke"):
        _resumable((_held(state),), {}, 2.0)
    if state != "broken":
        folder.save(evolve(folder.read(), state="ready"))
    with pytest.raises(ClusterExists, match="destroy"):
        _resumable((_held(state),), {UID: folder}, 2.0)


def test_resumed_plan() -> None:
    """A resumed making has all of its time to live again, and is charged for what was rented since that was rented."""
    catalog = evolve(CATALOG, now_s=NOW_S + 10 * _HOUR + 60)
    spec = ClusterSpec(workers=1, worker="cx23", scheduler="cx23", location="nbg1", ttl_s=_HOUR)
    first = _decide(spec, CATALOG, make_identity(spec, uid=UID, owner=OWNER, now_s=NOW_S))
    assert describe(first).endswith(
        "0.0192 EUR per hour net, 0.0230 gross, at most 0.0192 net, 0.0230 gross within 1 h"
    )
    nodes = tuple(new_record(node, SshPair(private="", public="key")) for node in first.nodes)
    record = evolve(manifest(), identity=first.identity, spec=spec, location="nbg1", nodes=nodes)
    (held,) = group_clusters(
        [evolve(server("cluster-scheduler", first.identity.labels("scheduler")), created_s=int(NOW_S))]
    )
    plan = _restore_plan(spec, catalog, record, held)
    assert plan.identity == evolve(first.identity, deadline_s=int(catalog.now_s) + _HOUR)
    # 12 hours that have begun of the scheduler, and one of the worker, which is not rented yet.
    assert describe(plan).endswith("at most 0.1248 net, 0.1498 gross within 11 h 1 min")
    with pytest.raises(BadInput, match=r"Within its time to live the cluster could cost 0\.1498 EUR gross"):
        _restore_plan(evolve(spec, max_total=Decimal("0.1")), catalog, record, held)
    with pytest.raises(BadInput, match=r"its certificates end on 2027-12-2"):
        _restore_plan(evolve(spec, ttl_s=400 * 24 * _HOUR), catalog, record, held)
    ever = _restore_plan(evolve(spec, ttl_s=None), catalog, record, held)
    assert ever.identity.deadline_s is None


#: There the cheapest that is in stock is Arm, and x86 is planned only by who has a reason.
_ARM_FIRST = ClusterSpec(location="hel1", image="ubuntu-24.04")


def _settings(home: Path, *, mirror: str | None = None) -> Settings:
    access = Access(endpoint="https://api.hetzner.cloud/v1", token="none", token_source="the test")
    where = Settings(access=access, ssh_port=22, network_range="10.0.0.0/16", home=home, owner=OWNER)
    return evolve(where, cache=home / "cache", channel_mirror=mirror)


async def _settle(
    spec: ClusterSpec, who: Client, settings: Settings, listener: Listener = ignore_events
) -> tuple[ClusterPlan, Environment]:
    return await _plan_with_environment(
        spec, client=who, catalog=CATALOG, identity=identity(), settings=settings, listener=listener
    )


def _listed(folder: Path, platform: str) -> str:
    """A lock of the user's for one platform."""
    path = folder / f"{platform}.lock"
    path.write_text(write_lock(shipped(platform=platform)), encoding="utf-8")
    return str(path)


async def test_wheels_for_another_image(tmp_path: Path) -> None:
    """A lock's wheel is held against the image that the nodes get, before anything is rented."""
    base = shipped()
    name = "thing-1.0-cp313-cp313-manylinux_2_39_x86_64.whl"
    listed = tmp_path / "mine.lock"
    wheel = Wheel(name="thing", version="1.0", url=f"https://a.b/{name}", sha256="0" * 64)
    listed.write_text(write_lock(evolve(base, wheels=(wheel,))), encoding="utf-8")
    listed.with_suffix(".json").write_text(write_records(base), encoding="utf-8")
    spec = ClusterSpec(worker="cx23", location="nbg1", env=str(listed))
    _, found = await _settle(spec, fitting(base), _settings(tmp_path))
    assert [one.file_name for one in found.locks["linux-64"].wheels] == [name]
    with pytest.raises(BadInput, match=r"has the wheel thing-1\.0-.*Ubuntu 22\.04, whose C library is glibc 2\.35"):
        await _settle(evolve(spec, image="ubuntu-22.04"), fitting(base), _settings(tmp_path))


async def test_processors_without_an_environment(tmp_path: Path) -> None:
    """A type that somebody named is tried elsewhere only if there is an environment for its processor."""
    base = shipped()
    spec = ClusterSpec(worker=("cx23", "cax11"), location="nbg1", image="ubuntu-24.04")
    found = {}
    for env in ("main", _listed(tmp_path, "linux-64")):
        wanted = evolve(spec, env=env)
        plan, environment = await _settle(wanted, fitting(base), _settings(tmp_path))
        found[env] = (set(environment.locks), [place.words for place in plan.candidates.worker])
    assert list(found.values()) == [
        ({"linux-64", "linux-aarch64"}, ["cx23 in nbg1", "cax11 in nbg1"]),
        ({"linux-64"}, ["cx23 in nbg1"]),
    ]


@pytest.mark.parametrize(
    ("platform", "wishes", "nodes"),
    [
        ("linux-64", {}, ["cx23", "cx23"]),
        ("linux-aarch64", {}, ["cax11", "cax11"]),
        ("linux-64", {"scheduler": "cx23", "worker": ("cax11", "cx23")}, ["cx23", "cx23"]),
    ],
)
async def test_lock_decides_processors(platform: str, wishes: dict[str, Any], nodes: list[str], tmp_path: Path) -> None:
    """The user's lock for one platform gets machines of that, though others are cheaper or were named before them."""
    spec = evolve(_ARM_FIRST, env=_listed(tmp_path, platform), workers=1, **wishes)
    who = fitting(shipped(platform=platform))
    plan, environment = await _settle(spec, who, _settings(tmp_path))
    assert [node.server_type.name for node in plan.nodes] == nodes
    assert set(environment.locks) == {platform}
    assert {place.architecture for place in (*plan.candidates.scheduler, *plan.candidates.worker)} == {
        plan.nodes[0].server_type.architecture
    }


async def test_lock_for_no_node(tmp_path: Path) -> None:
    """A lock for somebody's own computer is refused by its name, and says for what it is."""
    path = tmp_path / "mac.lock"
    path.write_text(write_lock(shipped()).replace("linux-64", "osx-arm64"), encoding="utf-8")
    path.write_text("@EXPLICIT" + path.read_text(encoding="utf-8").partition("@EXPLICIT")[2], encoding="utf-8")
    spec = evolve(_ARM_FIRST, env=str(path))
    with pytest.raises(BadInput, match=r"mac\.lock is for osx-arm64, and nodes of linux-aarch64 are asked for: give"):
        await _settle(spec, fitting(shipped()), _settings(tmp_path))


async def test_package_for_one_processor(own_world: World, tmp_path: Path) -> None:
    """Where an added package is there for one platform alone, the machines are of that, and it is told why."""
    add(own_world.mirror.root, "intel-only", "1.0", subdir="linux-64")
    await asyncio.to_thread(reindex, own_world.mirror.root)
    settings, events = _settings(tmp_path, mirror=own_world.mirror.url), own_world.events
    spec = evolve(_ARM_FIRST, packages="intel-only")
    plan, environment = await _settle(spec, client(), settings, events.append)
    assert {node.server_type.name for node in plan.nodes} == {"cx23"}
    assert set(environment.locks) == {"linux-64"}
    assert [(event.phase.value, event.state) for event in events] == [
        *(("plan", "done"), ("solve", "start"), ("solve", "failed"), ("plan", "done"), ("solve", "start")),
        ("solve", "done"),
    ]
    assert events[3].detail.startswith("on other processors: 1 cx23 + 2 cx23 in hel1, ")
    with pytest.raises(EnvironmentUnavailable):  # who names a type gets that one or none
        await _settle(evolve(spec, worker="cax11"), client(), settings)
    mixed = evolve(spec, scheduler="cx23", worker=("cax11", "cx23"))
    plan, _ = await _settle(mixed, client(), settings)
    assert {node.server_type.name for node in plan.nodes} == {"cx23"}


async def test_package_for_no_processor(own_world: World, tmp_path: Path) -> None:
    """Where there is no environment for any machine, the reason is the one for the machines that were planned first."""
    settings = _settings(tmp_path, mirror=own_world.mirror.url)
    spec = evolve(_ARM_FIRST, packages="ancient")
    with pytest.raises(EnvironmentUnavailable) as caught:
        await _settle(spec, client(), settings, own_world.events.append)
    failed = [event.detail for event in own_world.events if event.state == "failed"]
    assert failed == [caught.value.message]


@pytest.mark.parametrize("digests", [{"linux-64": "0"}, {"image": "0"}])
def test_resumed_on_the_same_processors(digests: dict[str, str]) -> None:
    """A making that goes on has other places with the processors that it began with, also if others are cheaper now."""
    spec = evolve(_ARM_FIRST, workers=1)
    first = _decide(spec, CATALOG, identity(), ("x86",))
    nodes = tuple(new_record(node, SshPair(private="", public="key")) for node in first.nodes)
    environment = evolve(manifest().environment, digests=digests)
    record = evolve(manifest(), identity=first.identity, location="hel1", nodes=nodes, environment=environment)
    (held,) = group_clusters([server("cluster-scheduler", first.identity.labels("scheduler"))])
    plan = _restore_plan(spec, CATALOG, record, held)
    assert [place.words for place in plan.candidates.worker] == ["cx23 in hel1"]
