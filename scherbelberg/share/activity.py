# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Notes when Dask had something to do at last, in a file of its scheduler's. Loaded by Dask itself, on all nodes.

Workers tell their scheduler, with their other measurements, when somebody was logged in on their node at last, and
whether somebody is sending them data.
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
_SESSION, _MOVING = "scherbelberg_session_s", "scherbelberg_moving"
#: What Dask's scheduler does while data pass through it.
_MOVES = {"gather", "scatter"}
#: The loop holds tasks weakly.
_TASKS: set[asyncio.Task[None]] = set()


async def dask_setup(server: Any) -> None:
    """Begin.

    Args:
        server: Dask's scheduler or worker.
    """
    if hasattr(server, "metrics"):  # a worker, which sends them
        server.metrics.update({_SESSION: _session_s, _MOVING: Traffic().look})
        return
    task = asyncio.create_task(watch(server, Path("activity"), rest=lambda: asyncio.sleep(EVERY_S)))
    _TASKS.add(task)


def _session_s(_worker: Any) -> float | None:
    """Seconds since somebody was logged in on this node, or None if nobody was."""
    try:
        return max(0.0, time.time() - Path(os.environ["SCHERBELBERG_SESSION"]).stat().st_mtime)
    except (OSError, KeyError):
        return None


class Traffic:
    """Tells whether data are under way on a server's connections.

    Dask asks and answers all the time that everybody is there, and nobody sees from outside what a message brings. But
    such messages pass at once: only one that brings much is still under way when it is looked again.
    """

    def __init__(self) -> None:
        self._before: set[Any] = set()

    def look(self, server: Any) -> bool:
        """Look again.

        Args:
            server: Dask's scheduler or worker.

        Returns:
            Whether a message is under way where one was at the last look.
        """
        now = {comm for comm, does in server._comms.items() if does in _MOVES or _is_amid(comm)}  # noqa: SLF001 - nothing public tells
        is_moving = bool(now & self._before)
        self._before = now
        return is_moving


def _is_amid(comm: Any) -> bool:
    """Whether a part of a message was read or written on a connection, and not yet all of it."""
    stream = getattr(comm, "stream", None)
    # Between messages, a connection waits for the 8 bytes that say how long the next one is.
    return stream is not None and (stream.writing() or (getattr(stream, "_read_bytes", None) or 8) != 8)


async def watch(scheduler: Any, file: Path, *, rest: Callable[[], Awaitable[object]]) -> None:
    """Look again and again, and write down the time, and when there was something to do at last.

    Args:
        scheduler: Dask's.
        file: Where it is written down.
        rest: Waits between two looks.
    """
    traffic = Traffic()
    counted: dict[str, tuple[int, ...]] = {}
    last_s = time.time()
    while True:
        now_s = time.time()
        before, counted = counted, _counts(scheduler)
        # Who comes or goes does no work.
        is_changed = any(before[name] != counted[name] for name in before.keys() & counted.keys())
        if traffic.look(scheduler) or is_changed or _is_busy(scheduler):
            last_s = now_s
        sessions = (worker.metrics.get(_SESSION) for worker in scheduler.workers.values())
        last_s = max([last_s, *(now_s - age_s for age_s in sessions if age_s is not None)])
        _write(file, f"{now_s} {last_s}\n")
        await rest()


def _counts(scheduler: Any) -> dict[str, tuple[int, ...]]:
    """What work changes: of the scheduler its tasks' states, of each worker its transfers and the bytes that it has."""
    counts: dict[str, tuple[int, ...]] = {"": (scheduler.transition_counter,)}
    for address, worker in scheduler.workers.items():
        transfers = worker.metrics.get("transfer", {})
        counts[address] = (*(transfers.get(f"{way}_count_total", 0) for way in ("incoming", "outgoing")), worker.nbytes)
    return counts


def _is_busy(scheduler: Any) -> bool:
    waiting = (getattr(scheduler, name, ()) for name in ("queued", "unrunnable"))
    return any(waiting) or any(map(_works, scheduler.workers.values()))


def _works(worker: Any) -> bool:
    transfers = worker.metrics.get("transfer", {})
    now = (transfers.get(f"{way}_count") for way in ("incoming", "outgoing"))
    return bool(worker.processing or worker.metrics.get(_MOVING) or any(now))


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f"{file.name}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    except OSError:
        return  # a full disk: notes that grow old say that nobody knows
