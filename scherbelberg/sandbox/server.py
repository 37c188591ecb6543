# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A sandbox: an API, its project, and the hosts behind it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import secrets
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.addresses import Territory, claim, free_port
from scherbelberg.sandbox.http import Door, make_application
from scherbelberg.sandbox.machines import Machines
from scherbelberg.sandbox.process_hosts import ProcessHosts
from scherbelberg.sandbox.project import Project
from scherbelberg.sandbox.routes import Routes
from scherbelberg.sandbox.system import check_platform
from scherbelberg.sandbox.traffic import Mishaps
from scherbelberg.sandbox.words import Faults, SandboxSettings

__all__ = ["Faults", "Sandbox", "SandboxSettings", "SandboxThread", "sandbox_id"]

_NO_FAULTS = Faults()
_START_S = 30.0
_STOP_S = 60.0


def sandbox_id(folder: Path) -> str:
    """Name the sandbox of a folder; the mark of its processes begins with it, also when its server is gone."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


class Sandbox:
    """An emulated cloud on the running event loop.

    Args:
        folder: Where its hosts live; made if absent, and emptied of them in the end.
        time_scale: Factor of all delays.
        faults: What goes wrong on purpose; may be replaced at any time, which begins the count of requests anew.
    """

    settings: SandboxSettings

    def __init__(self, folder: Path, *, time_scale: float = 1.0, faults: Faults = _NO_FAULTS) -> None:
        self.project = Project()
        self._folder = folder.resolve()
        self._scale = time_scale
        self._mishaps = Mishaps(faults)
        self._door: Door | None = None
        self._territory: Territory | None = None
        self._hosts: ProcessHosts | None = None
        self._machines: Machines | None = None
        self._server: HTTPServer | None = None

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return self._folder

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""
        return self._mishaps.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._mishaps = Mishaps(faults)

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request so far."""
        return [] if self._door is None else self._door.requests

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            SandboxFailed: It cannot run here.
        """
        check_platform(sys.platform)
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._territory = territory = claim()
        port = free_port()
        hosts = self._folder / "hosts"
        if hosts.exists():
            raise SandboxFailed(f"The folder {self._folder} holds the hosts of another sandbox; stop that one first.")
        self._hosts = ProcessHosts(hosts, sandbox_id=sandbox_id(self._folder), port=port)
        self._machines = Machines(self.project, driver=self._hosts, territory=territory, time_scale=self._scale)
        token = secrets.token_hex(32)
        routes = Routes(self.project, self._machines, territory)
        self._door = Door(routes, token=token, mishaps=lambda: self._mishaps)
        self._server = HTTPServer(make_application(self._door))
        sockets = bind_sockets(0, territory.api)
        self._server.add_sockets(sockets)
        self.settings = SandboxSettings(
            endpoint=f"http://{territory.api}:{sockets[0].getsockname()[1]}/v1",
            token=token,
            ssh_port=port,
            network_range=str(territory.private),
        )

    async def stop(self) -> None:
        """Answer no more, end all hosts, delete their files."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        if self._machines is not None:
            await self._machines.close()
        if self._hosts is not None:
            await self._hosts.close()
        if self._territory is not None:
            self._territory.close()
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # others may keep files there


class SandboxThread:
    """A sandbox on a thread and an event loop of its own, for as long as a ``with`` block runs.

    Args:
        folder: As for `Sandbox`.
        time_scale: As for `Sandbox`.
        faults: As for `Sandbox`.
    """

    def __init__(self, folder: Path, *, time_scale: float = 1.0, faults: Faults = _NO_FAULTS) -> None:
        self.sandbox = Sandbox(folder, time_scale=time_scale, faults=faults)
        self._ready: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._enough = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="scherbelberg-sandbox", daemon=True)

    @property
    def settings(self) -> SandboxSettings:
        """What a client needs."""
        return self.sandbox.settings

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults; when this returns, the next request is number 1."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def replace() -> None:
            self.sandbox.faults = faults
            done.set_result(None)

        self._ready.result().call_soon_threadsafe(replace)
        done.result(_START_S)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(_START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.result().call_soon_threadsafe(self._enough.set)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the start must hear of it
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _live(self) -> None:
        await self.sandbox.start()
        self._ready.set_result(asyncio.get_running_loop())
        try:
            await self._enough.wait()
        finally:
            await self.sandbox.stop()
