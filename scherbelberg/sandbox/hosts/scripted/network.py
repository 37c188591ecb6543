# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The private networks of scripted hosts: addresses that this computer does not have, and what listens at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from attrs import frozen

#: Returns a server's private address in each network that it is in at the time of asking, by the network's number.
Places = Callable[[int], Mapping[int, str]]


@frozen(kw_only=True)
class Listening:
    """Something that listens.

    Args:
        place: Where on this computer it really does.
        inproc: How it is reached inside this process, or nothing.
    """

    place: tuple[str, int]
    inproc: str = ""


class Lan:
    """Who listens where.

    Args:
        places: Knows the servers' private addresses.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._open: dict[tuple[str, int], dict[int, Listening]] = {}

    def has(self, number: int, address: str) -> bool:
        """Whether a private address is a server's own by now."""
        return address in self._places(number).values()

    def open(self, number: int, address: str, port: int, listening: Listening) -> None:
        """Note that something listens.

        Args:
            number: On which server.
            address: There.
            port: There.
            listening: What.
        """
        self._open.setdefault((address, port), {})[number] = listening

    def close(self, number: int) -> None:
        """Note that nothing listens on a server any more."""
        for owners in self._open.values():
            owners.pop(number, None)

    def find(self, number: int, address: str, port: int) -> Listening | None:
        """Find what a server reaches at an address.

        Args:
            number: The server that looks.
            address: As it sees it.
            port: There.
        """
        for owner, listening in self._open.get((address, port), {}).items():
            if self._leads(number, owner, address):
                return listening
        return None

    def _leads(self, number: int, owner: int, address: str) -> bool:
        if ip_address(address).is_loopback:
            return number == owner
        ours = self._places(number)
        return any(network in ours for network, place in self._places(owner).items() if place == address)
