# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Connections of running clients: two clusters at once, connections that are lost, machines that are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve, frozen
from distributed import Client
from distributed.client import FutureCancelledError
from sandbox_helpers import Api, Waiter
from surroundings import SHORT, held, settings_for

from scherbelberg import Cluster, ClusterSpec, sync
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.environments.versions import Versions
from scherbelberg.errors import NodeUnreachable
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler import client as dask_client
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.settings import Settings

#: For whatever a test waits for, in seconds.
WITHIN_S = 60.0
#: Work that is for this worker alone is under way for ever.
NOBODY = ["nobody"]


@frozen(kw_only=True)
class Pair:
    """Two clusters in one cloud, made at the same time."""

    sandbox: SandboxThread
    settings: Settings
    east: sync.Cluster
    west: sync.Cluster


def small(prefix: str, settings: Settings) -> ClusterSpec:
    """The smallest cluster there is."""
    return ClusterSpec(prefix=prefix, workers=1, network_range=settings.network_range, timeouts=SHORT)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two clusters, which tests leave as they were."""
    folder = tmp_path_factory.mktemp("Ost & West")
    with SandboxThread(folder / "sandbox", Options(time_scale=0.02)) as sandbox:
        settings = settings_for(sandbox, folder / "home")
        begun = [sync.Cluster.begin_new(small(name, settings), settings=settings) for name in ("east", "west")]
        east, west = (operation.result(WITHIN_S) for operation in begun)
        yield Pair(sandbox=sandbox, settings=settings, east=east, west=west)
        for cluster in (east, west):
            cluster.destroy()
        assert held(settings) == []


def cut(sandbox: SandboxThread, address: str | None) -> None:
    """Cut all SSH connections of a host, from its side, without a word."""
    (sshd,) = [
        host._sshd
        for host in sandbox.sandbox._hosts._hosts.values()  # type: ignore[union-attr] # of the process driver
        if host._sshd is not None and host._sshd._address[0] == address
    ]
    connections = tuple(sshd._connections)
    assert connections
    for connection in connections:
        sandbox._ready.result().call_soon_threadsafe(connection.abort)


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What the library has logged at a level."""
    return [
        record.getMessage() for record in caplog.records if (record.name, record.levelno) == ("scherbelberg", level)
    ]


def await_lines(caplog: pytest.LogCaptureFixture, level: int, count: int) -> list[str]:
    """Wait until the library has logged so many lines at a level."""
    Waiter().wait(lambda: len(lines(caplog, level)) >= count, what=f"Line {count}", within_s=WITHIN_S)
    return lines(caplog, level)


def test_two_clusters_do_not_mix(pair: Pair) -> None:
    """Two clients of two clusters compute side by side, each on its own machines, even what has the same name."""
    with pair.east.get_client() as east, pair.west.get_client() as west:
        first, second = east.submit(max, 1, 2, key="same"), west.submit(max, 30, 40, key="same")
        assert (west.gather(second, direct=False), east.gather(first, direct=False)) == (40, 2)
        workers = [set(client.scheduler_info()["workers"]) for client in (east, west)]
        assert [len(one) for one in workers] == [1, 1]
        assert not workers[0] & workers[1]


def test_closing_one_leaves_the_other(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The end of one handle's connections is no loss: its client is closed with a word, and the other computes on."""
    caplog.set_level(logging.INFO, logger="scherbelberg")
    handle = sync.Cluster.from_existing("east", settings=pair.settings)
    with handle.get_client() as east, pair.west.get_client() as west:
        assert east.submit(sum, [1, 1]).result(timeout=WITHIN_S) == 2
        handle.close()
        assert "was closed or destroyed" in await_lines(caplog, logging.INFO, 1)[0]
        Waiter().wait(lambda: east.status == "closed", what="The closing of the client")
        assert west.submit(sum, [2, 2]).result(timeout=WITHIN_S) == 4
    with pair.east.get_client() as again:
        assert again.submit(sum, [3, 3]).result(timeout=WITHIN_S) == 6
    assert lines(caplog, logging.WARNING) == []


def test_one_door_for_all(pair: Pair) -> None:
    """Who asks for the tunnels at the same time gets the same ones, so that none is forgotten when they are closed."""
    links = sync.Cluster.from_existing("east", settings=pair.settings)._inner._connections

    async def ask() -> list[SchedulerEndpoint]:
        try:
            return await gather_or_cancel(*(links.open_endpoint() for _ in range(3)))
        finally:
            await links.close()

    doors = private_loop().submit(ask()).result()
    assert len({door.port for door in doors}) == 1
    assert all(door.shut.is_set() for door in doors)


def test_lost_connection(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Each loss is told in one line that says what to do; published work is still there, and new work runs."""
    with pair.east.get_client() as client, pair.west.get_client() as other:
        address, identity = client.scheduler.address, client.scheduler_info()["id"]
        kept = client.submit(sum, [1, 2])
        client.publish_dataset(kept=kept)
        for loss in (1, 2):
            futures: list[Any] = client.map(pow, range(2, 5), [loss] * 3)
            client.gather(futures)
            # One that is still under way is lost as well.
            futures.append(client.submit(sum, [loss], workers=NOBODY))
            cut(pair.sandbox, pair.east.node("scheduler").public_ip)
            line = await_lines(caplog, logging.WARNING, loss)[-1]
            assert loss == 2 or "with it 5 futures" in line
            assert "client.publish_dataset or in storage" in line
            for future in futures:
                with pytest.raises(FutureCancelledError, match=r"client\.publish_dataset or in storage"):
                    future.result(timeout=WITHIN_S)
            assert client.submit(sum, [loss, 40]).result(timeout=WITHIN_S) == loss + 40
            assert client.get_dataset("kept").result(timeout=WITHIN_S) == 3
        assert (client.scheduler.address, client.scheduler_info()["id"]) == (address, identity)
        assert other.submit(sum, [5, 5]).result(timeout=WITHIN_S) == 10
        client.unpublish_dataset("kept")
    assert len(lines(caplog, logging.WARNING)) == 2
    assert lines(caplog, logging.ERROR) == []


def test_stream_that_is_cut_before_its_tls(
    pair: Pair, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tornado says of a stream that is cut too early ends no client: it tries again."""
    real = Client._ensure_connected
    errors = [ValueError("IOStream is not idle; cannot convert to SSL") for _ in range(3)]

    async def connect(client: Client, timeout: float | None = None) -> None:
        if errors:
            raise errors.pop()
        await real(client, timeout=timeout)

    with pair.west.get_client() as client:
        monkeypatch.setattr(Client, "_ensure_connected", connect)
        cut(pair.sandbox, pair.west.node("scheduler").public_ip)
        await_lines(caplog, logging.WARNING, 1)
        assert client.submit(sum, [1, 1]).result(timeout=WITHIN_S) == 2
        assert errors == []
    assert len(lines(caplog, logging.WARNING)) == 1


def test_scheduler_that_does_not_answer(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers a client as Dask does, the way to the scheduler's log is told, with the cluster's name."""
    monkeypatch.setattr(dask_client, "_CONNECT_S", 1)
    monkeypatch.setattr(dask_client, "_RETURN_S", 1)
    door = private_loop().submit(pair.east._inner.door()).result()
    silent = evolve(door, port=door.dashboard_port)  # which speaks no TLS
    with pytest.raises(NodeUnreachable, match=r"look at its log: 'scherbelberg logs -p east scheduler'\.$"):
        dask_client.connect(silent, ours=Versions(python="3", packages={}), allowed=())


def _still_paid(call: str) -> str:
    return (
        f"client.{call}() ends Dask's processes, which the machines start again, and no bill: cluster 'paid' costs"
        " until its destroy(), or 'scherbelberg destroy -p paid', gives all of it back."
    )


@pytest.mark.hosts("scripted")
def test_what_ends_no_bill(sandbox: SandboxThread, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Who ends Dask or its workers by a client of either kind is told once, in a sentence, what ends the bill."""
    cluster = sync.Cluster.from_new(small("paid", settings), settings=settings)
    rented = held(settings)
    with cluster.get_client() as client:
        client.retire_workers(close_workers=False)
        assert lines(caplog, logging.WARNING) == []
        client.retire_workers()
        assert lines(caplog, logging.WARNING) == [_still_paid("retire_workers")]
        client.shutdown()
        assert client.status == "closed"
    assert lines(caplog, logging.WARNING) == [_still_paid("retire_workers"), _still_paid("shutdown")]
    assert (held(settings), lines(caplog, logging.ERROR)) == (rented, [])
    cluster.destroy()


@pytest.mark.hosts("scripted")
async def test_what_ends_no_bill_with_await(
    sandbox: SandboxThread, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """An asynchronous client tells the same once its coroutines are awaited."""
    async with await Cluster.from_new(small("paid", settings), settings=settings) as cluster:
        client = await cluster.get_client(asynchronous=True)
        await client.retire_workers()
        assert lines(caplog, logging.WARNING) == [_still_paid("retire_workers")]
        await client.shutdown()
        assert client.status == "closed"
        assert lines(caplog, logging.WARNING) == [_still_paid("retire_workers"), _still_paid("shutdown")]
        await cluster.destroy()


@pytest.mark.hosts("scripted")
def test_scheduler_that_is_gone(
    sandbox: SandboxThread, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that stays off is told in one more line; whatever waits for it ends, and it can be given back."""
    monkeypatch.setattr(dask_client, "RECONNECT_S", 3)
    monkeypatch.setattr(dask_client, "_RETURN_S", 1)
    cluster = sync.Cluster.from_new(small("gone", settings), settings=settings)
    with cluster.get_client() as client:
        lost = client.submit(sum, [1, 2], workers=NOBODY)
        power_off(sandbox, "gone-scheduler")
        assert "lost its connection" in await_lines(caplog, logging.WARNING, 1)[0]
        late = client.submit(sum, [1, 1])
        for future in (lost, late):
            with pytest.raises(FutureCancelledError):
                future.result(timeout=WITHIN_S)
        (said,) = await_lines(caplog, logging.ERROR, 1)
        assert "found its scheduler no more within 3 s" in said
        assert "('scherbelberg logs -p gone scheduler' shows its log)" in said
        assert client.status == "closed"
    links = cluster._inner._connections
    links.manifest = evolve(links.manifest, spec=evolve(links.manifest.spec, timeouts=evolve(SHORT, reach=1)))
    with pytest.raises(NodeUnreachable, match="scheduler"):
        cluster.get_client()
    assert (len(lines(caplog, logging.WARNING)), len(lines(caplog, logging.ERROR))) == (1, 1)
    cluster.destroy()
    assert held(settings) == []


def power_off(sandbox: SandboxThread, name: str) -> None:
    """Switch a server off, as somebody in the cloud's console would."""
    api = Api(sandbox.settings)
    (row,) = [row for row in api("GET", "/servers").body["servers"] if row["name"] == name]
    api.done(api("POST", f"/servers/{row['id']}/actions/poweroff").body["action"])
    api.close()
