# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that play a node's part: an SSH server each, a few files, and real Dask without any process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncssh

from scherbelberg.sandbox.faults import FindHostFaults, HostFaults, no_host_faults
from scherbelberg.sandbox.hosts.driver import FolderHosts, HostPlan
from scherbelberg.sandbox.hosts.filesystem import make_root, own_environment, prepare_boot
from scherbelberg.sandbox.hosts.scripted.commands import run_command
from scherbelberg.sandbox.hosts.scripted.host import BAKED, HostState, Timing
from scherbelberg.sandbox.hosts.scripted.logs import Log
from scherbelberg.sandbox.hosts.scripted.network import Lan, Places
from scherbelberg.sandbox.hosts.scripted.service import LazyDaskServers, Service
from scherbelberg.sandbox.hosts.sshd import Process, Sshd

#: Exit statuses of a script that a signal ended, and of one that the sandbox could not play to its end.
_INTERRUPTED, _BROKEN = 130, 255
#: Waits for so many seconds at time scale 1.
Pause = Callable[[float], Coroutine[Any, Any, None]]


class ScriptedHost:
    """One host.

    Args:
        number: The server's number.
        root: Its folder.
        port: Where it takes SSH.
        timing: How long it takes over what.
        faults: What is wrong with it.
        lan: The private networks.
        dask: What runs Dask's servers.
        pause: Waits as long as the time scale says.
    """

    def __init__(
        self,
        number: int,
        root: Path,
        *,
        port: int,
        timing: Timing,
        faults: HostFaults,
        lan: Lan,
        dask: LazyDaskServers,
        pause: Pause,
    ) -> None:
        self._port = port
        self._sshd: Sshd | None = None
        self._switching = asyncio.Lock()
        self._death: asyncio.Task[None] | None = None
        self._service = Service(number, lan=lan, dask=dask)
        self._host = HostState(
            number=number,
            root=root,
            timing=timing,
            faults=faults,
            lan=lan,
            service=self._service,
            record=Log(),
            busy=asyncio.Lock(),
            pause=pause,
            die=self._die,
        )

    async def power_on(self, address: str | None, address_ipv6: str | None = None) -> None:
        """Give it power.

        Args:
            address: Where it will take SSH; None for nowhere.
            address_ipv6: Where it will take SSH as well, or None.
        """
        async with self._switching:
            if address is None:
                return
            self._service.host = address
            sshd = Sshd(
                self._host.root,
                address=address,
                address_ipv6=address_ipv6,
                port=self._port,
                serve=self._serve,
                faults=self._host.faults,
                find=self._find,
                files=False,
            )
            sshd.hold()
            self._sshd = sshd

    async def boot(self) -> None:
        """Start sshd, and nothing else."""
        async with self._switching:
            await asyncio.to_thread(prepare_boot, self._host.root)
            if self._sshd is not None:
                self._sshd.start()

    async def halt(self) -> None:
        """End everything that runs here."""
        async with self._switching:
            if self._sshd is not None:
                await self._sshd.stop()
                self._sshd = None
            await self._service.stop()

    async def remove(self) -> None:
        """Halt, then delete all files."""
        if self._death is not None:
            await asyncio.gather(self._death, return_exceptions=True)
        await self.halt()
        await asyncio.to_thread(shutil.rmtree, self._host.root, ignore_errors=True)

    def _die(self) -> None:
        # A task of its own: the session that plays the script is ended by it.
        self._death = asyncio.create_task(self.halt())

    def _find(self, address: str, port: int) -> tuple[str, int] | None:
        found = self._host.lan.find(self._host.number, address, port)
        return None if found is None else found.place

    async def _serve(self, process: Process) -> None:
        code = _BROKEN
        try:
            with contextlib.suppress(OSError, asyncssh.Error):  # the connection is lost
                code = await run_command(self._host, process)
        except (asyncssh.SignalReceived, asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            code = _INTERRUPTED
        finally:
            with contextlib.suppress(OSError, asyncssh.Error):
                process.exit(code)


class ScriptedHosts(FolderHosts[ScriptedHost]):
    """The driver.

    Args:
        folder: Below which the hosts' folders are.
        port: Where all hosts take SSH.
        places: Knows the servers' private addresses.
        pause: Waits as long as the time scale says.
        find_faults: Tells what is wrong with hosts.
        timing: How long all of them take over what.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        places: Places,
        pause: Pause,
        find_faults: FindHostFaults = no_host_faults,
        timing: Timing = BAKED,
    ) -> None:
        super().__init__(folder)
        self._port = port
        self._pause = pause
        self._find_faults = find_faults
        self._timing = timing
        self._lan = Lan(places)
        self._dask = LazyDaskServers(folder / "dask")
        folder.mkdir(parents=True, mode=0o700)

    async def prepare(self, plan: HostPlan) -> None:
        """Make a host; it is off."""
        root = self._root(plan.number)
        await asyncio.to_thread(make_root, root, plan, baked=own_environment(), disk=self._disk(plan), programs=False)
        self._hosts[plan.number] = ScriptedHost(
            plan.number,
            root,
            port=self._port,
            timing=self._timing,
            faults=HostFaults(plan.name, self._find_faults),
            lan=self._lan,
            dask=self._dask,
            pause=self._pause,
        )

    async def close(self) -> None:
        """Remove all hosts."""
        await self._remove_all()
        self._dask.close()
        await self._delete_folder()
