# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks which TCP ports of a machine answer."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket

from scherbelberg.concurrency.waiting import Deadline

#: How long a port may take to answer on a network without any way to go, and how many are asked at once.
_ANSWER_S, _AT_ONCE = 1.0, 8000


def open_among(address: str, ports: range, *, source: str = "") -> set[int]:
    """Ask all of these at once, and give them a moment; the asker's own address is ``source``, or any."""
    found: set[int] = set()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for port in ports:
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.bind((source, 0))
            probe.connect_ex((address, port))
            selector.register(probe, selectors.EVENT_WRITE, port)
        deadline = Deadline(_ANSWER_S)
        while selector.get_map() and deadline.left_s:
            for key, _ in selector.select(deadline.left_s):
                asked = key.fileobj
                assert isinstance(asked, socket.socket)
                selector.unregister(asked)
                if asked.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
    return found


def open_ports(address: str, *, source: str = "") -> set[int]:
    """Which of all TCP ports answer from where the world is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    at_once = min(_AT_ONCE, hard // 2)
    try:
        parts = [range(first, min(first + at_once, 65_536)) for first in range(1, 65_536, at_once)]
        return set[int]().union(*(open_among(address, part, source=source) for part in parts))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
