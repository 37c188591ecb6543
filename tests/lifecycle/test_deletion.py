# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Deletion by label against the emulated cloud: undeterred, economical, proven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from attrs import evolve
from catalogues import identity
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from sandbox_helpers import Api, Json, new_key, order, public, unique
from surroundings import SHORT, held, settings_for

from scherbelberg import Event
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.errors import ClusterNotFound, LeftOver
from scherbelberg.events import ignore_events
from scherbelberg.inventory import billing
from scherbelberg.inventory.clusters import selector
from scherbelberg.lifecycle import destroy
from scherbelberg.lifecycle.deletion import delete_all
from scherbelberg.lifecycle.destroy import delete_clusters, nuke_clusters
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

COUNT = 6


@pytest.fixture
def settings(emulated: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that lead to the module's cloud."""
    return settings_for(emulated, tmp_path_factory.mktemp("home"))


@pytest.fixture
def uid(api: Api) -> str:
    """The uid of a few firewalls with our labels, beside one of somebody else."""
    uid = unique("u")
    for number in range(COUNT):
        api("POST", "/firewalls", {"name": f"{uid}-{number}", "labels": identity(uid=uid).labels("firewall")})
    api("POST", "/firewalls", {"name": unique("foreign"), "labels": {"prefix": "cluster"}})
    return uid


def ours(settings: Settings, uid: str) -> list[str]:
    """What is left of a uid."""
    return [name for name in held(settings) if f"/{uid}-" in name]


async def test_everything_goes_and_nothing_else(settings: Settings, uid: str, emulated: SandboxThread) -> None:
    """All that carries the uid is deleted with one request each, and nothing else."""
    before = len(emulated.sandbox.requests)
    await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    deletions = [path for method, path in emulated.sandbox.requests[before:] if method == "DELETE"]
    assert len(deletions) == len(set(deletions)) == COUNT
    assert ours(settings, uid) == []
    assert any("foreign" in name for name in held(settings))


async def test_one_refusal_does_not_keep_the_others(settings: Settings, uid: str, emulated: SandboxThread) -> None:
    """A resource that the cloud does not let go is named with the reason; all others are gone."""
    emulated.set_faults(Faults(requests=(RequestFault(number=6, status=403, code="protected"),)))
    with pytest.raises(LeftOver, match=r"still lists firewall .*protected.*scherbelberg nuke -p cluster") as caught:
        await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    assert len(ours(settings, uid)) == len(caught.value.left_over) == 1


async def test_token_without_rights(settings: Settings, uid: str, emulated: SandboxThread) -> None:
    """A token that may no longer delete is said to be the reason, and what stays is named."""
    wrong = RequestFault(number=COUNT - 1, method="DELETE", status=403, code="forbidden", times=None)
    emulated.set_faults(Faults(requests=(wrong,)))
    with pytest.raises(
        LeftOver, match=r"still lists firewall .*check the token.*scherbelberg nuke -p cluster"
    ) as caught:
        await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    assert [f"firewalls/{name.split()[1]}" for name in caught.value.left_over] == ours(settings, uid)
    assert len(caught.value.left_over) == 2


async def test_token_that_is_revoked_half_way(settings: Settings, uid: str, emulated: SandboxThread) -> None:
    """When a token is no longer taken, what was last seen is named, since nobody can look at it any more."""
    lists = 4
    wrong = RequestFault(number=lists + 3, status=401, code="unauthorized", times=None)
    emulated.set_faults(Faults(requests=(wrong,)))
    with pytest.raises(LeftOver, match=r"cannot be looked at now: firewall .*unauthorized.*nuke -p cluster") as caught:
        await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    emulated.set_faults(Faults())
    left = ours(settings, uid)
    assert len(left) == COUNT - 2
    assert set(left) <= {f"firewalls/{name.split()[1]}" for name in caught.value.left_over}


async def test_words_for_what_is_left(settings: Settings, api: Api, uid: str, emulated: SandboxThread) -> None:
    """A kind of several words is named in words, as by whatever else tells what is left."""
    row = {"name": f"{uid}-key", "public_key": public(new_key()), "labels": identity(uid=uid).labels("ssh_key")}
    assert api("POST", "/ssh_keys", row).status == 201
    wrong = RequestFault(method="DELETE", path="/ssh_keys/*", status=403, code="protected", times=None)
    emulated.set_faults(Faults(requests=(wrong,)))
    with pytest.raises(LeftOver, match=f"still lists ssh key {uid}-key") as caught:
        await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    assert caught.value.left_over == (f"ssh key {uid}-key",)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
async def test_listener_does_not_stop_it(settings: Settings, uid: str, error: BaseException) -> None:
    """A listener that raises stops no deletion."""

    def listen(event: Event) -> None:
        raise error

    await delete_clusters(settings, "cluster", (uid,), listener=listen, timeouts=SHORT)
    assert ours(settings, uid) == []


async def test_one_uid_does_not_keep_the_next(settings: Settings, uid: str, api: Api, emulated: SandboxThread) -> None:
    """When something of one cluster cannot go, the next is given back all the same."""
    other = unique("v")
    api("POST", "/firewalls", {"name": f"{other}-0", "labels": identity(uid=other).labels("firewall")})
    emulated.set_faults(Faults(requests=(RequestFault(method="DELETE", number=2, status=403, code="protected"),)))
    with pytest.raises(LeftOver):
        await delete_clusters(settings, "cluster", (uid, other), listener=ignore_events, timeouts=SHORT)
    assert ours(settings, other) == []
    assert selector(uid=other)["uid"] == other


async def test_deletion_that_breaks_off(
    settings: Settings, uid: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks one deletion off, it is told what may be left, and the next cluster is given back."""
    other = unique("w")
    api("POST", "/firewalls", {"name": f"{other}-0", "labels": identity(uid=other).labels("firewall")})

    async def breaks(hetzner: Hetzner, wanted: dict[str, str], **rest: Any) -> None:
        if wanted["uid"] == uid:
            raise TypeError("None has no name")
        await delete_all(hetzner, wanted, **rest)

    monkeypatch.setattr("scherbelberg.lifecycle.destroy.delete_all", breaks)
    with pytest.raises(LeftOver, match=r"TypeError: None has no name\. Something may be left") as caught:
        await delete_clusters(settings, "cluster", (uid, other), listener=ignore_events, timeouts=SHORT)
    assert caught.value.left_over == ("cluster cluster",)
    assert (ours(settings, other), len(ours(settings, uid))) == ([], COUNT)
    monkeypatch.undo()
    await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)


@pytest.mark.parametrize("path", ["/ssh_keys", "/networks"])
async def test_refused_list(settings: Settings, uid: str, emulated: SandboxThread, path: str) -> None:
    """A list of what costs nothing that cannot be had keeps nothing else from being deleted, and nothing is proven."""
    refused = RequestFault(method="GET", path=path, status=400, code="json_error", times=None)
    emulated.set_faults(Faults(requests=(refused,)))
    timeouts = evolve(SHORT, delete=1)
    with pytest.raises(LeftOver, match="It cannot be seen whether something is left") as caught:
        await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=timeouts)
    emulated.set_faults(Faults())
    assert (caught.value.left_over, ours(settings, uid)) == (("cluster cluster",), [])


@pytest.mark.parametrize("name", ["record_pending_deletions", "known_prices", "group_clusters"])
async def test_bill_does_not_stop_it(settings: Settings, uid: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What goes wrong with a bill keeps nothing from being deleted."""

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a bill")

    monkeypatch.setattr(destroy if name == "record_pending_deletions" else billing, name, breaks)
    await delete_clusters(settings, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    assert ours(settings, uid) == []


#: How a label of a neighbour differs from ours; None for one that it lacks.
_OTHERWISE: tuple[Callable[[str], str | None], ...] = (
    lambda value: None,
    lambda value: "",
    lambda value: f"{value}2",
    lambda value: f"{value}-2",
    lambda value: value[:-1],
    lambda value: value.upper(),
)
_change = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(_OTHERWISE) for name in ("managed-by", "prefix", "uid")}
)
_kind = st.sampled_from(("firewalls", "networks", "ssh_keys", "firewalls", "networks", "servers"))


@given(things=st.lists(st.tuples(_kind, _change), min_size=1, max_size=7), by_uid=st.booleans())
@hypothesis.settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # an example takes a second: making it smaller would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_neighbours_are_never_touched(
    settings: Settings, api: Api, things: list[tuple[str, dict[str, Callable[[str], str | None]]]], by_uid: bool
) -> None:
    """Whatever stands beside a cluster, with a name that begins alike and with nearly its labels, stays there."""
    prefix, uid = unique("cluster"), unique("u")
    own, others = list[tuple[str, Json]](), list[tuple[str, Json]]()
    for number, (kind, change) in enumerate(things):
        labels = dict(identity(prefix, uid).labels("any"))
        for name, otherwise in change.items():
            value = otherwise(labels.pop(name))
            labels |= {} if value is None else {name: value}
        row = _thing(api, kind, f"{prefix}-worker{number:03d}", labels)
        wanted = identity(prefix, labels.get("uid", "") if not by_uid else uid).labels("any")
        ours = "uid" in labels and all(labels.get(key) == wanted[key] for key in ("managed-by", "prefix", "uid"))
        (own if ours else others).append((kind, row))
    asyncio.run(_end(settings, prefix, uid, by_uid=by_uid, is_there=bool(own)))
    left = [name for name in held(settings) if f"/{prefix}-" in name]
    for kind, row in others:
        assert api("DELETE", f"/{kind}/{row['id']}").status in (200, 204)
    assert sorted(left) == sorted(f"{kind}/{row['name']}" for kind, row in others)


async def _end(settings: Settings, prefix: str, uid: str, *, by_uid: bool, is_there: bool) -> None:
    if by_uid:
        await delete_clusters(settings, prefix, (uid,), listener=ignore_events, timeouts=SHORT)
    elif is_there:
        await nuke_clusters(settings, prefix, listener=ignore_events)
    else:
        with pytest.raises(ClusterNotFound):
            await nuke_clusters(settings, prefix, listener=ignore_events)


def _thing(api: Api, kind: str, name: str, labels: dict[str, str]) -> Json:
    fields: dict[str, Json] = {
        "firewalls": {},
        "networks": {"ip_range": api.settings.network_range},
        "ssh_keys": {"public_key": public(new_key())},
        "servers": {key: value for key, value in order(start_after_create=False).items() if key != "name"},
    }
    reply = api("POST", f"/{kind}", {"name": name, "labels": labels} | fields[kind])
    assert reply.status == 201, reply.body
    if "action" in reply.body:
        api.done(reply.body["action"])
    return dict(reply.body[kind[:-1]])
