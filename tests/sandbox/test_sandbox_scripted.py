# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Scripted hosts: clusters of the real product on them, what goes wrong with them, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import requests
from attrs import evolve
from description import Witness
from sandbox_helpers import Api, Waiter, order
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster, ClusterSpec, Event, Phase, sync
from scherbelberg.concurrency.waiting import until
from scherbelberg.environments.versions import Baked, Client, Versions, baked_labels
from scherbelberg.errors import (
    BootstrapFailed,
    BootstrapHopeless,
    NodeUnreachable,
    SandboxFailed,
    ScherbelbergError,
    WaitTimeout,
)
from scherbelberg.nodes.connections import Connections
from scherbelberg.sandbox.faults import ActionFault, Faults, HostFault, HostFaultKind
from scherbelberg.sandbox.hosts.scripted.driver import ScriptedHosts
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import Sandbox, SandboxThread
from scherbelberg.settings import Settings

#: Fast, but slow enough that things still happen one after the other.
SCRIPTED = Options(hosts="scripted", time_scale=0.02)


class Notes(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note who it was."""
        self.threads.append(str(record.threadName))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts, which leaves no file, no thread of its own and nothing in the import path."""
    path, witness, notes = list(sys.path), Witness(), Notes()
    logging.getLogger("distributed").addHandler(notes)
    with SandboxThread(tmp_path / "Bühne & Brett", SCRIPTED, witness=witness) as sandbox:
        yield sandbox
    logging.getLogger("distributed").removeHandler(notes)
    assert "scherbelberg-sandbox" not in notes.threads
    assert logging.getLogger("distributed.core").filters == []
    assert witness.complaints == []
    assert not (tmp_path / "Bühne & Brett").exists()
    assert sys.path == path
    assert [thread.name for thread in threading.enumerate() if thread.name == "scherbelberg-sandbox"] == []


@pytest.fixture
def around(stage: SandboxThread, home: Path) -> Settings:
    """Settings that lead there."""
    return settings_for(stage, home)


def spec(workers: int) -> ClusterSpec:
    """A cluster, with deadlines that are short but for those that many nodes share."""
    return ClusterSpec(prefix="play", workers=workers, timeouts=SHORT)


def test_cluster_from_begin_to_end(stage: SandboxThread, around: Settings) -> None:
    """The product makes a cluster, proves it, computes on each worker, looks at its dashboard and gives it back."""
    events: list[Event] = []
    cluster = sync.Cluster.from_new(spec(3), settings=around, listen=events.append)
    assert around.network_range == "10.0.0.0/16"
    assert {node.private_ip for node in cluster.nodes} == {"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}
    ended = {(event.node, event.phase) for event in events if event.state in {"done", "skipped"}}
    for node in cluster.nodes:
        assert {(node.name, phase) for phase in (Phase.HOSTKEY, Phase.ENVIRONMENT, Phase.TLS, Phase.SERVICE)} <= ended
    with cluster.get_client() as client:
        workers = {row["name"] for row in client.scheduler_info(n_workers=-1)["workers"].values()}
        assert workers == {"worker000", "worker001", "worker002"}
        futures = [client.submit(pow, 2, 10, workers=[name], pure=False) for name in sorted(workers)]
        assert client.gather(futures) == [1024] * 3
        total = client.submit(sum, futures)  # a worker fetches from the others
        assert total.result(timeout=20) == 3072
        page = requests.get(client.dashboard_link.replace("/status", "/health"), timeout=10)
        assert (page.status_code, page.text) == (200, "ok")
    planted = [path.name for path in (stage.sandbox.folder / "hosts").glob("*/etc/ssh/ssh_host_*")]
    assert planted == []
    cluster.destroy()
    assert (held(around), folders(around)) == ([], [])
    assert [path.name for path in (stage.sandbox.folder / "hosts").iterdir()] == ["dask"]


def test_two_clusters_beside_each_other(around: Settings) -> None:
    """Clusters that share a range of addresses share neither workers nor authority."""
    one = sync.Cluster.from_new(prefix="one", workers=1, settings=around)
    two = sync.Cluster.from_new(prefix="two", workers=2, settings=around)
    for cluster, count in ((one, 1), (two, 2)):
        with cluster.get_client() as client:
            assert len(client.scheduler_info(n_workers=-1)["workers"]) == count
    one.destroy()
    two.destroy()
    assert held(around) == []


def test_attached_again(around: Settings) -> None:
    """Whoever comes later reaches the same scheduler over a connection of their own."""
    made = sync.Cluster.from_new(spec(1), settings=around)
    made.close()
    with sync.Cluster.from_existing("play", settings=around) as cluster, cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(timeout=20) == 3
    made.destroy()


def test_environment_that_is_not_there(stage: SandboxThread, around: Settings) -> None:
    """A machine without the client's environment is an error with node, phase and reason; nothing is left."""
    other = Versions(python="3.11.0", packages={"dask": "2026.6.9"})
    client = Client(versions=other, path=sys.executable, source="the test")
    # Its image says what is not true.
    stage.sandbox.project.label_images(baked_labels(Baked(versions=other, folder="")))
    with pytest.raises(
        BootstrapFailed, match=r"failed in phase environment: .*does not hold the environment"
    ) as caught:
        asyncio.run(Cluster.from_new(spec(2), settings=around, client=client))
    assert caught.value.phase == "environment"
    assert caught.value.node in {"scheduler", "worker000", "worker001"}
    assert f"{caught.value.node} bootstrap: bootstrap.sh: this machine's image" in caught.value.log_tail[-1]
    assert (held(around), folders(around)) == ([], [])


#: What is wrong with a host, the error, its phase and words.
WRONG: list[tuple[HostFaultKind, type[ScherbelbergError], str, str]] = [
    ("fails", BootstrapFailed, "hostkey", "the sandbox was told to fail here"),
    ("fails", BootstrapFailed, "service", "the sandbox was told to fail here"),
    ("dies", NodeUnreachable, "tls", "was lost or refused"),
    ("hangs", WaitTimeout, "environment", "did not happen within 3 s"),
    ("mute", NodeUnreachable, "reach", r"did not happen within 2 s .*no answer"),
    ("wrong_key", NodeUnreachable, "reach", "Host key is not trusted"),
    ("no_interface", BootstrapFailed, "environment", "did not appear within 1 s"),
]


@pytest.mark.parametrize(("how", "error", "phase", "words"), WRONG)
def test_hosts_that_go_wrong(
    stage: SandboxThread,
    around: Settings,
    *,
    how: HostFaultKind,
    error: type[ScherbelbergError],
    phase: str,
    words: str,
) -> None:
    """Whatever is wrong with a machine: it is named with its phase, and nothing is left."""
    wrong: Any = {"phase": phase} if how in ("fails", "dies", "hangs") else {}
    stage.set_faults(Faults(hosts=(HostFault(server="*-worker001", how=how, **wrong),)))
    short = evolve(spec(2), timeouts=evolve(SHORT, bootstrap=3, reach=2, node_wait=1, logs=1))
    with pytest.raises(error, match=words) as caught:
        sync.Cluster.from_new(short, settings=around)
    assert (caught.value.node, caught.value.phase) == ("worker001", phase)
    assert "worker001" in caught.value.message
    assert (held(around), folders(around)) == ([], [])


async def test_cancelled_after_a_failure(
    stage: SandboxThread, around: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cancels when a create has failed and all is given back already leaves no folder behind."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    close = Connections.close

    async def closed(links: Connections) -> None:
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

        async def is_cancelled() -> bool | None:
            return any(one.cancelling() for one in asyncio.all_tasks()) or None

        await until(is_cancelled, every_s=0.01, within_s=20, what="the cancellation")
        await close(links)

    monkeypatch.setattr(Connections, "close", closed)
    stage.set_faults(Faults(hosts=(HostFault(server="*-worker000", how="fails"),)))
    with pytest.raises(asyncio.CancelledError):
        await Cluster.from_new(spec(1), settings=around)
    assert (held(around), folders(around)) == ([], [])


def test_fault_that_every_node_has(stage: SandboxThread, around: Settings) -> None:
    """What the image lacks, no second node is tried for, not even where fewer would do; all is given back."""
    stage.set_faults(Faults(hosts=(HostFault(server="*-worker00?", how="no_program"),)))
    with pytest.raises(BootstrapHopeless, match="lacks nft") as caught:
        sync.Cluster.from_new(evolve(spec(2), min_workers=1), settings=around)
    assert caught.value.phase == "hostkey"
    tried = [(row.node, row.outcome) for row in caught.value.tried]
    assert set(tried) <= {("worker000", "failed"), ("worker001", "failed")}
    assert len(tried) == len(set(tried))
    assert (held(around), folders(around)) == ([], [])


def test_worker_that_never_joins(stage: SandboxThread, around: Settings) -> None:
    """A worker that runs and does not find its scheduler is named, with the last lines of its log."""
    stage.set_faults(Faults(hosts=(HostFault(server="*-worker001", how="never_joins"),)))
    short = evolve(spec(2), timeouts=evolve(SHORT, join=1))
    with pytest.raises(WaitTimeout, match="missing worker001") as caught:
        sync.Cluster.from_new(short, settings=around)
    assert any("worker001 dask: worker worker001 looks for tls://10.0" in line for line in caught.value.log_tail)
    assert held(around) == []


def test_hosts_that_recover(stage: SandboxThread, around: Settings) -> None:
    """What is wrong with hosts ends with the fault, also for those that are there already."""
    stage.set_faults(Faults(hosts=(HostFault(how="mute"), HostFault(how="never_joins"), HostFault(how="no_interface"))))

    def recover(event: Event) -> None:
        if (event.phase, event.state) == (Phase.REACH, "start"):
            stage.set_faults(Faults())

    sync.Cluster.from_new(spec(1), settings=around, listen=recover).destroy()


def test_silent_machine(stage: SandboxThread, around: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A machine that drops connections for longer than others is reached when it boots; the cloud's pace is known."""
    caplog.set_level(logging.INFO, "scherbelberg")
    stage.set_faults(Faults(hosts=(HostFault(how="silent"),), dead=("*-worker000",)))

    def was_met() -> bool:
        return any(line.startswith("Node worker000 ") and line.endswith(": silent") for line in caplog.messages)

    def revive() -> None:
        cloud = Api(stage.settings)
        Waiter().wait(was_met, what="a try")
        stage.set_faults(Faults(hosts=(HostFault(how="silent"),)))
        switch(cloud, "play-worker000", "reset")
        cloud.close()

    reviving = threading.Thread(target=revive)
    reviving.start()
    cluster = sync.Cluster.from_new(spec(1), settings=around)
    reviving.join()
    assert cluster._inner._connections.api is not None
    assert cluster._inner._connections.api.quickest_s is not None
    cluster.destroy()
    assert was_met()


def test_machine_that_is_switched_off(stage: SandboxThread, around: Settings) -> None:
    """A worker that is switched off is lost at once, and what the others do goes on; so it is with the scheduler."""
    cluster = sync.Cluster.from_new(spec(2), settings=around)
    api = Api(stage.settings)
    with cluster.get_client() as client:
        switch(api, "play-worker000", "poweroff")
        Waiter().wait(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 1, what="the loss of a worker")
        assert client.submit(sum, [2, 3]).result(timeout=20) == 5
    switch(api, "play-scheduler", "poweroff")
    assert not answers(cluster.nodes[0].public_ip or "", stage.settings.ssh_port)
    links = cluster._inner._connections
    links.manifest = evolve(links.manifest, spec=evolve(links.manifest.spec, timeouts=evolve(SHORT, reach=1)))
    with pytest.raises(NodeUnreachable):
        cluster.get_client()
    api.close()
    cluster.destroy()
    assert held(around) == []


def switch(api: Api, server: str, how: str) -> None:
    """Switch a server and wait until that is done."""
    (row,) = api("GET", "/servers", name=server).body["servers"]
    api.done(api("POST", f"/servers/{row['id']}/actions/{how}").body["action"])


def answers(host: str, port: int) -> bool:
    """Whether anything listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


async def test_time_scale(stage: SandboxThread) -> None:
    """What a host takes its time for passes as fast as the rest of the sandbox."""
    async with asyncio.timeout(20):
        await cast(ScriptedHosts, stage.sandbox._hosts)._pause(25)


async def test_folder_that_is_taken(stage: SandboxThread) -> None:
    """Two sandboxes cannot have one folder."""
    with pytest.raises(SandboxFailed, match="holds the hosts of another sandbox"):
        await Sandbox(stage.sandbox.folder, SCRIPTED).start()


def test_loopback_is_no_private_network(stage: SandboxThread) -> None:
    """Networks are what Hetzner allows, and not this computer's own addresses."""
    api = Api(stage.settings)
    refused = api("POST", "/networks", {"name": "n", "ip_range": "127.64.0.0/16"})
    assert (refused.status, refused.error["code"]) == (422, "invalid_input")
    assert api("POST", "/networks", {"name": "n", "ip_range": "172.16.0.0/12"}).status == 201
    api.close()


@pytest.mark.parametrize("hosts", ["scripted", "process"])
def test_server_that_was_never_made(tmp_path: Path, hosts: Literal["scripted", "process"]) -> None:
    """A server whose creation never ends has no host, and can be deleted all the same."""
    faults = Faults(actions=(ActionFault(command="create_server", how="endless"),))
    with SandboxThread(tmp_path / "stage", evolve(SCRIPTED, hosts=hosts, faults=faults)) as stage:
        api = Api(stage.settings)
        made = api("POST", "/servers", order()).body["server"]
        api.done(api("DELETE", f"/servers/{made['id']}").body["action"])
        assert api("GET", "/servers").body["servers"] == []
        api.close()


def test_stop_in_the_middle(tmp_path: Path, home: Path) -> None:
    """A sandbox that ends while hosts are being bootstrapped leaves nothing and complains of nothing."""
    begun = threading.Event()

    def listen(event: Event) -> None:
        if (event.node, event.phase, event.state) == ("worker001", Phase.SERVICE, "start"):
            begun.set()

    with SandboxThread(tmp_path / "stage", SCRIPTED) as stage:
        settings = settings_for(stage, home)
        hasty = evolve(spec(3), timeouts=evolve(SHORT, cloud=1, delete=1, reach=2))
        failed: list[BaseException] = []

        def make() -> None:
            try:
                sync.Cluster.from_new(hasty, settings=settings, listen=listen)
            except ScherbelbergError as error:
                failed.append(error)

        maker = threading.Thread(target=make)
        maker.start()
        assert begun.wait(60), failed
    maker.join(60)
    assert len(failed) == 1
    assert list(tmp_path.glob("stage*")) == []
