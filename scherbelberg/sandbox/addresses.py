# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The part of 127.0.0.0/8 that a sandbox has for itself.

A sandbox holds a number from 64 to 127 by a bound socket, which vanishes with the process however that ends.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network

from scherbelberg.errors import SandboxFailed

_FIRST, _LAST = 64, 127
_LOCK_PORT = 6407
_PORTS = range(10_000, 30_000)
#: Ranges for private networks.
RFC_1918 = tuple(IPv4Network(word) for word in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
#: Hetzner keeps this one for the gateway of public interfaces.
RESERVED = IPv4Address("172.31.1.1")


class AddressPool:
    """A sandbox's addresses.

    Args:
        number: The number that it holds.
        lock: The socket that holds it.
    """

    #: Where private networks must lie; here, as on Hetzner, until hosts need addresses that this computer has.
    private_ranges: tuple[IPv4Network, ...] = RFC_1918

    def __init__(self, number: int, lock: socket.socket) -> None:
        self.number = number
        self._lock = lock
        self._next = 0
        self._used: set[IPv4Address] = set()
        #: Where public addresses come from instead, if hosts are machines; the first belongs to this computer.
        self.public: IPv4Network | None = None

    @property
    def private(self) -> IPv4Network:
        """The part of loopback where the private networks of hosts lie that are processes here."""
        return IPv4Network(f"127.{self.number}.0.0/16")

    @property
    def api(self) -> str:
        """The API's own address."""
        return f"127.{self.number + _FIRST}.0.1"

    def take_public(self) -> IPv4Address:
        """Choose a public address: the next one that is free, so that none is used again soon."""
        if self.public is not None:
            free = (address for address in list(self.public.hosts())[1:] if address not in self._used)
            found = next(free, None)
            if found is None:
                raise SandboxFailed(f"All public addresses of the sandbox ({self.public}) are taken.")
            self._used.add(found)
            return found
        base = IPv4Address(f"127.{self.number + _FIRST}.0.0")
        while True:
            high, low = divmod(self._next, 254)
            self._next = (self._next + 1) % (254 * 255)
            address = base + 256 * (high + 1) + low + 1
            if address not in self._used:
                self._used.add(address)
                return address

    def give_back(self, address: IPv4Address) -> None:
        """Free a public address."""
        self._used.discard(address)

    def close(self) -> None:
        """Give the number back."""
        self._lock.close()


def free_private(subnet: IPv4Network, used: Collection[IPv4Address]) -> IPv4Address | None:
    """Choose the lowest free address of a subnet, behind the gateway's.

    Args:
        subnet: It.
        used: Addresses that are in use, here or in any other network of the sandbox.
    """
    hosts = iter(subnet.hosts())
    next(hosts)
    return next((address for address in hosts if address not in used and address != RESERVED), None)


def claim(first: int | None = None) -> AddressPool:
    """Take a number that nobody holds.

    Args:
        first: Where to begin the search; drawn when not given.

    Raises:
        SandboxFailed: All numbers are taken, or loopback addresses cannot be used here.
    """
    count = _LAST - _FIRST + 1
    start = secrets.randbelow(count) if first is None else first - _FIRST
    for step in range(count):
        number = _FIRST + (start + step) % count
        lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            lock.bind((f"127.{number}.255.254", _LOCK_PORT))
        except OSError as error:
            lock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise SandboxFailed(f"The loopback address 127.{number}.255.254 cannot be used: {error}.") from error
        else:
            return AddressPool(number, lock)
    raise SandboxFailed(f"All {count} sandboxes that this computer can hold are taken; stop one of them first.")


def free_port() -> int:
    """Choose a TCP port on which nothing listens, outside the range of outgoing connections."""
    for _ in range(200):
        port = secrets.choice(_PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise SandboxFailed("No TCP port was free for the SSH servers of the sandbox's hosts.")
