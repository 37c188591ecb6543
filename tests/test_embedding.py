# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The contract with programs that embed the library, sentence by sentence: see docs/embedding.md."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, ClusterSpec, Event, Phase, sync
from scherbelberg.errors import LeftOver
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

#: For whatever a test waits for, in seconds.
WITHIN_S = 60.0


class Ear:
    """A listener that remembers what it is told, on which thread, and what the cloud held at the very end.

    Args:
        on_service: Called when the first node's service is about to start.
    """

    def __init__(self, on_service: Callable[[], object] = lambda: None) -> None:
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.reached = threading.Event()
        self.overlaps = 0
        self._on_service = on_service
        self._talking = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Listen."""
        self.overlaps += not self._talking.acquire(blocking=False)
        self.events.append(event)
        self.threads.add(threading.current_thread().name)
        self._talking.release()
        if (event.phase, event.state) == (Phase.SERVICE, "start") and not self.reached.is_set():
            self.reached.set()
            self._on_service()

    @property
    def undoing(self) -> list[tuple[Phase, str]]:
        """What was told from the first deletion on, without what lies between start and end."""
        told: list[tuple[Phase, str]] = [
            (event.phase, event.state) for event in self.events if event.state != "progress"
        ]
        return told[told.index((Phase.DELETE, "start")) :] if (Phase.DELETE, "start") in told else []


#: What is told of an undoing that came to its end.
UNDONE = [(Phase.DELETE, "start"), (Phase.DELETE, "done"), (Phase.EMPTY, "done")]


@pytest.fixture
def spec(settings: Settings) -> ClusterSpec:
    """The smallest cluster there is."""
    return ClusterSpec(prefix="embedded", workers=1, network_range=settings.network_range, timeouts=SHORT)


@pytest.fixture
def stubborn(sandbox: SandboxThread) -> Iterator[Callable[[], None]]:
    """Makes the cloud answer no deletion of servers any more, until the test is over."""

    def arrange() -> None:
        drops = RequestFault(method="DELETE", path="/servers/*", how="drop_before", times=None)
        sandbox.set_faults(Faults(requests=(drops,)))

    yield arrange
    sandbox.set_faults(Faults())


def test_listener_is_called_by_one_thread_in_order(spec: ClusterSpec, settings: Settings) -> None:
    """Every event comes on the library's own thread, one after the other, as it happened, until all is deleted."""
    ear = Ear()
    cluster = sync.Cluster.from_new(spec, settings=settings, listen=ear)
    cluster.destroy()
    assert ear.threads == {"scherbelberg"}
    assert ear.overlaps == 0
    times = [event.at_s for event in ear.events]
    assert times == sorted(times)
    assert ear.undoing == UNDONE


def test_exception_in_the_listener(spec: ClusterSpec, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails at each event is called for each, logged once, and harms neither create nor destroy."""
    heard: list[Phase] = []

    def fail(event: Event) -> None:
        heard.append(event.phase)
        raise ValueError(f"no {event.phase.value}, please")

    cluster = sync.Cluster.from_new(spec, settings=settings, listen=fail)
    assert len(held(settings)) == 5
    cluster.destroy()
    assert {Phase.PLAN, Phase.PROOF, Phase.DELETE, Phase.EMPTY} <= set(heard)
    records = [record for record in caplog.records if record.name == "scherbelberg"]
    assert len(records) == 1
    assert "no plan, please" in (records[0].exc_text or "")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_other_errors_in_the_listener_undo(spec: ClusterSpec, settings: Settings, error: BaseException) -> None:
    """What is no Exception undoes the create, is told so, and then reaches who waits."""

    def fail() -> None:
        raise error

    ear = Ear(fail)
    operation = sync.Cluster.begin_new(spec, settings=settings, listen=ear)
    with pytest.raises(type(error)) as caught:
        operation.result(WITHIN_S)
    assert caught.value is error
    assert ear.undoing == UNDONE
    assert (held(settings), folders(settings)) == ([], [])


async def test_cancelled_task_undoes(spec: ClusterSpec, settings: Settings) -> None:
    """Cancelling the task undoes, tells so, and raises only when nothing is left."""
    ear = Ear()
    task = asyncio.create_task(Cluster.from_new(spec, settings=settings, listen=ear))
    assert await asyncio.to_thread(ear.reached.wait, WITHIN_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (held(settings), folders(settings)) == ([], [])
    assert ear.undoing == UNDONE
    assert ear.threads == {"scherbelberg"}


async def test_cancelled_task_ends_at_the_deadline(
    spec: ClusterSpec, settings: Settings, stubborn: Callable[[], None]
) -> None:
    """What cannot be given back before the deadline is an error that names it, and not a cancellation."""
    ear = Ear()
    short = evolve(SHORT, cloud=0.5, delete=1)
    task = asyncio.create_task(Cluster.from_new(evolve(spec, timeouts=short), settings=settings, listen=ear))
    assert await asyncio.to_thread(ear.reached.wait, WITHIN_S)
    stubborn()
    task.cancel()
    with pytest.raises(LeftOver, match="scherbelberg nuke -p embedded") as caught:
        await task
    assert {"server embedded-scheduler", "server embedded-worker000"} <= set(caught.value.left_over)
    assert ear.undoing[0] == (Phase.DELETE, "start")


def test_operation_succeeds(spec: ClusterSpec, settings: Settings) -> None:
    """An operation that nobody cancels ends in a cluster, which stays when somebody cancels too late."""
    ended = threading.Event()
    operation = sync.Cluster.begin_new(spec, settings=settings)
    operation.add_done_callback(lambda _: ended.set())
    assert not operation.done()
    cluster = operation.result(WITHIN_S)
    assert ended.wait(WITHIN_S)
    assert operation.cancel() is False
    assert len(held(settings)) == 5
    cluster.destroy()


def test_operation_is_cancelled_from_another_thread(spec: ClusterSpec, settings: Settings) -> None:
    """Cancelling from any thread undoes, tells so, and returns only when nothing is left."""
    ear = Ear()
    operation = sync.Cluster.begin_new(spec, settings=settings, listen=ear)
    assert ear.reached.wait(WITHIN_S)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:

        def cancel() -> tuple[bool, list[str], list[tuple[Phase, str]]]:
            return operation.cancel(), held(settings), ear.undoing

        asked = [threads.submit(cancel) for _ in range(2)]
        assert [one.result(WITHIN_S) for one in asked] == [(True, [], UNDONE)] * 2
    with pytest.raises(concurrent.futures.CancelledError):
        operation.result()
    assert folders(settings) == []


def test_operation_is_cancelled_by_the_listener(spec: ClusterSpec, settings: Settings) -> None:
    """The listener itself may cancel, without waiting."""
    begun: concurrent.futures.Future[sync.Operation[sync.Cluster]] = concurrent.futures.Future()
    ear = Ear(lambda: begun.result(WITHIN_S).cancel(wait=False))
    begun.set_result(sync.Cluster.begin_new(spec, settings=settings, listen=ear))
    with pytest.raises(concurrent.futures.CancelledError):
        begun.result().result(WITHIN_S)
    assert ear.undoing == UNDONE
    assert held(settings) == []


def test_operation_ends_at_the_deadline(spec: ClusterSpec, settings: Settings, stubborn: Callable[[], None]) -> None:
    """Cancelling raises what could not be given back before the deadline, in every thread that asks."""
    ear = Ear()
    short = evolve(SHORT, cloud=0.5, delete=1)
    operation = sync.Cluster.begin_new(evolve(spec, timeouts=short), settings=settings, listen=ear)
    assert ear.reached.wait(WITHIN_S)
    stubborn()
    for ask in (operation.cancel, operation.result):
        with pytest.raises(LeftOver) as caught:
            ask()
        assert {"server embedded-scheduler", "server embedded-worker000"} <= set(caught.value.left_over)
    assert operation.done()
