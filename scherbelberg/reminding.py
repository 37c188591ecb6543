# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reminds whoever uses a cluster of its deadline, by what this computer remembers of it and by its own clock.

It tells, and does nothing else: a computer that was suspended wakes up with a wrong idea of how much time has passed.
"""

from __future__ import annotations

import time

from scherbelberg.deadlines import SOON_S, soon_line
from scherbelberg.errors import StateDamaged
from scherbelberg.notices import notice
from scherbelberg.store import Folder
from scherbelberg.waiting import pause

#: Short, since a suspended computer's pauses last as much longer as it sleeps.
_EVERY_S = 60.0


def remind(folder: Folder, *, told_s: int | None = None) -> int | None:
    """Tell users of a cluster's deadline if it is near or has passed.

    Args:
        folder: The cluster's.
        told_s: A deadline of which they were told already.

    Returns:
        The deadline of which they were told at last, or None.
    """
    try:
        identity = folder.read().identity
    except StateDamaged:
        return told_s
    deadline_s = identity.deadline_s
    if deadline_s is None or deadline_s == told_s or (left_s := deadline_s - time.time()) > SOON_S:
        return told_s
    notice(soon_line(identity.prefix, left_s), about=identity.uid)
    return deadline_s


async def keep_reminding(folder: Folder) -> None:
    """Tell users of a cluster's deadline, once for each deadline, for as long as this runs.

    Args:
        folder: The cluster's.
    """
    told_s = None
    while True:
        told_s = remind(folder, told_s=told_s)
        await pause(_EVERY_S)
