# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud asks of those who run its hosts, and what those have in common whose hosts are folders."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from attrs import field, frozen

from scherbelberg.sandbox.hosts.cloudinit import CloudConfig
from scherbelberg.sandbox.hosts.system import copy_disk


@frozen(kw_only=True)
class HostPlan:
    """A host that is to be.

    Args:
        number: The server's number.
        name: The server's name at that time.
        authorized_keys: Public keys of the project that let root in.
        config: What its user data asks for.
        snapshot: Number of the snapshot that its disk begins with, or None for a system image.
        user_data: As it was given to the API.
    """

    number: int
    name: str
    authorized_keys: tuple[str, ...]
    config: CloudConfig
    snapshot: int | None = None
    user_data: str | None = field(default=None, repr=False)


class Driver(Protocol):
    """Runs hosts."""

    async def prepare(self, plan: HostPlan) -> None:
        """Make a host from its image; it is off."""

    async def power_on(self, number: int, address: str | None, address_ipv6: str | None = None) -> None:
        """Give a host power and its public addresses, if it has any; SSH does not answer there yet."""

    async def boot(self, number: int) -> None:
        """Boot a host that has power; when this returns, SSH answers at its public address."""

    async def halt(self, number: int) -> None:
        """Switch a host off; nothing of it runs afterwards."""

    async def remove(self, number: int) -> None:
        """Halt a host and delete all of it."""

    async def save(self, number: int, snapshot: int) -> None:
        """Copy a host's disk to a snapshot."""

    async def forget(self, snapshot: int) -> None:
        """Delete a snapshot."""

    async def close(self) -> None:
        """Remove all hosts and snapshots."""


class Host(Protocol):
    """One host."""

    async def power_on(self, address: str | None, address_ipv6: str | None = None) -> None:
        """Give it power and public addresses."""

    async def boot(self) -> None:
        """Boot it."""

    async def halt(self) -> None:
        """Switch it off."""

    async def remove(self) -> None:
        """Halt it, then delete all files."""


H = TypeVar("H", bound=Host)


class FolderHosts(Generic[H]):
    """Hosts by number, and snapshots of them.

    Args:
        folder: Below which the hosts' folders are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: dict[int, H] = {}

    def _root(self, number: int) -> Path:
        return self._folder / str(number)

    def _disk(self, plan: HostPlan) -> Path | None:
        """What a host's disk begins with, or None for the system image."""
        return None if plan.snapshot is None else self._snapshot(plan.snapshot)

    def _snapshot(self, number: int) -> Path:
        return self._folder / f"snapshot-{number}"

    async def power_on(self, number: int, address: str | None, address_ipv6: str | None = None) -> None:
        """Give a host power and its public addresses, if it has any."""
        await self._hosts[number].power_on(address, address_ipv6)

    async def boot(self, number: int) -> None:
        """Boot a host that has power."""
        await self._hosts[number].boot()

    async def save(self, number: int, snapshot: int) -> None:
        """Copy a host's files."""
        await asyncio.to_thread(copy_disk, self._root(number), self._snapshot(snapshot))

    async def forget(self, snapshot: int) -> None:
        """Delete a copy."""
        await asyncio.to_thread(shutil.rmtree, self._snapshot(snapshot), ignore_errors=True)

    async def halt(self, number: int) -> None:
        """Switch a host off."""
        await self._hosts[number].halt()

    async def remove(self, number: int) -> None:
        """Halt a host and delete all of it."""
        if number in self._hosts:
            await self._hosts[number].remove()
            del self._hosts[number]

    async def _remove_all(self) -> None:
        await asyncio.gather(*(self.remove(number) for number in tuple(self._hosts)))

    async def _delete_folder(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
