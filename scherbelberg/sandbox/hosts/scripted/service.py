# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask as the service of a scripted host: started, kept running, ended."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from scherbelberg.concurrency.waiting import gather_or_cancel, until
from scherbelberg.sandbox.hosts.scripted.logs import Log
from scherbelberg.sandbox.hosts.scripted.network import Lan, Listening

if TYPE_CHECKING:
    from scherbelberg.sandbox.hosts.scripted.dask import DaskServers

Pause = Callable[[], Coroutine[Any, Any, None]]

_LOOK_S = 0.05
#: A worker that did not find its scheduler for so long ends, and is started again.
_PATIENCE_S = 60.0


class LazyDaskServers:
    """What runs the servers; loaded when the first of them is started.

    Args:
        folder: Where they may write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: DaskServers | None = None

    async def servers(self) -> DaskServers:
        """Load it, in a thread, for it takes a while."""
        if self._servers is None:
            await asyncio.to_thread(importlib.import_module, "scherbelberg.sandbox.hosts.scripted.dask")
            from scherbelberg.sandbox.hosts.scripted.dask import DaskServers  # noqa: PLC0415 - heavy, and loaded by now

            self._servers = self._servers or DaskServers(self._folder)
        return self._servers

    def close(self) -> None:
        """Leave nothing."""
        if self._servers is not None:
            self._servers.close()
            self._servers = None


@frozen(kw_only=True)
class ServiceSpec:
    """What a service does.

    Args:
        role: ``scheduler`` or ``worker``.
        names: Names of the servers.
        authority: Certificate of the cluster's authority.
        certified: Its own key and certificate.
        scheduler: The scheduler's private address and port.
        dashboard: Address and port of its dashboard.
        direct: Another address where the scheduler listens, one of this computer's, or None.
        resources: What each worker has.
        joins: Tells whether a worker finds its scheduler at all.
        watch: Notes when the scheduler has something to do, for as long as it runs.
    """

    role: str
    names: tuple[str, ...]
    authority: Path
    certified: Path
    scheduler: tuple[str, int]
    dashboard: tuple[str, int]
    direct: str | None = None
    resources: Mapping[str, float] = field(factory=dict)
    joins: Callable[[], bool] = lambda: True
    watch: Callable[[object], Coroutine[Any, Any, None]] | None = None


class Service:
    """One host's.

    Args:
        number: The server's.
        host: Its address on this computer.
        lan: The private networks.
        dask: What runs the servers.
    """

    def __init__(self, number: int, *, lan: Lan, dask: LazyDaskServers) -> None:
        #: The host's address on this computer.
        self.host = "127.0.0.1"
        self.answers = False
        #: How often it ended by itself.
        self.ends = 0
        self.log = Log()
        self._number = number
        self._lan = lan
        self._dask = dask
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it is meant to run."""
        return self._task is not None

    def start(self, spec: ServiceSpec, *, first: Pause, again: Pause) -> None:
        """Start it.

        Args:
            spec: What it does.
            first: Waits as long as it takes to start.
            again: Waits before it is started again.
        """
        self.ends = 0
        self._task = asyncio.create_task(self._run(spec, first, again))

    async def stop(self) -> None:
        """End it; when this returns, nothing of it listens or runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, spec: ServiceSpec, first: Pause, again: Pause) -> None:
        serve = self._run_scheduler if spec.role == "scheduler" else self._run_worker
        await gather_or_cancel(*(self._keep_running(partial(serve, spec, name), first, again) for name in spec.names))

    async def _keep_running(self, serve: Pause, first: Pause, again: Pause) -> None:
        while True:
            await first()
            try:
                await serve()
                self.log.append("Dask ended")
            except Exception as error:  # noqa: BLE001 - whatever ends Dask is a line of its log, and it is started again
                self.log.append(f"Dask ended: {type(error).__name__}: {error}")
            finally:
                self.answers = False
                self._lan.close(self._number)
            self.ends += 1
            await again()

    async def _run_scheduler(self, spec: ServiceSpec, _name: str) -> None:
        servers = await self._dask.servers()
        async with servers.scheduler(self.host, authority=spec.authority, certified=spec.certified) as scheduler:
            over_tls, inside = scheduler.listeners
            if spec.direct is not None:
                await scheduler.listen(spec.direct, **scheduler.security.get_listen_args("scheduler"))
            place = Listening(place=over_tls.get_host_port(), inproc=inside.contact_address)
            pages = Listening(place=(scheduler.http_server.address, scheduler.http_server.port))
            self._lan.open(self._number, *spec.scheduler, place)
            self._lan.open(self._number, *spec.dashboard, pages)
            self.log.append(f"scheduler at tls://{spec.scheduler[0]}:{spec.scheduler[1]}")
            self.answers = True
            watch = asyncio.create_task(spec.watch(scheduler)) if spec.watch else None
            try:
                await scheduler.finished()
            finally:
                if watch is not None:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)

    async def _run_worker(self, spec: ServiceSpec, name: str) -> None:
        self.answers = True  # a nanny listens whether the scheduler is there or not
        servers = await self._dask.servers()
        self.log.append(f"worker {name} looks for tls://{spec.scheduler[0]}:{spec.scheduler[1]}")
        scheduler = await self._find_scheduler(spec, name)
        async with servers.worker(name, scheduler, resources=spec.resources) as worker:
            self.log.append(f"worker {name} joined")
            await worker.finished()

    async def _find_scheduler(self, spec: ServiceSpec, name: str) -> str:
        async def look() -> str | None:
            found = self._lan.find(self._number, *spec.scheduler) if spec.joins() else None
            return None if found is None else found.inproc

        return await until(
            look, every_s=_LOOK_S, growth=1.3, longest_s=0.5, within_s=_PATIENCE_S, what="The scheduler", node=name
        )
