# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""activity.py with Dask's own scheduler and workers: what is work, above all data under way, and what is not."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Scheduler, Security, Worker
from gates import Gate
from process_node import free_port

import scherbelberg

_WITHIN_S = 60
#: More than sockets and their buffers hold.
_MUCH = 48 * 2**20
#: A message's first part, behind the handshake.
_SOME = 2**20


def _load() -> Any:
    path = Path(scherbelberg.__file__).parent / "share" / "activity.py"
    spec = importlib.util.spec_from_file_location("activity", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ACTIVITY = _load()


class Watched:
    """A scheduler and workers that are looked at when a test wants it, and a client.

    The client and the way to the first worker lead through gates.
    """

    def __init__(self, scheduler: Scheduler, workers: tuple[Worker, ...], client: Client, file: Path) -> None:
        self.scheduler, self.workers, self.client = scheduler, workers, client
        self._file = file
        self._turns: asyncio.Queue[None] = asyncio.Queue()
        self._looked: asyncio.Queue[None] = asyncio.Queue()

    async def rest(self) -> None:
        """What is between two looks."""
        self._looked.put_nowait(None)
        await self._turns.get()

    async def start(self) -> None:
        """Wait until it was looked for the first time, and until there is nothing to do."""
        await self._looked.get()
        await self.until(busy=False)

    async def is_busy(self) -> bool:
        """Look when all workers have sent their measurements again, and say whether there was something to do."""
        before = {address: state.last_seen for address, state in self.scheduler.workers.items()}
        while any(before.get(address) == state.last_seen for address, state in self.scheduler.workers.items()):  # noqa: ASYNC110 - Dask tells nobody
            await asyncio.sleep(0.005)
        self._turns.put_nowait(None)
        await self._looked.get()
        now_s, last_s = self._file.read_text(encoding="utf-8").split()
        return now_s == last_s

    async def until(self, *, busy: bool) -> None:
        """Look again and again until there is something to do, or nothing."""
        async with asyncio.timeout(_WITHIN_S):
            while await self.is_busy() != busy:
                pass

    async def stays(self, *, busy: bool, looks: int = 3) -> bool:
        """Whether it stays so for some looks."""
        return [await self.is_busy() for _ in range(looks)] == [busy] * looks


@asynccontextmanager
async def watched(file: Path, client_gate: Gate, worker_gate: Gate) -> AsyncIterator[Watched]:
    """Start all of that, idle."""
    security = Security.temporary()
    async with AsyncExitStack() as stack, asyncio.timeout(_WITHIN_S):
        around: dict[str, Any] = {"security": security, "host": "127.0.0.1", "protocol": "tls", "dashboard": False}
        scheduler = await stack.enter_async_context(Scheduler(port=0, dashboard_address=":0", **around))
        ports = free_port(), free_port()
        await stack.enter_async_context(client_gate.before(scheduler.port))
        await stack.enter_async_context(worker_gate.before(ports[0]))
        workers = []
        for port, contact in zip(ports, (f"tls://127.0.0.1:{worker_gate.port}", None), strict=True):
            where: dict[str, Any] = {"port": port, "contact_address": contact, "local_directory": str(file.parent)}
            worker = Worker(scheduler.address, nthreads=1, **where, **around)
            await ACTIVITY.dask_setup(worker)
            workers.append(await stack.enter_async_context(worker))
        client = Client(
            f"tls://127.0.0.1:{client_gate.port}",
            security=security,
            asynchronous=True,
            set_as_default=False,
        )
        await stack.enter_async_context(client)
        one = Watched(scheduler, tuple(workers), client, file)
        watch = asyncio.create_task(ACTIVITY.watch(scheduler, file, rest=one.rest))
        stack.callback(watch.cancel)
        await one.start()
        yield one


@pytest.fixture
def gates() -> tuple[Gate, Gate]:
    """The client's, and the first worker's."""
    return Gate(), Gate()


async def test_who_is_only_there(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """Heartbeats of workers and client, results in memory, and who comes or goes are no work."""
    async with watched(tmp_path / "activity", *gates) as one:
        for _ in range(6):
            one.client._heartbeat()
            await one.client._update_scheduler_info()
            assert not await one.is_busy()
        future = await one.client.scatter(b"x" * _SOME)
        await one.until(busy=False)
        assert await one.stays(busy=False)
        security = one.client.security
        around: dict[str, Any] = {"security": security, "dashboard": False, "local_directory": str(tmp_path)}
        async with Worker(one.scheduler.address, nthreads=1, host="127.0.0.1", **around):
            assert len(one.scheduler.workers) == 3
            assert await one.stays(busy=False)
        assert await one.stays(busy=False)
        del future


async def test_tasks(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """A task is work while it runs, and when it ended between two looks."""
    async with watched(tmp_path / "activity", *gates) as one:
        assert await one.client.submit(abs, -1) == 1
        assert await one.is_busy()
        await one.until(busy=False)


async def test_short_transfers(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """What was sent between two looks counts: to workers, from a worker, and from one to the other."""
    async with watched(tmp_path / "activity", *gates) as one:
        first, second = (worker.address for worker in one.workers)
        future = await one.client.scatter(b"x" * 1000, workers=[first])
        assert await one.is_busy()
        await one.until(busy=False)
        assert await one.client.gather(future) == b"x" * 1000
        assert await one.is_busy()
        await one.until(busy=False)
        await one.client.replicate([future], workers=[first, second])
        assert await one.is_busy()
        await one.until(busy=False)


async def test_scatter_under_way(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """What a client sends is work for as long as it is under way, on a slow line to the scheduler, too."""
    gate, _ = gates
    async with watched(tmp_path / "activity", *gates) as one:
        gate.hold_after(_SOME)
        work = asyncio.create_task(one.client.scatter(_data(), hash=False))
        await gate.is_stuck()
        await one.until(busy=True)
        assert await one.stays(busy=True)
        assert not one.scheduler.tasks
        gate.let_pass()
        future = await work
        await one.until(busy=False)
        assert future.status == "finished"


async def test_many_small_parts(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """It makes no difference if no part of it is large."""
    gate, _ = gates
    async with watched(tmp_path / "activity", *gates) as one:
        gate.hold_after(_SOME)
        parts = [bytearray(500) for _ in range(4000)]
        work = asyncio.create_task(one.client.scatter(parts, hash=False))
        await gate.is_stuck()
        await one.until(busy=True)
        assert await one.stays(busy=True)
        gate.let_pass()
        assert len(await work) == len(parts)
        await one.until(busy=False)


async def test_scatter_to_a_worker_under_way(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """It is work as well between scheduler and worker."""
    _, gate = gates
    async with watched(tmp_path / "activity", *gates) as one:
        gate.hold_after(_SOME)
        work = asyncio.create_task(one.client.scatter(_data(), workers=[one.workers[0].address], hash=False))
        await gate.is_stuck()
        await one.until(busy=True)
        assert await one.stays(busy=True)
        assert any(state.metrics["scherbelberg_moving"] for state in one.scheduler.workers.values())
        gate.let_pass()
        await work
        await one.until(busy=False)


@pytest.mark.parametrize("where", ["at the client", "at a worker"])
async def test_gather_under_way(tmp_path: Path, gates: tuple[Gate, Gate], where: str) -> None:
    """What a client fetches is work until it has all of it, wherever the slow line is."""
    gate = gates[where == "at a worker"]
    async with watched(tmp_path / "activity", *gates) as one:
        future = await one.client.scatter(_data(), workers=[one.workers[0].address], hash=False)
        await one.until(busy=False)
        gate.hold_after(_SOME)
        work = asyncio.create_task(_fetch(one.client, future))
        await gate.is_stuck()
        await one.until(busy=True)
        assert await one.stays(busy=True)
        gate.let_pass()
        assert await work == _MUCH
        await one.until(busy=False)


async def test_workers_among_themselves(tmp_path: Path, gates: tuple[Gate, Gate]) -> None:
    """What one worker fetches from the other is work while it is under way."""
    _, gate = gates
    async with watched(tmp_path / "activity", *gates) as one:
        first, second = (worker.address for worker in one.workers)
        future = await one.client.scatter(_data(), workers=[first], hash=False)
        await one.until(busy=False)
        gate.hold_after(_SOME)
        work = asyncio.create_task(one.client.replicate([future], workers=[first, second]))
        await gate.is_stuck()
        await one.until(busy=True)
        assert await one.stays(busy=True)
        gate.let_pass()
        await work
        await one.until(busy=False)


async def _fetch(client: Client, future: Any) -> int:
    return len(await client.gather(future))


def _data() -> bytearray:
    return bytearray(_MUCH)
