# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask on scripted hosts: who reaches it, what restarts it, and that all of it ends with its host."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest
from actors import SCHEDULER_IP, UID, Actor, acting, alone, nothing_runs_but
from distributed import Client, Scheduler, Security, Worker
from sandbox_helpers import WITHIN_S

from scherbelberg.concurrency.waiting import pause, until
from scherbelberg.environments.shipped import shipped_files
from scherbelberg.nodes.logs import MISSING, SCRIPT, Source, log_command
from scherbelberg.nodes.payload import command
from scherbelberg.sandbox.hosts.cloudinit import read_user_data
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.hosts.scripted.host import Timing
from scherbelberg.sandbox.hosts.scripted.network import Lan, Listening
from scherbelberg.sandbox.hosts.scripted.service import Service
from scherbelberg.state.keys import Certified, make_client


@pytest.fixture
async def actor(tmp_path: Path) -> AsyncIterator[Actor]:
    """A host that is to be a scheduler, and that leaves neither a task nor a file."""
    async with alone(tmp_path / "hosts") as scheduler:
        yield scheduler


async def test_other_settings_restart_the_service(actor: Actor) -> None:
    """Dask goes on when nothing changed, and is started anew where its settings did."""
    await actor.make()
    first = actor.hosts._lan.find(0, SCHEDULER_IP, 8786)
    assert first is not None
    await actor.push(born=True)
    assert (await actor.up(born=True)).said[-1] == "@phase service skipped"
    assert actor.hosts._lan.find(0, SCHEDULER_IP, 8786) is first
    changed = actor.having(SCHEDULER_PORT="8796")
    await changed.push(born=True)
    assert (await changed.up(born=True)).said[-1] == "@phase service done"
    assert actor.hosts._lan.find(0, SCHEDULER_IP, 8796) is not None
    assert actor.hosts._lan.find(0, SCHEDULER_IP, 8786) is None


async def test_service_that_breaks(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask that ends again and again is an error long before the deadline, with the last lines of its log."""

    async def fail(*_: object) -> None:
        raise OSError("no more memory")

    monkeypatch.setattr(Service, "_run_scheduler", fail)
    await actor.having(WAIT_S="600").push()
    ended = await actor.up()
    assert ended.said[-1] == f"@failed service Dask's scheduler does not answer at {SCHEDULER_IP}:8786"
    assert "Dask ended: OSError: no more memory\n" in ended.log


async def test_several_workers_on_one_host(tmp_path: Path) -> None:
    """A host runs as many workers as it is told to, with what they have to offer; its scheduler is there for all."""
    before = asyncio.all_tasks()
    async with acting(tmp_path / "hosts", "scheduler", "worker000") as (scheduler, worker):
        await scheduler.having(DIRECT_HOST=scheduler.address).make()
        await worker.having(PROCESSES="2", RESOURCES="GPU=1 DISK=2.5").make()
        async with Client(
            f"tls://{scheduler.address}:8786",
            security=security(tmp_path, scheduler.authority),
            asynchronous=True,
            set_as_default=False,
            direct_to_workers=False,
        ) as client:
            await client.wait_for_workers(2, timeout=WITHIN_S)
            identity = await client.scheduler.identity(n_workers=-1)
            rows = sorted(identity["workers"].values(), key=lambda row: str(row["name"]))
            assert [(row["name"], row["resources"]) for row in rows] == [
                ("worker000-0", {"GPU": 1.0, "DISK": 2.5}),
                ("worker000-1", {"GPU": 1.0, "DISK": 2.5}),
            ]
            assert await client.submit(abs, -1, resources={"GPU": 1}) == 1
    await nothing_runs_but(before)


def security(folder: Path, authority: Certified) -> Security:
    """A Dask client's certificate, and trust in the authority."""
    client = make_client(authority, uid=UID, now_s=time.time())
    for name, content in (("ca", authority.certificate), ("client", client.certificate), ("key", client.key)):
        (folder / f"{name}.pem").write_bytes(content)
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / "ca.pem"),
        tls_client_cert=str(folder / "client.pem"),
        tls_client_key=str(folder / "key.pem"),
    )


async def test_stop_and_start(actor: Actor) -> None:
    """The service is stopped and started, and says so."""
    await actor.make()
    listening = actor.hosts._lan.find(0, SCHEDULER_IP, 8786)
    assert listening is not None
    assert (await actor.run(command("status"), born=True)).said == ["running"]
    assert (await actor.run(command("stop"), born=True)).code == 0
    assert (await actor.run(command("status"), born=True)).said == ["stopped"]
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(*listening.place)
    assert (await actor.run(command("start"), born=True)).code == 0
    assert (await actor.run(command("status"), born=True)).said == ["running"]
    task = actor.hosts._hosts[0]._service._task
    assert (await actor.run(command("start"), born=True)).code == 0
    assert actor.hosts._hosts[0]._service._task is task


async def read_log(actor: Actor) -> list[str]:
    """What Dask has logged on a host that has its own host key."""
    return (await actor.run(log_command("dask", 20), stdin=shipped_files()[SCRIPT], born=True)).said


async def test_followed_log(actor: Actor) -> None:
    """A log is followed as long as somebody listens; where there is none yet, or half a script, that is said."""
    script = shipped_files()[SCRIPT]
    await actor.push()
    source: Source
    for source in ("dask", "bootstrap", "cloud-init"):
        ended = await actor.run(log_command(source, 5), stdin=script)
        assert (ended.code, ended.said, " here" in ended.log) == (MISSING, [], True)
    ended = await actor.run(log_command("dask", 5), stdin=script[:-3])
    assert (ended.code, "unexpected end of file" in ended.log) == (2, True)
    assert (await actor.up()).code == 0
    async with asyncio.timeout(WITHIN_S), await actor.connect(*actor._keys(born=True)) as connection:
        process = await connection.create_process(log_command("dask", 1, follow=True))
        process.stdin.write(script.decode())
        line = f"scheduler at tls://{SCHEDULER_IP}:8786\n"
        assert await process.stdout.readline() == line
        for word in ("stop", "start"):
            assert (await actor.run(command(word), born=True)).code == 0
        assert await process.stdout.readline() == line
        process.stdin.write_eof()
        assert (await process.wait()).exit_status == 0
    last = await actor.run(log_command("bootstrap", 9, most_bytes=5), stdin=script, born=True)
    assert last.said == ["done"]


async def test_worker_that_comes_back(tmp_path: Path) -> None:
    """A worker whose scheduler ended is started again, and joins the next one."""
    async with acting(tmp_path / "hosts", "scheduler", "worker000") as (scheduler, worker):
        await scheduler.make()
        await worker.make()

        async def joined(times: int) -> bool | None:
            log = await read_log(worker)
            return log.count("worker worker000 joined") == times or None

        await until(lambda: joined(1), every_s=0.01, within_s=WITHIN_S, what="the worker")
        await scheduler.run(command("stop"), born=True)
        await scheduler.run(command("start"), born=True)
        await until(lambda: joined(2), every_s=0.01, within_s=WITHIN_S, what="the worker's return")


async def test_two_runs_at_once(actor: Actor) -> None:
    """A second run waits for the first."""
    await actor.push()
    async with await actor.connect() as connection:
        first = await connection.create_process(command("up"))
        await first.stdout.readline()
        await actor.having(WAIT_S="0.1").push()
        blocked = await actor.run(command("up"))
    assert blocked.said == ["@failed hostkey another run of this script is still busy on this machine"]
    assert (await actor.run(command("status"))).said == ["stopped"]


async def test_forwarding_to_what_is_there_alone(actor: Actor) -> None:
    """A connection is forwarded to services of the played network, and to nothing of this computer's."""
    await actor.make()
    async with await actor.connect(*actor._keys(born=True)) as connection:
        for place in ((SCHEDULER_IP, 8786), ("127.0.0.1", 8787)):
            _, writer = await connection.open_connection(*place)
            writer.close()
        for place in (("127.0.0.1", 8786), (actor.address, actor.port), (SCHEDULER_IP, 22), ("localhost", 8787)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection(*place)
        assert (await connection.run(command("status"))).stdout == "running\n"  # refused, and not cut off


async def test_machine_that_is_switched_off(actor: Actor) -> None:
    """Whatever is switched off cuts its connections, and nothing of it listens any more."""
    await actor.make()
    listening = actor.hosts._lan.find(0, SCHEDULER_IP, 8786)
    assert listening is not None
    connection = await actor.connect(*actor._keys(born=True))
    reader, _ = await connection.open_connection(SCHEDULER_IP, 8786)
    await actor.hosts.halt(0)
    async with asyncio.timeout(WITHIN_S):
        await connection.wait_closed()
        with suppress(asyncssh.Error, OSError):
            assert await reader.read() == b""
    for place in (listening.place, (actor.address, actor.port)):
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection(*place)
    assert actor.hosts._lan.find(0, SCHEDULER_IP, 8786) is None


async def test_connection_that_just_came(actor: Actor) -> None:
    """A machine that is switched off closes what it has accepted, however far the connection is."""
    for turns in range(6):
        with socket.create_connection((actor.address, actor.port)) as client:
            for _ in range(turns):
                await pause(0)
            await actor.hosts.halt(0)
            client.settimeout(WITHIN_S)
            with suppress(ConnectionResetError):
                while client.recv(100):
                    pass
        gc.collect()  # a socket that nobody closed complains now, and a complaint is a failure
        await actor.hosts.power_on(0, actor.address)
        await actor.hosts.boot(0)


async def test_servers_are_forgotten(tmp_path: Path) -> None:
    """Of Dask's servers nothing stays in memory when their hosts are gone, however many there were."""
    async with acting(tmp_path / "hosts", "scheduler", "worker000") as actors:
        for actor in actors:
            await actor.make()
        await until(lambda: all_joined(actors), every_s=0.01, within_s=WITHIN_S, what="the worker")
        servers = [weakref.ref(server) for server in (*Scheduler._instances, *Worker._instances)]
        assert len(servers) >= 2

    async def forgotten() -> bool | None:
        gc.collect()
        return None if any(server() for server in servers) else True

    await until(forgotten, every_s=0.01, within_s=WITHIN_S, what="the end of all servers")


async def all_joined(actors: list[Actor]) -> bool | None:
    """Whether the scheduler listens and the worker has joined."""
    logs = [line for host in actors[0].hosts._hosts.values() for line in host._service.log.last(100)]
    return "worker worker000 joined" in logs or None


async def test_snapshot(actor: Actor) -> None:
    """A host that is made from a snapshot has the other's files and a host key of its own."""
    await actor.make()
    await actor.hosts.save(0, 77)
    config = read_user_data(None)
    await actor.hosts.prepare(HostPlan(number=1, name="copy", authorized_keys=(), config=config, snapshot=77))
    copy = actor.root.with_name("1")
    installed = "opt/scherbelberg/etc/node.env"
    assert (copy / installed).read_bytes() == (actor.root / installed).read_bytes()
    keys = [root / "etc/ssh/ssh_host_ed25519_key" for root in (actor.root, copy)]
    assert keys[0].read_bytes() != keys[1].read_bytes()
    await actor.hosts.forget(77)
    assert sorted(path.name for path in actor.root.parent.iterdir()) == ["0", "1", "dask"]


@pytest.mark.parametrize("moment", range(6))
async def test_end_in_the_middle_of_a_start(tmp_path: Path, moment: int) -> None:
    """Hosts that are removed while their Dask starts and joins leave no task and no complaint."""
    before = asyncio.all_tasks()
    async with acting(tmp_path / "hosts", "scheduler", "worker000", timing=Timing(service_s=0)) as actors:
        await asyncio.gather(*(actor.push() for actor in actors))
        runs = [asyncio.create_task(actor.up()) for actor in actors]
        await until(lambda: reached(actors, moment), every_s=0, within_s=WITHIN_S, what="the moment")
        await asyncio.gather(*(actor.hosts.remove(number) for number, actor in enumerate(actors)))
        await asyncio.gather(*runs, return_exceptions=True)
    await nothing_runs_but(before)


async def reached(actors: list[Actor], moment: int) -> bool | None:
    """Whether so much of the start has happened."""
    services = [host._service for host in actors[0].hosts._hosts.values()]
    logs = [line for service in services for line in service.log.last(100)]
    return sum(service.running for service in services) + len(logs) >= moment or None


def test_lan() -> None:
    """Servers reach each other in networks that they share, and loopback is everybody's own."""
    places = {1: {10: "10.0.0.2"}, 2: {10: "10.0.0.3"}, 3: {20: "10.0.0.4"}, 4: {}}
    lan = Lan(places.__getitem__)
    there = Listening(place=("127.0.0.1", 1))
    lan.open(1, "10.0.0.2", 8786, there)
    lan.open(1, "127.0.0.1", 8787, there)
    assert [lan.find(number, "10.0.0.2", 8786) for number in places] == [there, there, None, None]
    assert [lan.find(number, "127.0.0.1", 8787) for number in places] == [there, None, None, None]
    assert lan.find(2, "10.0.0.2", 8787) is None
    assert (lan.has(1, "10.0.0.2"), lan.has(2, "10.0.0.2"), lan.has(4, "10.0.0.2")) == (True, False, False)
    places[1] |= {20: "10.0.0.5"}
    assert lan.find(3, "10.0.0.2", 8786) is None  # that network they do not share
    places[1] = {}  # detached
    assert lan.find(2, "10.0.0.2", 8786) is None
    places[1] = {10: "10.0.0.2"}
    lan.close(1)
    assert lan.find(2, "10.0.0.2", 8786) is None
