# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets a worker go on when its disk is full, and tells clients and the log of it. Loaded by Dask itself."""

from __future__ import annotations

import logging
import shutil
import time
from typing import Any

from distributed.spill import MaxSpillExceeded
from tornado.ioloop import PeriodicCallback

TOPIC = "scherbelberg-disk"
_LOG = logging.getLogger("distributed.worker")
_LOOK_S = 2.0
#: A client that comes later shall hear of it, too.
_AGAIN_S = 60.0
#: Less than this part of the disk is as good as nothing; and enough again is twice that much.
_FULL, _ENOUGH = 0.02, 0.04


async def dask_setup(worker: Any) -> None:
    """Look at the disk as long as the worker runs.

    Args:
        worker: Dask's.
    """
    _keep_in_memory(getattr(worker.data, "fast", None))
    told_s: float | None = None

    def look() -> None:
        nonlocal told_s
        disk = shutil.disk_usage(worker.local_directory)
        now_s = time.monotonic()
        free = disk.free / disk.total
        if free < _FULL and (told_s is None or now_s - told_s >= _AGAIN_S):
            told_s = now_s
            _LOG.warning("The disk at %s is full: %d bytes are free.", worker.local_directory, disk.free)
        elif free >= _ENOUGH and told_s is not None:
            told_s = None
        else:
            return
        words = {"name": str(worker.name), "full": told_s is not None, "free": disk.free, "total": disk.total}
        worker.log_event(TOPIC, words)

    # Dask starts it, and stops it with the worker.
    worker.periodic_callbacks["scherbelberg-disk"] = PeriodicCallback(look, _LOOK_S * 1000)


def _keep_in_memory(fast: Any) -> None:
    """Let data stay in memory that the disk has no room for.

    When data are stored, Dask does so itself. When data come back from the disk, which may drive others there, it lets
    the task fail that needs them.

    Args:
        fast: The part of the worker's data that is in memory, or None if nothing goes to the disk.
    """
    if fast is None:
        return
    evict = fast.evict_until_below_target

    def evict_if_possible(n: float | None = None) -> None:
        try:
            evict(n)
        except (MaxSpillExceeded, OSError):
            _LOG.debug("There is no more room on the disk; data stay in memory.")

    fast.evict_until_below_target = evict_if_possible
