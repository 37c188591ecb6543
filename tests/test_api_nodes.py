# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What programs do with the machines of a living cluster, and uploads to it; one cluster serves all tests here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from surroundings import SHORT, settings_for

from scherbelberg import Cluster, sync
from scherbelberg.errors import BadInput, NodeNotFound, NodeUnreachable, TransferFailed, WaitTimeout
from scherbelberg.sandbox.faults import Faults, HostFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.keys import make_ssh_pair

_WITHIN_S = 60


@pytest.fixture(scope="module")
def around(emulated: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that lead to the module's cloud."""
    return settings_for(emulated, tmp_path_factory.mktemp("Zuhause"))


@pytest.fixture(scope="module")
def cluster(around: Settings) -> Iterator[sync.Cluster]:
    """A cluster with one worker."""
    made = sync.Cluster.from_new(prefix="nodes", workers=1, timeouts=SHORT, settings=around)
    yield made
    made.destroy()


@pytest.fixture
def client(cluster: sync.Cluster) -> Iterator[Client]:
    """A client, with the worker there."""
    with cluster.get_client() as one:
        one.wait_for_workers(1, timeout=_WITHIN_S)
        yield one


def test_logs(cluster: sync.Cluster) -> None:
    """The last lines of a node's logs are values, of Dask's unless one says so; what is missing says why."""
    node = cluster.node("worker000")
    (dask,) = node.logs(lines=7)
    assert (dask.node, dask.source, len(dask.lines), dask.lacks) == ("worker000", "dask", 7, "")
    first, bootstrap = node.logs("bootstrap", "cloud-init", lines=1)
    assert (first.source, first.lines, first.lacks) == ("cloud-init", (), "cloud-init has written no log here")
    assert bootstrap.lines[0].endswith(" up ends with exit code 0 ---")
    with pytest.raises(BadInput, match="There is no log 'kernel'"):
        node.logs("kernel")  # type: ignore[arg-type] # which is the point


def test_a_node_is_a_value(cluster: sync.Cluster) -> None:
    """A node is found by its name, is equal to itself as listed, and shows nothing but what it is."""
    node = cluster.node("worker000")
    assert node == cluster.nodes[1]
    assert (node.name, node.role) == ("worker000", "worker")
    assert repr(node) == (
        f"Node(name='worker000', role='worker', server_type='{node.server_type}', public_ip='{node.public_ip}',"
        f" public_ipv6='{node.public_ipv6}',"
        f" private_ip='{node.private_ip}')"
    )
    with pytest.raises(NodeNotFound, match="no node 'worker001'; it has: scheduler, worker000"):
        cluster.node("worker001")


def test_no_direct_way_in(cluster: sync.Cluster) -> None:
    """Without ranges that are let in, there is no address to connect to directly."""
    assert cluster.direct_address is None


def test_run(cluster: sync.Cluster) -> None:
    """A command's outcome comes back whatever it is; one that does not end meets its deadline."""
    node = cluster.node("scheduler")
    done = node.run("echo grün; echo rot >&2; exit 3")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "grün\n", "rot\n")
    with pytest.raises(WaitTimeout, match=r"'read x' on scheduler did not happen within 0\.3 s"):
        node.run("read x", within_s=0.3)


def test_a_deadline_on_a_node_cuts_no_tunnel(cluster: sync.Cluster, client: Client) -> None:
    """A command that does not end takes neither a client's connection through the same node nor another command."""
    future = client.submit(lambda: "kept", pure=False)
    assert future.result(timeout=_WITHIN_S) == "kept"
    with pytest.raises(WaitTimeout):
        cluster.node("scheduler").run("read x", within_s=0.3)
    assert future.status == "finished"
    assert future.result(timeout=_WITHIN_S) == "kept"


def test_ping(cluster: sync.Cluster) -> None:
    """A node that answers says in how many seconds."""
    assert 0 < cluster.node("worker000").ping_ssh() < _WITHIN_S


async def test_ping_of_an_impostor(cluster: sync.Cluster, around: Settings) -> None:
    """A node that answers with another host key than its own is unreachable."""
    async with await Cluster.from_existing("nodes", settings=around) as other:
        other._connections.pin_host_keys("worker000", (make_ssh_pair().public,))
        with pytest.raises(NodeUnreachable, match=r"worker000 .*[Hh]ost key"):
            await other.node("worker000").ping_ssh()


def test_put_and_get_a_file(cluster: sync.Cluster, tmp_path: Path) -> None:
    """A file comes back as it was, with its mode; a folder that is there takes it under its own name."""
    node = cluster.node("worker000")
    path = tmp_path / "Maß & Zahl.sh"
    path.write_bytes(b"#!/bin/sh\necho \0\n" * 9999)
    path.chmod(0o750)
    node.put(path, "copy.sh")
    node.put(str(path), ".")
    assert node.run("stat -c %a copy.sh 'Maß & Zahl.sh'").stdout == "750\n750\n"
    node.get("copy.sh", tmp_path / "back.sh")
    assert (tmp_path / "back.sh").read_bytes() == path.read_bytes()
    assert (tmp_path / "back.sh").stat().st_mode & 0o777 == 0o750


async def test_put_and_get_a_folder(cluster: sync.Cluster, around: Settings, tmp_path: Path) -> None:
    """A folder comes back with all that is in it; what a link leads to is in it as well."""
    folder = tmp_path / "tree"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/leaf").write_text("leaf", encoding="utf-8")
    (tmp_path / "outside").write_text("outside", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "outside")
    async with await Cluster.from_existing("nodes", settings=around) as other:
        node = other.node("scheduler")
        await node.put(folder, "forest")
        await node.get("forest", tmp_path / "back")
    assert (tmp_path / "back/deep/er/leaf").read_text(encoding="utf-8") == "leaf"
    assert (tmp_path / "back/link").read_text(encoding="utf-8") == "outside"
    assert not (tmp_path / "back/link").is_symlink()


def test_what_cannot_be_copied(cluster: sync.Cluster, tmp_path: Path) -> None:
    """What is not there, on either side, is an error of its own that names both ends, and the node goes on."""
    node = cluster.node("worker000")
    with pytest.raises(TransferFailed, match=r"copying .*none to worker000:x was not reached: .*No such file"):
        node.put(tmp_path / "none", "x")
    with pytest.raises(TransferFailed, match=r"copying worker000:none to .*x was not reached: .*No such file"):
        node.get("none", tmp_path / "x")
    assert node.run("true").exit_code == 0


def test_uploaded_module(cluster: sync.Cluster, tmp_path: Path) -> None:
    """A module is there for scheduler and worker, before any client is; the worker's next process has it, too."""
    module = tmp_path / "uploaded_one.py"
    module.write_text("def answer():\n    return 42\n", encoding="utf-8")
    cluster.upload(module)
    with cluster.get_client() as client:
        client.wait_for_workers(1, timeout=_WITHIN_S)
        assert client.run_on_scheduler(eval, _ask("uploaded_one")) == 42
        assert client.submit(eval, _ask("uploaded_one"), pure=False).result(timeout=_WITHIN_S) == 42
        (before,) = client.run(os.getpid).values()
        psutil.Process(before).kill()
        assert client.submit(eval, _ask("uploaded_one"), pure=False).result(timeout=_WITHIN_S) == 42
        (after,) = client.run(os.getpid).values()
    assert after != before


def test_uploaded_package_is_replaced(cluster: sync.Cluster, client: Client, tmp_path: Path) -> None:
    """A package that has changed is there as it is now, what is deep in it included, beside a living client."""
    package = tmp_path / "uploaded_two"
    package.mkdir()
    (package / "__init__.py").write_text("from uploaded_two.deep import answer\n", encoding="utf-8")
    for number in (1, 2):
        (package / "deep.py").write_text(f"def answer():\n    return {number}\n", encoding="utf-8")
        cluster.upload(package)
        assert client.submit(eval, _ask("uploaded_two"), pure=False).result(timeout=_WITHIN_S) == number
        assert client.run_on_scheduler(eval, _ask("uploaded_two")) == number


@pytest.mark.parametrize("condition", ["True", "list(Worker._instances)"], ids=["anywhere", "on workers"])
def test_upload_that_cannot_be_imported(condition: str, cluster: sync.Cluster, client: Client, tmp_path: Path) -> None:
    """A module that fails when it is imported is refused with its own words, and forgotten."""

    def plugins(dask_scheduler: Any) -> list[str]:
        return [*dask_scheduler.plugins, *dask_scheduler.worker_plugins]

    module = tmp_path / "uploaded_three.py"
    source = f"from distributed import Worker\nif {condition}: raise ValueError('no way')\n"
    module.write_text(source, encoding="utf-8")
    with pytest.raises(BadInput, match=r"uploaded_three\.py cannot be imported on the cluster: ValueError: no way"):
        cluster.upload(module)
    assert not [name for name in client.run_on_scheduler(plugins) if "uploaded_three" in name]


def _ask(name: str) -> str:
    return f"__import__({name!r}).answer()"


async def test_reboot(cluster: sync.Cluster, around: Settings, emulated: SandboxThread) -> None:
    """A worker that is silent while it reboots answers then, its Dask runs in other processes, the cluster computes."""
    emulated.set_faults(Faults(hosts=(HostFault(how="silent"),)))
    async with await Cluster.from_existing("nodes", settings=around) as other:
        node = other.node("worker000")
        async with await other.get_client(asynchronous=True) as client:
            await client.wait_for_workers(1, timeout=_WITHIN_S)
            before = await client.run(os.getpid)
            await node.reboot()
            emulated.set_faults(Faults())
            assert (await node.run("bash scherbelberg-payload/bootstrap.sh status")).stdout == "running\n"
            await client.wait_for_workers(1, timeout=_WITHIN_S)
            assert await client.submit(sum, [1, 2], pure=False) == 3
            assert set(before.values()).isdisjoint((await client.run(os.getpid)).values())


async def test_reboot_of_the_scheduler(cluster: sync.Cluster, around: Settings) -> None:
    """After the scheduler's reboot, a client finds it at the same port, and the workers come back by themselves."""
    async with await Cluster.from_existing("nodes", settings=around) as other:
        async with await other.get_client(asynchronous=True) as client:
            before = client.scheduler.address
        await other.node("scheduler").reboot()
        async with await other.get_client(asynchronous=True) as client:
            await client.wait_for_workers(1, timeout=_WITHIN_S)
            assert await client.submit(sum, [1, 2], pure=False) == 3
            assert client.scheduler.address == before


def test_faces_at_once(cluster: sync.Cluster) -> None:
    """Several commands on one node do not wait for each other's end."""

    async def both(inner: Cluster) -> list[str]:
        node = inner.node("worker000")
        meet = "touch here.$1; until [ -e here.$2 ]; do :; done; echo $1"
        return [
            done.stdout
            for done in await asyncio.gather(*(node.run(f"set -- {a} {b}; {meet}") for a, b in ("12", "21")))
        ]

    assert asyncio.run(both(cluster._inner)) == ["1\n", "2\n"]
