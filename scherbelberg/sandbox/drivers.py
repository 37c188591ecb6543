# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud asks of those who run its hosts."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from scherbelberg.sandbox.cloudinit import CloudConfig


@frozen(kw_only=True)
class HostPlan:
    """A host that is to be.

    Args:
        number: The server's number.
        address: Public address, or None without one.
        authorized_keys: Public keys of the project that let root in.
        config: What its user data asks for.
    """

    number: int
    address: str | None
    authorized_keys: tuple[str, ...]
    config: CloudConfig


class Driver(Protocol):
    """Runs hosts."""

    async def prepare(self, plan: HostPlan) -> None:
        """Make a host from its image; it is off."""

    async def boot(self, number: int) -> None:
        """Switch a host on; when this returns, SSH answers."""

    async def halt(self, number: int) -> None:
        """Switch a host off; nothing of it runs afterwards."""

    async def remove(self, number: int) -> None:
        """Halt a host and delete all of it."""

    async def close(self) -> None:
        """Remove all hosts."""
