# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A port that answers nothing, not even that nobody listens, as of a machine whose network is not up yet."""

from __future__ import annotations

import socket

#: The first fills the queue, where systems count correctly; others need more.
_FILLERS = 4


class Silence:
    """A port that is silent until it is told otherwise: whoever listens there takes nobody, and the queue is full.

    Args:
        address: Where.
        port: Where.
    """

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._sockets: list[socket.socket] = []

    def begin(self) -> None:
        """Be silent.

        Raises:
            OSError: The address cannot be used.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sockets.append(listener)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._place)
            listener.listen(0)
            for _ in range(_FILLERS):
                filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self._sockets.append(filler)
                filler.setblocking(False)
                filler.connect_ex(self._place)
        except OSError:
            self.end()
            raise

    def end(self) -> None:
        """Leave the port to others."""
        while self._sockets:
            self._sockets.pop().close()  # the listener last: it shall not take a filler for a visitor
