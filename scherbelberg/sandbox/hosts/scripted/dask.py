# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Real schedulers and workers of Dask inside the sandbox's own process and loop, a hundred of them if need be.

The sandbox's only module that knows distributed. It is loaded when the first host starts Dask. Nothing of Dask's
configuration is changed, since whoever runs a sandbox in a thread has a Dask of their own in the same process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from distributed import Scheduler, Security, Worker, core
from distributed.comm.inproc import global_manager
from distributed.utils import DequeHandler
from tornado.ioloop import IOLoop

from scherbelberg.concurrency.waiting import shield_to_end

#: A heartbeat, or its absence, says nothing about a worker that shares the process with its scheduler.
_NEVER = "1000 days"
#: What distributed appends to the folder that it is given.
_SCRATCH = "dask-scratch-space"
_CLOSE_S = 10.0
_LOG_LINES = 100


class _LightServer:
    """A server without what only costs where a hundred share a process: clocks, monitors, profilers, and their logs."""

    def start_periodic_callbacks(self) -> None:
        """Measure nothing."""

    def _setup_logging(self, _logger: logging.Logger) -> None:
        # Each server's handler would be given the lines of all servers.
        self._deque_handler = DequeHandler(n=_LOG_LINES)


class _Scheduler(_LightServer, Scheduler):  # type: ignore[misc] # distributed is typed in part only
    pass


class _Worker(_LightServer, Worker):  # type: ignore[misc] # as above
    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere: nobody could reach it."""

    async def close(self, *_: Any, reason: str = "worker-close", **__: Any) -> str | None:
        """Wait for no work that is under way: a machine that is switched off does not either."""
        ended: str | None = await super().close(timeout=_CLOSE_S, executor_wait=False, nanny=False, reason=reason)
        return ended


class _OtherThreads(logging.Filter):
    """Keeps what the servers of this thread log out of the logs of the program that they are in.

    On a real node that fills a log of the node's own. Interrupted servers complain loudly, and are interrupted often.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let pass what is said in other threads."""
        return record.thread != self._thread


class DaskServers:
    """What all servers of one event loop share. Make it on that loop.

    Args:
        folder: Where they may write; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = str(folder)
        self._others = _OtherThreads()
        # Each logger, since a filter does not count for those below it, and the handlers may be anybody's.
        names = {name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"}
        names.add("distributed.http.proxy")  # is loaded with the first scheduler, and has something to say then
        self._loggers = tuple(logging.getLogger(name) for name in names)
        for logger in self._loggers:
            logger.addFilter(self._others)
        # Every server puts its folder in front of the import path unless it is there. At its end, other threads that
        # are importing do not miss an entry when it goes again.
        self._path = str((folder / _SCRATCH).absolute())
        sys.path.append(self._path)
        if not hasattr(loop := IOLoop.current(), "profile"):
            # Else a thread would be started that looks at this one a hundred times a second.
            loop.profile = deque()  # type: ignore[attr-defined] # distributed's own addition
        if not global_manager._ip:  # noqa: SLF001 - it would look for a way out of this computer, and warn of none
            global_manager._ip = "127.0.0.1"  # noqa: SLF001

    def close(self) -> None:
        """Leave the process as it was."""
        for logger in self._loggers:
            logger.removeFilter(self._others)
        with contextlib.suppress(ValueError):
            sys.path.remove(self._path)

    @asynccontextmanager
    async def scheduler(self, host: str, *, authority: Path, certified: Path) -> AsyncIterator[Scheduler]:
        """Run a scheduler.

        Args:
            host: Address of this computer's where it listens, at any port.
            authority: Certificate of the cluster's authority.
            certified: Its own key and certificate.
        """
        security = Security(
            tls_ca_file=str(authority),
            tls_scheduler_cert=str(certified),
            tls_scheduler_key=str(certified),
        )
        server = _Scheduler(
            host=host,
            protocol="tls",
            security=security,
            dashboard=False,
            dashboard_address=f"{host}:0",
            worker_ttl=_NEVER,
            local_directory=self._folder,
            needs_workdir=False,
        )
        try:
            await server
            await server.listen("inproc://")
            yield server
        finally:
            await shield_to_end(_close(server))

    @asynccontextmanager
    async def worker(self, name: str, scheduler: str, *, resources: Mapping[str, float]) -> AsyncIterator[Worker]:
        """Run a worker with one thread.

        Args:
            name: Its name.
            scheduler: The scheduler's address inside this process.
            resources: What it has of whatever a client counts.
        """
        server = _Worker(
            scheduler,
            name=name,
            nthreads=1,
            resources=dict(resources),
            memory_limit=0,
            heartbeat_interval=_NEVER,
            local_directory=self._folder,
            needs_workdir=False,
        )
        try:
            await server
            yield server
        finally:
            await shield_to_end(_close(server))


async def _close(server: Scheduler | Worker) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await server.close()
    except TimeoutError:
        pass
    finally:
        _forget_methods()


def _forget_methods() -> None:
    """Empty a cache of distributed's that holds methods of all servers there ever were, and so the servers."""
    clear = getattr(getattr(core, "_expects_comm", None), "cache_clear", None)
    if clear is not None:
        clear()
