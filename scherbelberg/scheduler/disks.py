# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What workers say of their disks, as events. The other side of it is ``share/scratch.py``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scherbelberg.events import Event, Phase

#: Under which Dask passes it on.
TOPIC = "scherbelberg-disk"


def disk_event(words: Mapping[str, Any]) -> Event:
    """What a worker said, as an event.

    Args:
        words: ``name`` is its name, ``full`` whether its disk is, ``free`` and ``total`` are bytes.
    """
    room = f"{words['free'] / 2**30:.1f} of {words['total'] / 2**30:.1f} GiB are free"
    node = str(words["name"]).partition("-")[0]  # behind which comes a number where a node has several workers
    if not words["full"]:
        return Event(phase=Phase.DISK, state="done", node=node, detail=f"the disk has room again, {room}")
    detail = f"the disk is full, {room}; what memory has no room for cannot go there"
    return Event(phase=Phase.DISK, state="failed", node=node, detail=detail)
