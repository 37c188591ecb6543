# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reminds whoever uses a cluster of its deadline, by what this computer remembers of it and by its own clock.

It tells, and does nothing else: a computer that was suspended wakes up with a wrong idea of how much time has passed.
"""

from __future__ import annotations

import asyncio
import time

from scherbelberg.errors import StateDamaged
from scherbelberg.events import notice
from scherbelberg.inventory.deadlines import SOON_S, soon_line
from scherbelberg.state.store import Folder

#: Short, since a suspended computer's pauses last as much longer as it sleeps.
_EVERY_S = 60.0


def remind(folder: Folder, *, told_s: int | None = None) -> int | None:
    """Tell users of a cluster's deadline if it is near or has passed, unless protection makes it void.

    Args:
        folder: The cluster's.
        told_s: A deadline of which they were told already.

    Returns:
        The deadline of which they were told at last, or None.
    """
    try:
        manifest = folder.read()
    except StateDamaged:
        return told_s
    deadline_s = None if manifest.is_protected else manifest.identity.deadline_s
    if deadline_s is None or deadline_s == told_s or (left_s := deadline_s - time.time()) > SOON_S:
        return told_s
    notice(soon_line(manifest.identity.prefix, left_s), about=manifest.identity.uid)
    return deadline_s


class Reminder:
    """Tells users of a cluster's deadline, once for each deadline, from `begin` to `end`.

    No task, so that a program which ends without an end of this has nothing unfinished.

    Args:
        folder: The cluster's.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._told_s: int | None = None
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin, on the running loop, unless it has begun."""
        if self._next is None:
            self._remind()

    def _remind(self) -> None:
        self._told_s = remind(self._folder, told_s=self._told_s)
        self._next = asyncio.get_running_loop().call_later(_EVERY_S, self._remind)

    def end(self) -> None:
        """Tell nothing more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
