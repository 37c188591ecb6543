# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for capacity: who waits together asks together, the cheapest first, and a person is asked what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial

import pytest
from attrs import evolve
from schemas import read
from shells import Shell
from surroundings import SHORT, folders, held
from test_consent import sitting_before

from scherbelberg import ClusterSpec, Event, Phase, sync
from scherbelberg.cli.create import usual_wait_s
from scherbelberg.errors import BadInput, NoCapacity
from scherbelberg.lifecycle.rent import Queue
from scherbelberg.sandbox.faults import Faults, SoldOut
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")
_NONE = Faults(sold_out=(SoldOut(server_type="cx*"), SoldOut(server_type="cax*")))
_QUESTION = "or give up [Enter]: "


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr("scherbelberg.lifecycle.rent.Queue", partial(Queue, first_s=0.2))


async def test_together() -> None:
    """All who wait do so until the same moment, in which everything is asked anew once; pauses grow to the end."""
    told: list[str] = []
    begun: list[int] = []
    queue = Queue(2, first_s=0.02)
    while all(await asyncio.gather(*(queue.wait(told.append, lambda: begun.append(1)) for _ in range(5)))):
        assert len(told) == 5 * len(begun)
    assert 2 <= len(begun) <= 12  # 0.02 s and half as much more each time, within 2 s
    assert told[0].startswith("asking again in ")
    assert told[0].endswith(", for 2 s at most")


async def test_nobody_waits() -> None:
    """Who does not want to wait does not, and nothing is told."""
    told: list[str] = []
    assert not await Queue(None).wait(told.append, lambda: None)
    assert told == []


def _when_waiting(act: Callable[[], None], events: list[Event]) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        events.append(event)
        if (event.phase, event.state) == (Phase.RENT, "progress"):
            act()

    return listen


@pytest.mark.usefixtures("hasty")
def test_capacity_comes(sandbox: SandboxThread, settings: Settings) -> None:
    """Whoever waits has the cheapest as soon as there is some, and nothing of the time before is held against it."""
    sandbox.set_faults(_NONE)
    events: list[Event] = []
    spec = ClusterSpec(prefix="late", workers=2, wait_s=60, timeouts=SHORT)
    listen = _when_waiting(lambda: sandbox.set_faults(Faults()), events)
    with sync.Cluster.from_new(spec, settings=settings, listen=listen) as cluster:
        types = {node.name: node.server_type for node in cluster.nodes}
        cluster.destroy()
    told = [event for event in events if (event.phase, event.state) == (Phase.RENT, "progress")]
    # Another node may have been on its way through the places when there was something again.
    assert {types[str(event.node)] for event in told} == {"cx23"}
    assert all(event.detail.startswith("no capacity; asking again in ") for event in told)


@pytest.mark.usefixtures("hasty")
def test_time_is_over(sandbox: SandboxThread, settings: Settings) -> None:
    """Who has waited long enough in vain is told what there is, and nothing is left."""
    sandbox.set_faults(_NONE)
    spec = ClusterSpec(prefix="late", workers=2, wait_s=1, timeouts=SHORT)
    with pytest.raises(NoCapacity, match="There is no capacity") as caught:
        sync.Cluster.from_new(spec, settings=settings)
    assert caught.value.remedies
    assert len(caught.value.tried) <= 3 * 6  # those of the last time
    assert (held(settings), folders(settings)) == ([], [])


@pytest.mark.usefixtures("hasty")
def test_progress_for_programs(sandbox: SandboxThread, shell: Shell) -> None:
    """A program is told of the wait by events, and gets one document in the end."""
    sandbox.set_faults(_NONE)
    code, output, complaints = shell("create", "-w", "1", "--wait", "1", "--json", "--progress", "json")
    error = read("error", output)["error"]
    assert (code, error["code"]) == (5, "capacity")
    assert "--max-hourly " in error["instead"][0]["options"]
    lines = [read("progress", line) for line in complaints.splitlines()]
    waits = [line for line in lines if (line.get("phase"), line.get("state")) == ("rent", "progress")]
    assert waits
    assert waits[0]["detail"].startswith("no capacity; asking again in ")


@pytest.mark.usefixtures("hasty")
def test_advice_followed_at_the_shell(sandbox: SandboxThread, shell: Shell) -> None:
    """Whoever adds what each error names has a cluster of what there is, for no more than it says."""
    sandbox.set_faults(_NONE)
    words = ["create", "-p", "taken", "-w", "1", "--yes"]
    for _ in range(8):
        code, _, complaints = shell(*words)
        if code == 0:
            break
        assert code == 5, complaints
        words += " ".join(complaints.split()).partition(" by adding ")[2].partition(", or wait")[0].split()
    document = json.loads(shell("show", "-p", "taken", "--json")[1])
    assert {node["server_type"] for node in document["nodes"]} == {"cpx22"}
    assert shell("destroy", "-p", "taken")[0] == 0


def test_question(sandbox: SandboxThread, settings: Settings) -> None:
    """A person sees what there is and for how much, and takes it by its number, or gives up."""
    sandbox.set_faults(_NONE)
    with sitting_before(settings, "create", "-p", "asked", "-w", "1") as person:
        person.read_until("Make it? [y/N]: ")
        person.type("y\n")
        person.read_until(_QUESTION)
        line = next(line for line in person.seen.splitlines() if "cpx22 in " in line)
        assert "EUR an hour gross in all (as with --max-hourly " in line
        person.type(f"{line.split()[0]}\n")
        assert person.end() == 0
    assert len([name for name in held(settings) if name.startswith("servers/")]) == 2
    with sitting_before(settings, "create", "-p", "other", "-w", "1") as person:
        person.read_until("Make it? [y/N]: ")
        person.type("y\n")
        person.read_until(_QUESTION)
        person.type("\n")
        assert person.end() == 5
    assert [name for name in held(settings) if "other" in name] == []


def test_wait_at_the_question(sandbox: SandboxThread, settings: Settings) -> None:
    """A person who waits gets what was asked for when there is some."""
    sandbox.set_faults(_NONE)
    with sitting_before(settings, "create", "-p", "asked", "-w", "1", "--progress", "plain") as person:
        person.read_until("Make it? [y/N]: ")
        person.type("y\n")
        person.read_until(_QUESTION)
        assert held(settings) == []
        person.type("w\n")
        person.read_until("no capacity; asking again in ")
        sandbox.set_faults(Faults())
        assert person.end() == 0


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("scheduler", "worker"), [("cx43", "cx23"), ("cx23", "cx43")])
def test_others_wait_for_one(sandbox: SandboxThread, settings: Settings, scheduler: str, worker: str) -> None:
    """What is rented already waits for what is not, on its machine, whichever of scheduler and workers that is."""
    sandbox.set_faults(Faults(sold_out=(SoldOut(server_type="cx43"),)))
    waits: list[str] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (Phase.RENT, "progress"):
            waits.append(str(event.node))
        if (event.phase, event.state) == (Phase.REACH, "done"):
            sandbox.set_faults(Faults())

    spec = ClusterSpec(prefix="late", workers=2, scheduler=scheduler, worker=worker, wait_s=60, timeouts=SHORT)
    with sync.Cluster.from_new(spec, settings=settings, listen=listen) as cluster:
        assert {node.server_type for node in cluster.nodes} == {"cx23", "cx43"}
        cluster.destroy()
    assert set(waits) == ({"scheduler"} if scheduler == "cx43" else {"worker000", "worker001"})


@pytest.mark.parametrize(
    ("wishes", "seconds"), [({}, 1800), ({"ttl_s": None}, 1800), ({"ttl_s": 1200}, 600), ({"wait_s": 60}, 60)]
)
def test_usual_wait(wishes: dict[str, int | None], seconds: int) -> None:
    """Who does not say for how long waits half an hour, or for half the time to live if that is less."""
    spec = ClusterSpec(prefix="late", **wishes)  # type: ignore[arg-type] # some of its fields
    assert evolve(spec, wait_s=usual_wait_s(spec)).wait_s == seconds


def test_wait_within_the_time_to_live() -> None:
    """Who would wait for longer than the cluster is to live is told so before anything is rented."""
    with pytest.raises(BadInput, match=r"waiting time of 3600 s .* time to live of 3600 s"):
        ClusterSpec(prefix="late", wait_s=3600, ttl_s=3600)
