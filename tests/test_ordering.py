# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is decided and claimed before anything is rented, and once more when a making goes on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import CATALOG, NOW_S, OWNER, UID, credentials, identity, manifest, network, server
from choosing_world import fitting, shipped

from scherbelberg.access import Access
from scherbelberg.envlock import write_lock
from scherbelberg.errors import BadInput, ChannelUnreachable, ClusterExists
from scherbelberg.events import ignore
from scherbelberg.holdings import Holding, holdings
from scherbelberg.keys import SshPair
from scherbelberg.ordering import _decide, _decided, _environment, _having, _resumable, _resuming, describe
from scherbelberg.plan import make_identity
from scherbelberg.record import new_record
from scherbelberg.settings import Settings
from scherbelberg.shipped import shipped_pins
from scherbelberg.spec import ClusterSpec
from scherbelberg.store import Folder, Store

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
        with _resuming(folder):
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
    with pytest.raises(ClusterExists, match=r"^It began otherwise\.$"), _resuming(folder):
        raise ClusterExists("It began otherwise.")


def _held(state: str, *, servers: bool = True) -> Holding:
    machine = server("cluster-scheduler", identity().labels("scheduler"))
    (held,) = holdings([machine if servers else network("cluster", identity().labels("network"))])
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
    (held,) = holdings([evolve(server("cluster-scheduler", first.identity.labels("scheduler")), created_s=int(NOW_S))])
    plan = _decided(spec, catalog, record, held)
    assert plan.identity == evolve(first.identity, deadline_s=int(catalog.now_s) + _HOUR)
    # 12 hours that have begun of the scheduler, and one of the worker, which is not rented yet.
    assert describe(plan).endswith("at most 0.1248 net, 0.1498 gross within 11 h 1 min")
    with pytest.raises(BadInput, match=r"Within its time to live the cluster could cost 0\.1498 EUR gross"):
        _decided(evolve(spec, max_total=Decimal("0.1")), catalog, record, held)
    ever = _decided(evolve(spec, ttl_s=None), catalog, record, held)
    assert ever.identity.deadline_s is None


async def test_processors_without_an_environment(tmp_path: Path) -> None:
    """A type that somebody named is tried elsewhere only if there is an environment for its processor."""
    base = shipped()
    listed = tmp_path / "x86.lock"
    listed.write_text(write_lock(base), encoding="utf-8")
    spec = ClusterSpec(worker=("cx23", "cax11"), location="nbg1", image="ubuntu-24.04")
    access = Access(endpoint="https://api.hetzner.cloud/v1", token="none", token_source="the test")
    settings = Settings(access=access, ssh_port=22, network_range="10.0.0.0/16", home=tmp_path, owner=OWNER)
    found = {}
    for env in ("main", str(listed)):
        plan = _decide(evolve(spec, env=env), CATALOG, identity())
        environment = await _environment(plan, fitting(base), settings, ignore)
        places = _having(environment, plan).candidates.worker
        found[env] = (set(environment.locks), [place.words for place in places])
    assert found["main"] == ({"linux-64", "linux-aarch64"}, ["cx23 in nbg1", "cax11 in nbg1"])
    assert found[str(listed)] == ({"linux-64"}, ["cx23 in nbg1"])
