# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whatever goes wrong while a cluster is made: the project is empty afterwards, and so is this computer's folder."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from functools import partial

import psutil
import pytest
import requests
from attrs import evolve
from standstill import STANDSTILL
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, ClusterSpec, Event, Phase
from scherbelberg.environments.versions import Baked, Client, Versions
from scherbelberg.errors import BootstrapFailed, ClusterExists, LeftOver, StateDamaged, TokenRefused, WaitTimeout
from scherbelberg.inventory.history import History
from scherbelberg.sandbox.faults import NO_FAULTS, Faults, HostFault, RequestFault
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.server import SandboxThread, sandbox_id
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

pytestmark = pytest.mark.hosts("scripted")

#: More requests than a create of this size sends.
FAR = 60


def small(settings: Settings) -> ClusterSpec:
    """The smallest cluster there is."""
    return ClusterSpec(prefix="undo", workers=1, network_range=settings.network_range, timeouts=SHORT)


def when(phase: Phase, state: str, act: Callable[[], object], *, node: str | None = None) -> Callable[[Event], None]:
    """A listener that acts once, at an event."""
    done: list[Event] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (phase, state) and node in {None, event.node} and not done:
            done.append(event)
            act()

    return listen


async def test_each_request_fails_once(sandbox: SandboxThread, settings: Settings) -> None:
    """Whichever request of a create is refused: nothing is left, and the error says which request it was."""
    for number in range(1, FAR):
        sandbox.set_faults(Faults(requests=(RequestFault(number=number),)))
        try:
            cluster = await Cluster.from_new(small(settings), settings=settings)
        except TokenRefused as refusal:
            said = refusal.message
        else:  # that request was never sent: all have been tried
            sandbox.set_faults(Faults())
            await cluster.destroy()
            break
        sandbox.set_faults(Faults())
        assert "was told to fail this request" in said
        assert held(settings) == [], f"after the failure of request {number}"
        assert folders(settings) == [], f"after the failure of request {number}"
    assert 15 < number < FAR


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (Phase.NETWORK, "start"),
        (Phase.RENT, "start"),
        (Phase.REACH, "start"),
        (Phase.ENVIRONMENT, "start"),
        (Phase.SERVICE, "start"),
        (Phase.PROOF, "start"),
        (Phase.PROOF, "done"),
    ],
)
async def test_cancelled_in_any_phase(sandbox: SandboxThread, settings: Settings, phase: Phase, state: str) -> None:
    """A task that is cancelled gives everything back before the cancellation is raised."""
    sandbox.set_faults(STANDSTILL.get(f"{phase} {state}", NO_FAULTS))
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    listen = when(phase, state, lambda: loop.call_soon_threadsafe(begun.set))
    task = asyncio.create_task(Cluster.from_new(small(settings), settings=settings, listen=listen))
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held(settings) == []
    assert folders(settings) == []
    assert hosts_processes(sandbox) == []
    gc.collect()  # what was left unfinished complains now, and a complaint is a failure


@pytest.mark.parametrize("error", [GeneratorExit(), SystemExit(3), KeyboardInterrupt()])
async def test_listener_that_raises(settings: Settings, error: BaseException) -> None:
    """What a listener of the user's raises and is no Exception ends the create, and everything is given back."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await Cluster.from_new(small(settings), settings=settings, listen=when(Phase.TLS, "start", fail))
    (entry,) = History(settings.home).read()[0]  # what failed has cost something all the same
    assert [machine.name for machine in entry.machines] == ["scheduler", "worker000"]
    assert held(settings) == []
    assert folders(settings) == []


async def test_outage_during_clean_up(sandbox: SandboxThread, settings: Settings) -> None:
    """A clean-up outlasts a cloud that does not answer for longer than other works have patience with it."""
    outage = Faults(requests=(RequestFault(number=1, status=503, code="unavailable", times=16),))
    spec = evolve(small(settings), timeouts=evolve(SHORT, cloud=0.6, delete=60))

    def fail() -> None:
        sandbox.set_faults(outage)
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await Cluster.from_new(spec, settings=settings, listen=when(Phase.REACH, "start", fail))
    assert (held(settings), folders(settings)) == ([], [])


@pytest.mark.parametrize(
    ("deletions", "left_over"),
    [
        (RequestFault(number=1, method="DELETE", status=403, code="forbidden", times=None), "server undo-scheduler"),
        (RequestFault(number=1, status=401, code="unauthorized", times=None), "cluster undo"),
    ],
)
async def test_clean_up_that_fails(
    sandbox: SandboxThread, settings: Settings, deletions: RequestFault, left_over: str
) -> None:
    """Where the clean-up fails as well, the error still says why, at which node and in which phase the create did."""
    fails = HostFault(server="*-scheduler", how="fails", phase="tls")
    sandbox.set_faults(Faults(hosts=(fails,)))
    listen = when(Phase.TLS, "failed", lambda: sandbox.set_faults(Faults(hosts=(fails,), requests=(deletions,))))
    with pytest.raises(LeftOver, match=r"^Bootstrap of node scheduler failed in phase tls: .*nuke -p undo") as caught:
        await Cluster.from_new(small(settings), settings=settings, listen=listen)
    error = caught.value
    assert (error.node, error.phase, left_over in error.left_over) == ("scheduler", "tls", True)
    assert (bool(error.log_tail), error.log_file is not None) == (True, True)


@pytest.mark.parametrize(
    "error", [TypeError("None has no name"), OSError(28, "No space left on device"), asyncio.CancelledError()], ids=repr
)
async def test_clean_up_that_breaks_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever breaks a clean-up off, the error names the cluster, and its folder stays until it is gone."""

    async def breaks(*_: object, **__: object) -> None:
        raise error

    def fail() -> None:
        monkeypatch.setattr("scherbelberg.lifecycle.deletion._look_at_all", breaks)
        raise SystemExit(3)

    with pytest.raises(LeftOver, match="nuke -p undo") as caught:
        await Cluster.from_new(small(settings), settings=settings, listen=when(Phase.REACH, "start", fail))
    assert (caught.value.left_over, len(folders(settings))) == (("cluster undo",), 1)
    assert held(settings) != []
    monkeypatch.undo()
    await Cluster.nuke("undo", settings=settings)
    assert (held(settings), folders(settings)) == ([], [])


@pytest.mark.parametrize("how", ["drop", "close"])
async def test_end_that_breaks(settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Why a create failed is told although its folder cannot be deleted, or its connections cannot be closed."""

    def breaks(*_: object) -> None:
        raise StateDamaged("The disk is read-only.") if how == "drop" else RuntimeError("a connection")

    name = {
        "drop": "scherbelberg.state.store.Folder.drop",
        "close": "scherbelberg.nodes.connections.Connections.close",
    }[how]
    monkeypatch.setattr(name, breaks)

    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await Cluster.from_new(small(settings), settings=settings, listen=when(Phase.REACH, "start", fail))
    assert held(settings) == []


async def test_host_that_dies(settings: Settings) -> None:
    """A machine that somebody deletes while it is bootstrapped is replaced, and of both nothing is left in the end."""

    def delete_worker() -> None:
        call = partial(requests.request, headers={"Authorization": f"Bearer {settings.access.token}"}, timeout=10)
        servers = call("GET", f"{settings.access.endpoint}/servers", params={"name": "undo-worker000"}).json()
        call("DELETE", f"{settings.access.endpoint}/servers/{servers['servers'][0]['id']}").raise_for_status()

    listen = when(Phase.TLS, "done", delete_worker, node="worker000")
    cluster = await Cluster.from_new(small(settings), settings=settings, listen=listen)
    (folder,) = Store(settings.home).folders(prefix="undo")
    (row,) = folder.read().tried
    assert (row.node, row.outcome) == ("worker000", "failed")
    assert row.said.endswith("worker000 was deleted by somebody else while the cluster was being made.")
    await cluster.destroy()
    assert held(settings) == []
    assert folders(settings) == []


async def test_environment_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the client's environment is an error with node, phase and reason; nothing is left."""
    other = Versions(python="3.11.0", packages={"dask": "2026.6.9"})
    client = Client(versions=other, path=sys.executable, source="the test")
    # As if the cloud said of the image what is not so.
    monkeypatch.setattr(
        "scherbelberg.lifecycle.order._baked_environment", lambda plan: Baked(versions=other, folder="elsewhere")
    )
    with pytest.raises(
        BootstrapFailed, match=r"failed in phase environment: .*does not hold the environment"
    ) as caught:
        await Cluster.from_new(small(settings), settings=settings, client=client)
    assert (caught.value.phase, caught.value.node in {"scheduler", "worker000"}) == ("environment", True)
    assert caught.value.log_tail
    assert held(settings) == []


async def test_second_create_beside_the_first(settings: Settings) -> None:
    """While a cluster is being made, another create of its name is refused and does it no harm."""
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    listen = when(Phase.REACH, "start", lambda: loop.call_soon_threadsafe(begun.set))
    first = asyncio.create_task(Cluster.from_new(small(settings), settings=settings, listen=listen))
    await asyncio.wait_for(begun.wait(), 30)
    with pytest.raises(ClusterExists, match="is being made right now, by process"):
        await Cluster.from_new(small(settings), settings=settings)
    cluster = await first
    assert len(held(settings)) == 5
    await cluster.destroy()
    assert (held(settings), folders(settings)) == ([], [])


async def test_worker_that_never_joins(settings: Settings) -> None:
    """A worker that is not there in time is named, with the last lines of its own log."""
    spec = evolve(small(settings), timeouts=evolve(SHORT, join=0.0))
    with pytest.raises(WaitTimeout, match=r"\(last seen: missing worker000\)\.") as caught:
        await Cluster.from_new(spec, settings=settings)
    assert (caught.value.node, caught.value.phase) == ("worker000", "proof")
    assert any(line.startswith("worker000 dask: ") for line in caught.value.log_tail)
    assert held(settings) == []


def hosts_processes(sandbox: SandboxThread) -> list[psutil.Process]:
    """All processes on the sandbox's hosts, wherever they were forked to."""
    return list(marked(f"{sandbox_id(sandbox.sandbox._folder)}."))
