# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which of a machine's two addresses is taken, chosen anew for each connection: a computer moves between networks."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from scherbelberg.cloud.public_address import has_route
from scherbelberg.concurrency.waiting import Deadline

#: How long IPv4 is ahead of IPv6 where both could lead there, in seconds; who answers first is talked to.
_LEAD_S = 0.5


def ways(ipv4: str | None, ipv6: str | None, *, is_routed: Callable[[str], bool] = has_route) -> tuple[str, ...]:
    """Put a machine's addresses in the order in which they are tried: IPv4 first, IPv6 where there is no way by IPv4.

    Args:
        ipv4: Its address, or None.
        ipv6: Its address, or None.
        is_routed: Tells whether there is a way to an address.

    Returns:
        One or two addresses; none if the machine has none.
    """
    if ipv4 is None or ipv6 is None:
        return tuple(address for address in (ipv4, ipv6) if address is not None)
    if not is_routed(ipv4):
        return (ipv6,) if is_routed(ipv6) else (ipv4,)
    # An address that the internet does not know, as a sandbox's, would be asked for in the wrong place.
    is_worth_it = ipaddress.IPv6Address(ipv6).is_global and is_routed(ipv6)
    return (ipv4, ipv6) if is_worth_it else (ipv4,)


def first_way(ipv4: str | None, ipv6: str | None) -> str | None:
    """The address that a program is given which takes one alone, or None if the machine has none; see `ways`."""
    return next(iter(ways(ipv4, ipv6)), None)


async def dial(addresses: tuple[str, ...], port: int, *, lead_s: float = _LEAD_S) -> socket.socket:
    """Connect to the first address, or to the next where that has failed or keeps silent for a moment.

    Args:
        addresses: One machine's, in order.
        port: Where.
        lead_s: Seconds after which the next address is tried as well.

    Returns:
        A connected socket of the one that answered first.

    Raises:
        OSError: None let us in; it is what the first one said.
    """
    tasks: list[asyncio.Task[socket.socket]] = []
    kept: socket.socket | None = None
    try:
        for address in addresses:
            tasks.append(asyncio.create_task(_connect(address, port)))
            kept = await _first_of(tasks, within_s=None if len(tasks) == len(addresses) else lead_s)
            if kept is not None:
                return kept
        return await tasks[0]  # which raises
    finally:
        for task in tasks:  # nothing is awaited here: who is cancelled meanwhile would lose what is to be returned
            task.cancel()
            if task.done():
                _drop(task, kept)
            else:
                task.add_done_callback(_drop)


def _drop(task: asyncio.Task[socket.socket], kept: socket.socket | None = None) -> None:
    """Close a connection that nobody wants any more, if there is one."""
    if not task.cancelled() and task.exception() is None and task.result() is not kept:
        task.result().close()


async def _first_of(tasks: list[asyncio.Task[socket.socket]], *, within_s: float | None) -> socket.socket | None:
    """The first connection, or None if all have failed or time is up."""
    deadline = None if within_s is None else Deadline(within_s)
    while pending := [task for task in tasks if not task.done()]:
        left_s = None if deadline is None else deadline.left_s
        done, _ = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None
        for task in done:
            if task.exception() is None:
                return task.result()
    return None


async def _connect(address: str, port: int) -> socket.socket:
    line = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        line.setblocking(False)
        await asyncio.get_running_loop().sock_connect(line, (address, port))
    except BaseException:
        line.close()
        raise
    return line


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
