# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that are processes of the present user: an SSH server, a folder, and what clients start there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

from scherbelberg.sandbox.faults import FindHostFaults, HostFaultKind, HostFaults, no_host_faults
from scherbelberg.sandbox.hosts.driver import FolderHosts, HostPlan
from scherbelberg.sandbox.hosts.filesystem import Baked, make_root, prepare_boot, write_fake_programs
from scherbelberg.sandbox.hosts.process.sessions import LoginShell, host_environment, serve, shell
from scherbelberg.sandbox.hosts.sshd import Process, Sshd
from scherbelberg.sandbox.hosts.system import end_marked

#: How the script tells of the start of a phase.
_STARTS = re.compile(rb"^@phase (\w+) start", re.MULTILINE)
_SIGNALS: dict[HostFaultKind, str] = {"fails": "KILL", "hangs": "STOP"}


class ProcessHost:
    """One host.

    Args:
        root: Its folder.
        mark: In the environment of all its processes.
        faults: What is wrong with it.
        port: Where it takes SSH.
        fake_programs: Folder with programs that this computer may lack.
        baked: What its image holds.
    """

    def __init__(
        self, root: Path, *, mark: str, faults: HostFaults, port: int, fake_programs: Path, baked: Baked
    ) -> None:
        self._root = root
        self._baked = baked
        self._mark = mark
        self._faults = faults
        self._death: asyncio.Task[None] | None = None
        self._port = port
        self._fake_programs = fake_programs
        self._sshd: Sshd | None = None

    async def power_on(self, address: str | None, address_ipv6: str | None = None) -> None:
        """Give it power.

        Args:
            address: Where it will take SSH; None for nowhere.
            address_ipv6: Where it will take SSH as well, or None.
        """
        if address is not None:
            sshd = Sshd(
                self._root,
                address=address,
                address_ipv6=address_ipv6,
                port=self._port,
                serve=self._serve,
                faults=self._faults,
            )
            sshd.hold()
            self._sshd = sshd

    async def boot(self) -> None:
        """Start sshd, and nothing else: a host has no init that would start services."""
        await asyncio.to_thread(prepare_boot, self._root)
        if self._sshd is not None:
            self._sshd.start()

    async def halt(self) -> None:
        """End everything that runs here, daemons included."""
        if self._sshd is None:
            return
        # A session's end waits for its command's, so both are brought about at once; what slipped in between, after.
        await asyncio.gather(self._sshd.stop(), end_marked(self._mark))
        await end_marked(self._mark)
        self._sshd = None

    async def remove(self) -> None:
        """Halt, then delete all files."""
        if self._death is not None:
            await asyncio.gather(self._death, return_exceptions=True)
        await self.halt()
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def _serve(self, process: Process) -> None:
        environment = host_environment(
            self._root,
            baked=self._baked,
            mark=self._mark,
            fake_programs=self._fake_programs,
            ours=os.environ,
            client=process.env,
        )
        login = LoginShell(shell=environment["SHELL"], home=self._root / "root", environment=environment)
        await serve(process, login, interfere=self._interfere)

    def _interfere(self, output: bytes) -> str | None:
        """What becomes of a script that has just told of a phase's start."""
        for phase in _STARTS.findall(output):
            trouble = self._faults.in_phase(phase.decode())
            if trouble == "dies":
                # A task of its own: the session that runs the script is ended by it.
                self._death = asyncio.create_task(self.halt())
            elif trouble is not None:
                return _SIGNALS[trouble]
        return None


class ProcessHosts(FolderHosts[ProcessHost]):
    """The driver.

    Args:
        folder: Below which the hosts' folders are.
        sandbox_id: First part of each host's mark.
        port: Where all hosts take SSH.
        baked: What their system image holds.
        find_faults: Tells what is wrong with hosts.
    """

    def __init__(
        self, folder: Path, *, sandbox_id: str, port: int, baked: Baked, find_faults: FindHostFaults = no_host_faults
    ) -> None:
        shell()  # without bash, say so now
        super().__init__(folder)
        self._id = sandbox_id
        self._port = port
        self._baked = baked
        self._find_faults = find_faults
        write_fake_programs(self._fake_programs)

    @property
    def _fake_programs(self) -> Path:
        return self._folder / "fake-programs"

    async def prepare(self, plan: HostPlan) -> None:
        """Make a host; it is off."""
        root = self._root(plan.number)
        await asyncio.to_thread(make_root, root, plan, baked=self._baked, disk=self._disk(plan))
        self._hosts[plan.number] = ProcessHost(
            root,
            mark=f"{self._id}.{plan.number}",
            faults=HostFaults(plan.name, self._find_faults),
            port=self._port,
            fake_programs=self._fake_programs,
            baked=self._baked,
        )

    async def close(self) -> None:
        """Remove all hosts."""
        await self._remove_all()
        await end_marked(f"{self._id}.")
        await self._delete_folder()
