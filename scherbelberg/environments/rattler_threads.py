# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets threads that are not Python's leave the interpreter before it ends.

A result of rattler comes from a thread of its own, which calls asyncio and for that waits twice for the interpreter. A
program that ends within these milliseconds, right after it has its result, took the interpreter away from under the
thread: seen as a crash in 6 to 10 of 100 such programs, after all work was done
(https://github.com/PyO3/pyo3-async-runtimes/issues/40).
"""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from contextlib import suppress
from types import FrameType

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import WaitTimeout

#: What they call, and whose frame is therefore their first.
_CALLED = "call_soon_threadsafe"
_LOOK_EVERY_S = 0.001
_WITHIN_S = 2.0


def part_in_peace() -> None:
    """See to it that the interpreter does not end before such threads have left it."""
    atexit.register(_wait)


def _wait() -> None:
    # To have a look, a thread needs the interpreter; between two looks the others get it.
    with suppress(WaitTimeout):
        asyncio.run(until(_is_empty, every_s=_LOOK_EVERY_S, within_s=_WITHIN_S, what="the end of others' threads"))


async def _is_empty() -> bool | None:
    own = {thread.ident for thread in threading.enumerate()}
    frames = [frame for ident, frame in sys._current_frames().items() if ident not in own]  # noqa: SLF001 - documented
    return None if any(_first(frame).f_code.co_name == _CALLED for frame in frames) else True


def _first(frame: FrameType) -> FrameType:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame
