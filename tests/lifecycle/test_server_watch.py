# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers that do not come up, or do not stay: what the user is told, and that nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from attrs import evolve
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, Event
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.errors import CloudError, ClusterBroken, NodeUnreachable, WaitTimeout
from scherbelberg.events import Phase
from scherbelberg.lifecycle import server_watch
from scherbelberg.sandbox.faults import ActionFault, Faults
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler import client
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")


async def test_failed_action(sandbox: SandboxThread, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is heard of a server for a while its actions are asked, and the cloud's reason is told."""
    monkeypatch.setattr(server_watch, "_PATIENCE_S", 0.5)
    sandbox.set_faults(Faults(actions=(ActionFault(command="start_server", server="*-worker000"),)))
    with pytest.raises(CloudError, match=r"could not start node worker000: start_server: .*told to fail") as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=SHORT)
    assert caught.value.node == "worker000"
    assert (held(settings), folders(settings)) == ([], [])


async def test_endless_action(sandbox: SandboxThread, settings: Settings) -> None:
    """A server whose start never ends is named at the deadline, and deleted all the same."""
    sandbox.set_faults(Faults(actions=(ActionFault(command="start_server", server="*-worker000", how="endless"),)))
    timeouts = evolve(SHORT, rent=2, reach=60, logs=1)
    with pytest.raises(WaitTimeout, match="start of node worker000 in the private network"):
        await Cluster.from_new(workers=1, settings=settings, timeouts=timeouts)
    assert (held(settings), folders(settings)) == ([], [])


async def test_dead_server(sandbox: SandboxThread, settings: Settings) -> None:
    """A server that runs and never answers is named at its deadline, and deleted."""
    sandbox.set_faults(Faults(dead=("*-worker000",)))
    with pytest.raises(NodeUnreachable, match="worker000") as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=evolve(SHORT, reach=3, logs=1))
    assert caught.value.node == "worker000"
    assert (held(settings), folders(settings)) == ([], [])


async def test_addresses_are_looked_up_when_a_node_answers(sandbox: SandboxThread, settings: Settings) -> None:
    """Between the last order and the first node that answers, the cloud is not asked for anything."""
    requests: list[int] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (Phase.REACH, "done"):
            requests.append(len(sandbox.sandbox.requests))

    cluster = await Cluster.from_new(workers=2, settings=settings, listen=listen)
    try:
        orders = [place for place, row in enumerate(sandbox.sandbox.requests) if row == ("POST", "/v1/servers")]
        assert len(orders) == 3
        assert requests[0] == orders[-1] + 1
    finally:
        await cluster.destroy()


def deleting(settings: Settings, *names: str, phase: Phase, state: str, count: int) -> Callable[[Event], None]:
    """A listener that deletes servers of nodes at so many events of a kind, as another program would."""
    told: list[Event] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (phase, state):
            told.append(event)
            if len(told) == count:
                for name in names:
                    delete(settings, name)

    return listen


def delete(settings: Settings, name: str) -> None:
    """Delete the server of a node without any code of ours."""
    place, headers = f"{settings.access.endpoint}/servers", {"Authorization": f"Bearer {settings.access.token}"}
    rows = requests.get(place, headers=headers, timeout=10).json()["servers"]
    (number,) = [row["id"] for row in rows if row["labels"]["node"] == name]
    requests.delete(f"{place}/{number}", headers=headers, timeout=10).raise_for_status()


def deleted(name: str) -> str:
    """What is said then."""
    return rf"^Server \S+-{name} of node {name} was deleted by somebody else while the cluster was being made\.$"


@pytest.mark.parametrize(
    ("phase", "state", "count"),
    [
        (Phase.TLS, "done", 2),  # its SSH is lost
        (Phase.PROOF, "start", 1),  # the tunnel leads nowhere
    ],
)
async def test_scheduler_that_is_deleted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, phase: Phase, state: str, count: int
) -> None:
    """When somebody deletes the scheduler's server this is said, and not that SSH or Dask was lost; all is undone."""
    monkeypatch.setattr(client, "_RETURN_S", 1)
    listen = deleting(settings, "scheduler", phase=phase, state=state, count=count)
    with pytest.raises(ClusterBroken, match=deleted("scheduler")) as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=SHORT, listen=listen)
    assert (caught.value.node, caught.value.phase) == ("scheduler", "rent")
    assert (held(settings), folders(settings)) == ([], [])


@pytest.mark.parametrize("names", [("scheduler",), ("worker000", "scheduler")], ids=["the scheduler", "all"])
async def test_deleted_before_they_answer(
    sandbox: SandboxThread, settings: Settings, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Nobody waits for servers that do not answer yet and are not there any more, or replaces them."""
    monkeypatch.setattr(server_watch, "_PATIENCE_S", 0.5)
    sandbox.set_faults(Faults(dead=tuple(f"*-{name}" for name in names)))
    listen = deleting(settings, *names, phase=Phase.RENT, state="done", count=2)
    with pytest.raises(ClusterBroken, match=deleted("scheduler")) as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=evolve(SHORT, reach=600), listen=listen)
    assert (caught.value.node, caught.value.phase, caught.value.log_file) == ("scheduler", "rent", None)
    orders = [row for row in sandbox.sandbox.requests if row == ("POST", "/v1/servers")]
    assert len(orders) == 2
    assert (held(settings), folders(settings)) == ([], [])


def lag(monkeypatch: pytest.MonkeyPatch, count: float) -> list[object]:
    """Have so many lists of a cluster's servers lack all of them; tells of each list."""
    find, looks = Hetzner.find, []

    async def find_late(self: Hetzner, kind: Any, wanted: Any) -> Any:
        if set(wanted) != {"managed-by", "uid"}:
            return await find(self, kind, wanted)
        looks.append(kind)
        return () if len(looks) <= count else await find(self, kind, wanted)

    monkeypatch.setattr(Hetzner, "find", find_late)
    return looks


async def test_list_that_lags(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that a list does not have yet was not deleted."""
    looks = lag(monkeypatch, 2)
    cluster = await Cluster.from_new(workers=1, settings=settings, timeouts=SHORT)
    assert len(looks) > 2
    await cluster.destroy()


async def test_server_that_no_list_has(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was never listed counts as deleted when it is still missing after a while."""
    monkeypatch.setattr(server_watch, "_LAG_S", 0.5)
    looks = lag(monkeypatch, float("inf"))
    with pytest.raises(ClusterBroken, match=deleted("scheduler")):
        await Cluster.from_new(workers=1, settings=settings, timeouts=SHORT)
    assert len(looks) > 1
    assert (held(settings), folders(settings)) == ([], [])
