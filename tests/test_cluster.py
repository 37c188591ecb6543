# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster's life on real hosts: one is made for all tests here, which look at it from all sides."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from attrs import evolve
from conftest import TIME_SCALE
from distributed.comm.core import CommClosedError
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster, ClusterSpec, Event, Phase, sync
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.environments.interpreter import own_client
from scherbelberg.environments.versions import Versions
from scherbelberg.errors import (
    ClusterExists,
    ClusterNotFound,
    NodeNotFound,
    StateDamaged,
    StateMissing,
    VersionMismatch,
)
from scherbelberg.nodes.connections import find_node
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

_MOST_TRIES = 1000


class Life:
    """One living cluster and all that was said while it was made."""

    def __init__(self, sandbox: SandboxThread, settings: Settings) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.events: list[Event] = []
        spec = ClusterSpec(prefix="life", workers=2, network_range=settings.network_range, timeouts=SHORT)
        self.cluster = sync.Cluster.from_new(spec, settings=settings, listen=self.events.append)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A cluster with two workers."""
    folder = tmp_path_factory.mktemp("Leben & Würde")
    with SandboxThread(folder / "sandbox", Options(time_scale=TIME_SCALE)) as sandbox:
        settings = settings_for(sandbox, folder / "home")
        life = Life(sandbox, settings)
        yield life
        life.cluster.destroy()
        assert held(settings) == []
        assert folders(settings) == []


def test_nodes_are_named_and_addressed(life: Life) -> None:
    """The scheduler comes first, workers are counted from zero, and each has both addresses."""
    assert [node.name for node in life.cluster.nodes] == ["scheduler", "worker000", "worker001"]
    assert all(node.public_ip and node.private_ip for node in life.cluster.nodes)


def test_every_node_went_through_every_phase(life: Life) -> None:
    """Each node tells the end of each of its phases, and the cluster those of the whole."""
    ended = {(event.node, event.phase) for event in life.events if event.state in {"done", "skipped"}}
    for node in life.cluster.nodes:
        phases = (Phase.RENT, Phase.REACH, Phase.PUSH, Phase.HOSTKEY, Phase.ENVIRONMENT, Phase.TLS, Phase.SERVICE)
        assert {(node.name, phase) for phase in phases} <= ended
    assert {(None, phase) for phase in (Phase.PLAN, Phase.CREDENTIALS, Phase.NETWORK, Phase.PROOF)} <= ended
    assert set(life.cluster.phases) >= {"plan", "rent", "reach", "environment", "service", "proof"}


def test_versions_are_proven(life: Life) -> None:
    """The cluster knows the versions that client, scheduler and workers share."""
    assert {"python", "dask", "distributed", "tornado"} <= set(life.cluster.versions)


def test_blocking_client_computes_on_all_workers(life: Life) -> None:
    """A client for blocking use runs work on every worker, by name."""
    with life.cluster.get_client() as client:
        futures = [client.submit(pow, 2, 10, workers=[name], pure=False) for name in ("worker000", "worker001")]
        assert client.gather(futures) == [1024, 1024]


async def test_blocking_inside_a_running_loop(life: Life) -> None:
    """With a running loop in this thread, blocking calls of the client do not deadlock, and the dashboard is there."""
    cluster = await Cluster.from_existing("life", settings=life.settings)
    async with cluster:
        client = await cluster.get_client()
        try:
            assert client.submit(sum, [1, 2, 3]).result(timeout=20) == 6
            # A blocking call in a coroutine is the point: that is what a notebook's cell does.
            page = requests.get(client.dashboard_link.replace("/status", "/health"), timeout=10)  # noqa: ASYNC210
            assert (page.status_code, page.text) == (200, "ok")
        finally:
            client.close()


async def test_asynchronous_client(life: Life) -> None:
    """A client for use with await lives on the caller's own loop."""
    cluster = await Cluster.from_existing("life", settings=life.settings)
    async with cluster, await cluster.get_client(asynchronous=True) as client:
        assert await client.submit(sum, [4, 5]) == 9
        assert client.loop.asyncio_loop is asyncio.get_running_loop()


def test_lost_ssh_is_opened_again_on_the_same_port(life: Life) -> None:
    """A client survives the loss of the SSH connection below its tunnel."""
    with life.cluster.get_client() as client:
        address = client.scheduler.address
        before = client.scheduler_info()["id"]
        remote = life.cluster._inner._connections.remote("scheduler")
        private_loop().submit(remote.close()).result()
        for _ in range(_MOST_TRIES):
            # Whoever uses it in the moment of the loss, before Dask has noticed, hears of that.
            with suppress(CommClosedError, CancelledError):
                client.wait_for_workers(2, timeout=60)
                assert client.submit(sum, [1, 1]).result(timeout=60) == 2
                break
        else:
            pytest.fail("the client does not come back")
        assert (client.scheduler.address, client.scheduler_info()["id"]) == (address, before)


def test_planted_host_keys_are_gone(life: Life) -> None:
    """Each node keeps the host key that was born on it alone, and that one is pinned; no planted one is left here."""
    (folder,) = Store(life.settings.home).folders()
    assert not (folder.path / "planted.json").exists()
    hosts = _hosts(life)
    files = [host / "etc/ssh/scherbelberg_host_ed25519_key.pub" for host in hosts]
    born = {file.read_text(encoding="utf-8").split()[1] for file in files}
    assert [list((host / "etc/ssh").glob("ssh_host_*")) for host in hosts] == [[], [], []]
    assert {key.split()[1] for node in folder.read().nodes for key in node.host_keys} == born


def test_node_keys_stay_where_they_were_born(life: Life) -> None:
    """No node holds the authority's key or the client's, and this computer holds no node's."""
    (folder,) = Store(life.settings.home).folders()
    ours = {path.read_bytes() for path in folder.path.iterdir() if path.name.endswith("-key.pem")}
    theirs = {path.read_bytes() for path in _host_files(life) if path.suffix in {".pem", ".key"}}
    assert len(ours) == 2
    assert not any(key in content for key in ours for content in theirs)
    here = b"".join(path.read_bytes() for path in folder.path.iterdir())
    keys = [path.read_bytes() for path in _host_files(life) if path.name == "node.pem"]
    assert len(keys) == 3
    assert not any(key in here for key in keys)


def _hosts(life: Life) -> list[Path]:
    return [path for path in (life.sandbox.sandbox._folder / "hosts").iterdir() if (path / "root").is_dir()]


def _host_files(life: Life) -> list[Path]:
    roots = [host / place for host in _hosts(life) for place in ("opt", "root")]
    return [path for root in roots for path in _walk(root)]


def _walk(folder: Path) -> list[Path]:
    found = []
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            found += _walk(path)
        elif path.is_file():
            found.append(path)
    return found


def test_everything_here_is_private(life: Life) -> None:
    """Nobody else can enter the cluster's folder or read a file in it."""
    (folder,) = Store(life.settings.home).folders()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()} == {0o600}


def test_labels_are_on_everything(life: Life) -> None:
    """Every resource says whose it is, since when and until when; the network says that the cluster is ready."""
    for kind in ("servers", "networks", "firewalls", "ssh_keys"):
        headers = {"Authorization": f"Bearer {life.settings.access.token}"}
        for row in requests.get(f"{life.settings.access.endpoint}/{kind}", headers=headers, timeout=10).json()[kind]:
            labels = row["labels"]
            assert (labels["managed-by"], labels["prefix"], labels["uid"]) == ("scherbelberg", "life", life.cluster.uid)
            assert labels["owner"] == "anna_at_laptop"
            assert int(labels["deadline"]) - int(labels["created"]) == 12 * 3600
            assert labels.get("state") == ("ready" if kind == "networks" else None)


def test_second_create_is_refused(life: Life) -> None:
    """A ready cluster of the same name is neither adopted nor harmed."""
    before = held(life.settings)
    with pytest.raises(ClusterExists, match="'life' of anna_at_laptop"):
        sync.Cluster.from_new(prefix="life", settings=life.settings)
    assert held(life.settings) == before
    assert len(folders(life.settings)) == 1


def test_someone_else_with_the_same_name_is_refused(life: Life, tmp_path: Path) -> None:
    """On another computer the cluster is named with its owner, and cannot be entered or destroyed."""
    elsewhere = settings_for(life.sandbox, tmp_path / "elsewhere", owner="ben_at_desk")
    with pytest.raises(ClusterExists, match="'life' of anna_at_laptop"):
        sync.Cluster.from_new(prefix="life", settings=elsewhere)
    with pytest.raises(StateMissing, match="of anna_at_laptop"):
        sync.Cluster.from_existing("life", settings=elsewhere)
    assert folders(elsewhere) == []


def test_unknown_names(life: Life) -> None:
    """A cluster or node that does not exist is said not to exist."""
    with pytest.raises(ClusterNotFound, match="no cluster 'lif' in this project"):
        sync.Cluster.from_existing("lif", settings=life.settings)
    (folder,) = Store(life.settings.home).folders()
    with pytest.raises(NodeNotFound, match="no node 'worker002'; it has: scheduler, worker000, worker001"):
        find_node(folder.read(), "worker002")


def test_other_versions_get_no_client(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter with other versions than the cluster's is refused a client, with the difference named."""
    other = evolve(own_client(), versions=Versions(python="3.99.0", packages=life.cluster.versions))
    monkeypatch.setattr("scherbelberg.cluster.own_client", lambda: other)
    with pytest.raises(VersionMismatch, match=r"python is 3\.99\.0 on this computer"):
        life.cluster.get_client()


def test_fields_win_over_a_spec(life: Life) -> None:
    """What is said by name wins over what a spec says, and is not ignored."""
    with pytest.raises(ClusterExists, match="'life' of"):
        sync.Cluster.from_new(ClusterSpec(prefix="other"), prefix="life", settings=life.settings)


def test_damaged_key_is_named(life: Life) -> None:
    """A key file that was cut off is an error of ours."""
    (folder,) = Store(life.settings.home).folders()
    key = folder.path / "id_ed25519"
    before = key.read_bytes()
    try:
        key.write_bytes(before[:100])
        cluster = sync.Cluster.from_existing("life", settings=life.settings)
        with pytest.raises(StateDamaged, match="SSH key on this computer cannot be read"):
            cluster.get_client()
    finally:
        key.write_bytes(before)


def test_damaged_state_is_named(life: Life) -> None:
    """A manifest that cannot be read is an error that names the file and the way out."""
    (folder,) = Store(life.settings.home).folders()
    manifest = folder.path / "manifest.json"
    before = manifest.read_bytes()
    try:
        manifest.write_bytes(before[:100])
        with pytest.raises(StateDamaged, match=r"manifest\.json.*scherbelberg destroy -p life"):
            sync.Cluster.from_existing("life", settings=life.settings)
    finally:
        manifest.write_bytes(before)
