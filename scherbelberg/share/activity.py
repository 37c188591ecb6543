# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Notes when Dask had something to do at last, in a file of its scheduler's. Loaded by Dask itself, on all nodes.

Workers tell their scheduler, with their other measurements, when somebody was logged in on their node at last.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

#: Between two looks, in seconds.
EVERY_S = 10.0
_METRIC = "scherbelberg_session_s"
#: The loop holds tasks weakly.
_TASKS: set[asyncio.Task[None]] = set()


async def dask_setup(server: Any) -> None:
    """Begin.

    Args:
        server: Dask's scheduler or worker.
    """
    if hasattr(server, "metrics"):  # a worker, which sends them
        server.metrics[_METRIC] = _session_s
        return
    task = asyncio.create_task(watch(server, Path("activity"), rest=lambda: asyncio.sleep(EVERY_S)))
    _TASKS.add(task)


def _session_s(_worker: Any) -> float | None:
    """Seconds since somebody was logged in on this node, or None if nobody was."""
    try:
        return max(0.0, time.time() - Path(os.environ["SCHERBELBERG_SESSION"]).stat().st_mtime)
    except (OSError, KeyError):
        return None


async def watch(scheduler: Any, file: Path, *, rest: Callable[[], Awaitable[object]]) -> None:
    """Look again and again, and write down the time, and when there was something to do at last.

    Args:
        scheduler: Dask's.
        file: Where it is written down.
        rest: Waits between two looks.
    """
    counted = None
    last_s = time.time()
    while True:
        now_s = time.time()
        if _is_busy(scheduler) or scheduler.transition_counter != counted:
            last_s = now_s
        counted = scheduler.transition_counter
        sessions = (worker.metrics.get(_METRIC) for worker in scheduler.workers.values())
        last_s = max([last_s, *(now_s - age_s for age_s in sessions if age_s is not None)])
        _write(file, f"{now_s} {last_s}\n")
        await rest()


def _is_busy(scheduler: Any) -> bool:
    waiting = (getattr(scheduler, name, ()) for name in ("queued", "unrunnable"))
    return any(waiting) or any(worker.processing for worker in scheduler.workers.values())


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f"{file.name}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    except OSError:
        return  # a full disk: notes that grow old say that nobody knows
