# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Has a task wait for a job of the private loop."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from scherbelberg.concurrency.loop import Job

T = TypeVar("T")


async def joining(job: Job[T]) -> asyncio.Task[T]:
    """Have a task wait for a job, and return when it does.

    Awaiting something else for that time proves nothing: since Python 3.14, what a thread has done already is there
    without a step of any other task.

    Args:
        job: It.
    """
    comes = asyncio.Event()

    async def join() -> T:
        comes.set()
        return await job.join()

    task = asyncio.create_task(join())
    await comes.wait()
    return task
