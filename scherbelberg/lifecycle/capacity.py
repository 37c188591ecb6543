# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Waits for capacity: all nodes of a cluster that found none wait together, and ask again after growing pauses."""

from __future__ import annotations

from collections.abc import Callable

from scherbelberg.concurrency.waiting import Deadline, pause
from scherbelberg.inventory.clusters import words_for

#: The first pause and the longest one, in seconds, and their growth.
FIRST_S = 5.0
_LONGEST_S, _GROWTH = 120.0, 1.5


class Queue:
    """The wait of a cluster's nodes for capacity; its time begins when one of them first finds none.

    Args:
        wait_s: Seconds for which they wait altogether, or None not to wait.
        first_s: The first pause in seconds.
    """

    def __init__(self, wait_s: float | None, *, first_s: float = FIRST_S) -> None:
        self._wait_s = wait_s
        self._pause_s = first_s
        self._end: Deadline | None = None
        self._next: Deadline | None = None

    async def wait(self, tell: Callable[[str], None], begin: Callable[[], None]) -> bool:
        """Wait until it is time to ask again.

        Args:
            tell: Is given words for people that say how long that is.
            begin: Is called once for all who wait, before the first of them asks again.

        Returns:
            Whether to ask again; False when the time is over.
        """
        if self._wait_s is None:
            return False
        if self._end is None:
            self._end = Deadline(self._wait_s)
        if self._next is None:
            if not self._end.left_s:
                return False
            self._next = Deadline(min(self._pause_s, self._end.left_s))
            self._pause_s = min(self._pause_s * _GROWTH, _LONGEST_S)
        mine = self._next
        tell(f"asking again in {words_for(mine.left_s + 0.5)}, for {words_for(self._end.left_s + 0.5)} at most")
        await pause(mine.left_s)
        if self._next is mine:  # the first one who wakes up speaks for all
            self._next = None
            begin()
        return True
