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
from ipaddress import IPv4Interface
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import field, frozen
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from scherbelberg.concurrency.waiting import pause
from scherbelberg.errors import BadInput, SandboxFailed
from scherbelberg.sandbox.addresses import AddressPool, claim, free_port
from scherbelberg.sandbox.api.http import ApiGateway, Witness, all_routes, make_application
from scherbelberg.sandbox.api.routing import Context, Router
from scherbelberg.sandbox.cloud.actions import ActionRunner
from scherbelberg.sandbox.cloud.networking import Networking
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.cloud.servers import Servers
from scherbelberg.sandbox.faults import FaultInjector, Faults, HostFault, HostFaults
from scherbelberg.sandbox.hosts.driver import Driver
from scherbelberg.sandbox.hosts.filesystem import environment_of, own_environment
from scherbelberg.sandbox.hosts.process.driver import ProcessHosts
from scherbelberg.sandbox.hosts.scripted.driver import ScriptedHosts
from scherbelberg.sandbox.hosts.system import check_platform
from scherbelberg.sandbox.options import USUAL, Options

__all__ = ["Faults", "Options", "Sandbox", "SandboxSettings", "SandboxThread", "sandbox_id"]

_NETWORK = "10.0.0.0/16"
#: Where machines take SSH.
_SSH_PORT = 22
_START_S = 30.0
_STOP_S = 60.0


@frozen(kw_only=True)
class SandboxSettings:
    """What a client needs in order to use a sandbox.

    Args:
        endpoint: URL of the API, without a slash at its end.
        token: The project's API token.
        read_token: Another one, which may only read.
        ssh_port: TCP port on which every host's SSH server listens.
        network_range: Range in which private networks must lie.
    """

    endpoint: str
    token: str = field(repr=False)
    read_token: str = field(repr=False)
    ssh_port: int
    network_range: str


def sandbox_id(folder: Path) -> str:
    """Name the sandbox of a folder; the mark of its processes begins with it, also when its server is gone."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def _no_witness(_request: object, _status: int, _body: object) -> None:
    """Watches nothing."""


class Sandbox:
    """An emulated cloud on the running event loop.

    Args:
        folder: Where its hosts live; made if absent, and emptied of them in the end.
        options: How it is.
        witness: Sees every request that was understood and its answer.
    """

    settings: SandboxSettings

    def __init__(self, folder: Path, options: Options = USUAL, *, witness: Witness = _no_witness) -> None:
        self.project = Project()
        self._folder = folder.resolve()
        self._options = options
        options.check(options.faults)
        self._witness = witness
        self._injector = FaultInjector(options.faults)
        self._gateway: ApiGateway | None = None
        self._addresses: AddressPool | None = None
        self._hosts: Driver | None = None
        self._servers: Servers | None = None
        self._http: HTTPServer | None = None

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return self._folder

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""
        return self._injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._replace_faults(faults)

    def _replace_faults(self, faults: Faults) -> None:
        self._injector = FaultInjector(self._options.check(faults))

    def _find_faults(self, name: str) -> tuple[HostFault, ...]:
        return self.faults.of_host(name)

    def _has_interface(self, number: int) -> bool:
        server = self.project.servers.get(number)
        return server is not None and not HostFaults(server.name, self._find_faults).has("no_interface")

    def _places(self, number: int) -> dict[int, str]:
        return self.project.private_places(number) if self._has_interface(number) else {}

    def _interfaces(self, number: int) -> dict[int, IPv4Interface]:
        return self.project.interfaces(number) if self._has_interface(number) else {}

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request so far."""
        return [] if self._gateway is None else self._gateway.requests

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
        self._addresses = addresses = claim()
        is_machine = self._options.hosts == "machine"
        port = _SSH_PORT if is_machine else free_port()
        hosts = self._folder / "hosts"
        if hosts.exists():
            raise SandboxFailed(f"The folder {self._folder} holds the hosts of another sandbox; stop that one first.")
        self._hosts = driver = await self._make_driver(hosts, port)
        router = self._make_router(addresses, driver)
        token, read_token = secrets.token_hex(32), secrets.token_hex(32)
        self._gateway = ApiGateway(
            router,
            token=token,
            read_token=read_token,
            clock=self.project.clock,
            injector=lambda: self._injector,
            witness=self._witness,
        )
        self._http = HTTPServer(make_application(self._gateway, replace=self._replace_faults))
        sockets = bind_sockets(0, addresses.api)
        self._http.add_sockets(sockets)
        self.settings = SandboxSettings(
            endpoint=f"http://{addresses.api}:{sockets[0].getsockname()[1]}/v1",
            token=token,
            read_token=read_token,
            ssh_port=port,
            network_range=str(addresses.private) if self._options.hosts == "process" else _NETWORK,
        )

    async def _make_driver(self, folder: Path, port: int) -> Driver:
        if self._options.hosts == "machine":
            return await self._start_machines(folder)
        if self._options.hosts == "process":
            given = self._options.node_python
            baked = own_environment() if given is None else await asyncio.to_thread(environment_of, given)
            self.project.label_images(baked.labels)
            return ProcessHosts(
                folder, sandbox_id=sandbox_id(self._folder), port=port, baked=baked, find_faults=self._find_faults
            )
        self.project.label_images(own_environment().labels)
        return ScriptedHosts(
            folder,
            port=port,
            places=self._places,
            find_faults=self._find_faults,
            pause=lambda seconds: pause(seconds * self._options.time_scale),
        )

    async def _start_machines(self, folder: Path) -> Driver:
        # Here alone: these modules need Linux.
        from scherbelberg.sandbox.hosts.machine.driver import MachineHosts  # noqa: PLC0415
        from scherbelberg.sandbox.hosts.machine.network import PUBLIC_NET  # noqa: PLC0415

        machines = MachineHosts(
            folder,
            places=self._interfaces,
            rules=self.project.rules,
            find_faults=self._find_faults,
            release=self._options.base,
        )
        try:
            await machines.start()
        except BaseException:
            await machines.close()
            raise
        if self._addresses is not None:
            self._addresses.public = PUBLIC_NET
        return machines

    def _make_router(self, addresses: AddressPool, driver: Driver) -> Router:
        if self._options.hosts == "process":
            addresses.private_ranges = (addresses.private,)
        runner = ActionRunner(
            self.project,
            time_scale=self._options.time_scale,
            delays=self._options.delays,
            faults=lambda: self._injector.faults,
        )
        networking = Networking(runner, addresses)
        self._servers = Servers(runner, driver, networking)
        context = Context(
            project=self.project,
            runner=runner,
            servers=self._servers,
            networking=networking,
            addresses=addresses,
            faults=lambda: self._injector.faults,
        )
        return Router(all_routes(context))

    async def stop(self) -> None:
        """Answer no more, end all hosts, delete their files."""
        async with contextlib.AsyncExitStack() as steps:  # the last one first, and each whatever becomes of the others
            steps.callback(self._remove_folder)
            if self._addresses is not None:
                steps.callback(self._addresses.close)
            if self._hosts is not None:
                steps.push_async_callback(self._hosts.close)
            if self._servers is not None:
                steps.push_async_callback(self._servers.close)
            if self._http is not None:
                steps.push_async_callback(self._http.close_all_connections)
                steps.callback(self._http.stop)

    def _remove_folder(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # others may keep files there


class SandboxThread:
    """A sandbox on a thread and an event loop of its own, for as long as a ``with`` block runs.

    Args:
        folder: As for `Sandbox`.
        options: As for `Sandbox`.
        witness: As for `Sandbox`.
    """

    def __init__(self, folder: Path, options: Options = USUAL, *, witness: Witness = _no_witness) -> None:
        self.sandbox = Sandbox(folder, options, witness=witness)
        self._ready: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._enough = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scherbelberg-sandbox", daemon=True)

    @property
    def settings(self) -> SandboxSettings:
        """What a client needs."""
        return self.sandbox.settings

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults; when this returns, the next request is number 1."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def replace() -> None:
            try:
                self.sandbox.faults = faults
            except BadInput as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._ready.result().call_soon_threadsafe(replace)
        done.result(_START_S)

    def set_clock(self, ahead_s: float) -> None:
        """Let the cloud's clock be ahead of this computer's by so many seconds."""
        self.sandbox.project.clock.set(ahead_s)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._ready.result(_START_S)
        except TimeoutError:
            self._ready.add_done_callback(lambda _: self._enough.set())  # in its own loop, as soon as it has started
            raise SandboxFailed(f"The sandbox did not start within {_START_S:.0f} s; try again.") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.result().call_soon_threadsafe(self._enough.set)
        self._thread.join(_STOP_S)
        if kind is not None:
            return
        if self._thread.is_alive():
            raise SandboxFailed(f"The sandbox in {self.sandbox.folder} did not end within {_STOP_S:.0f} s.")
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the start or the end must hear of it
            if self._ready.done():
                self._failure = error
            else:
                self._ready.set_exception(error)

    async def _live(self) -> None:
        await self.sandbox.start()
        self._ready.set_result(asyncio.get_running_loop())
        try:
            await self._enough.wait()
        finally:
            await self.sandbox.stop()
