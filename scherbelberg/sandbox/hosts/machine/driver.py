# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The driver of machines."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import IO, Any

from tornado.httpserver import HTTPServer

from scherbelberg.concurrency.waiting import pause
from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.faults import FindHostFaults, HostFaults, no_host_faults
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.hosts.machine.cgroups import MARK
from scherbelberg.sandbox.hosts.machine.image import cache_folder, ensure_image
from scherbelberg.sandbox.hosts.machine.machine import Machine
from scherbelberg.sandbox.hosts.machine.network import make_public, remove_leftovers, serve_metadata
from scherbelberg.sandbox.hosts.machine.programs import check_programs, run

_log = logging.getLogger(__name__)
_LOCK = Path("/run/scherbelberg-machines.lock")
#: How soon a change of networks or firewalls reaches a machine, in seconds.
_FOLLOW_S = 0.05
#: A server's addresses in private networks, by its number.
Places = Callable[[int], Mapping[int, IPv4Interface]]
#: The rules of a server's firewalls, by its number; None if it has none.
Rules = Callable[[int], Sequence[Mapping[str, Any]] | None]


class MachineHosts:
    """Runs machines, of which one sandbox at a time can be on a computer.

    Args:
        folder: Below which the machines' disks are.
        places: Where servers are in private networks.
        rules: What their firewalls let through.
        find_faults: Tells what is wrong with machines.
        release: Of Debian, which they boot; None for that of this computer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        places: Places,
        rules: Rules,
        find_faults: FindHostFaults = no_host_faults,
        release: str | None = None,
    ) -> None:
        check_programs()
        self._folder = folder
        self._places = places
        self._rules = rules
        self._find_faults = find_faults
        self._release = release
        self._machines: dict[int, Machine] = {}
        self._followers: dict[int, asyncio.Task[None]] = {}
        self._base: Path | None = None
        self._lock: IO[str] | None = None
        self._metadata: HTTPServer | None = None
        self._count = 0

    async def start(self) -> None:
        """Build the base system if there is none yet, and the public network.

        Raises:
            SandboxFailed: Another sandbox has machines, or the system could not be built.
        """
        self._lock = _only_one()
        await remove_leftovers()
        self._base = await ensure_image(cache_folder(), release=self._release)
        await make_public()
        self._metadata = serve_metadata(self._answers)

    def _answers(self, address: str) -> Mapping[str, str] | None:
        found = (one for one in self._machines.values() if one.address == address)
        return next((one.metadata() for one in found), None)

    async def prepare(self, plan: HostPlan) -> None:
        """Make a machine from its image; it is off."""
        if self._base is None:
            raise AssertionError("the driver has not started")
        self._count += 1
        name = f"{MARK}{self._count}"
        faults = HostFaults(plan.name, self._find_faults)
        machine = Machine(name, self._folder / str(plan.number), base=self._base, plan=plan, faults=faults)
        await machine.prepare(None if plan.snapshot is None else self._snapshot(plan.snapshot))
        self._machines[plan.number] = machine

    async def power_on(self, number: int, address: str | None, address_ipv6: str | None = None) -> None:
        """Give a machine its public IPv4 address; before it boots, nobody answers there."""
        self._machines[number].address = address

    async def boot(self, number: int) -> None:
        """Switch a machine on; private interfaces come when it runs already."""
        machine = self._machines[number]
        await machine.wire({}, self._rules(number))  # in force from the first moment
        await machine.boot()
        self._followers[number] = asyncio.create_task(self._follow(number, machine))

    async def _follow(self, number: int, machine: Machine) -> None:
        while True:
            try:
                await machine.wire(self._places(number), self._rules(number))
            except SandboxFailed:
                _log.exception("machine %s could not be wired; it is tried again", machine.name)
            await pause(_FOLLOW_S)

    async def halt(self, number: int) -> None:
        """Switch a machine off."""
        follower = self._followers.pop(number, None)
        if follower is not None:
            follower.cancel()
            await asyncio.wait((follower,))
        await self._machines[number].halt()

    async def remove(self, number: int) -> None:
        """Halt a machine and delete all of it."""
        if number in self._machines:
            await self.halt(number)
            await self._machines.pop(number).remove()

    async def save(self, number: int, snapshot: int) -> None:
        """Copy a machine's disk."""
        await run("cp", "--archive", str(self._machines[number].disk), str(self._snapshot(snapshot)))

    async def forget(self, snapshot: int) -> None:
        """Delete a copy."""
        await asyncio.to_thread(shutil.rmtree, self._snapshot(snapshot), ignore_errors=True)

    def _snapshot(self, number: int) -> Path:
        return self._folder / f"snapshot-{number}"

    async def close(self) -> None:
        """Remove all machines, snapshots and networks."""
        if self._lock is None:
            return  # somebody else's are not ours
        await asyncio.gather(*(self.remove(number) for number in tuple(self._machines)))
        if self._metadata is not None:
            self._metadata.stop()
            await self._metadata.close_all_connections()
        await remove_leftovers()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._lock.close()
        self._lock = None


def _only_one() -> IO[str]:
    """Take what only one process can have; the lock of one that dies is released."""
    lock = _LOCK.open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SandboxFailed("Another sandbox on this computer has machines; stop that one first.") from None
    return lock
