# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud asks of those who run its hosts."""

from __future__ import annotations

from typing import Protocol

from attrs import field, frozen

from scherbelberg.sandbox.hosts.cloudinit import CloudConfig


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
