# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Work that takes time, as actions that run one after the other, and fail where they are told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from fnmatch import fnmatchcase
from typing import Any

from scherbelberg.sandbox.cloud.model import Action
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.refusals import Refused
from scherbelberg.sandbox.words import ActionFault, Delays, Faults
from scherbelberg.waiting import pause

_log = logging.getLogger(__name__)

Step = tuple[Action, Callable[[], Awaitable[None]]]


class Work:
    """All that is under way.

    Args:
        project: The state.
        time_scale: Factor of all delays.
        delays: The delays.
        faults: Returns what goes wrong on purpose at the time of asking.
    """

    def __init__(self, project: Project, *, time_scale: float, delays: Delays, faults: Callable[[], Faults]) -> None:
        self.project = project
        self.delays = delays
        self.faults = faults
        self._scale = time_scale
        self._tasks: set[asyncio.Task[None]] = set()

    def pause(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait, as long as the time scale says."""
        return pause(seconds * self._scale)

    def begin(self, *steps: Step) -> None:
        """Take steps one after the other; when one fails, so do those that were to follow."""
        task = asyncio.create_task(self._take(steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop everything."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, steps: Sequence[Step]) -> None:
        failed = False
        for action, work in steps:
            if action.status != "running":
                return  # ended from outside: the server is being deleted
            error = None if not failed else ("action_failed", "an earlier action failed")
            if error is None:
                error = await self._attempt(action, work)
                failed = error is not None
            self.project.close_action(action, error)

    async def _attempt(self, action: Action, work: Callable[[], Awaitable[None]]) -> tuple[str, str] | None:
        """Do an action's work.

        Returns:
            None, or code and message of its failure.
        """
        fault = self._fault(action)
        if fault is not None and fault.how == "endless":
            await asyncio.Event().wait()
        if fault is not None:
            await self.pause(self.delays.start_s)
            return fault.code, f"the sandbox was told to fail {action.command}"
        try:
            await work()
        except Refused as refused:
            return refused.code, refused.message
        except Exception as error:  # noqa: BLE001 - as at Hetzner, a failure of ours is an action that failed
            _log.exception("action %s failed", action.command)
            return "action_failed", f"{type(error).__name__}: {error}"
        return None

    def _fault(self, action: Action) -> ActionFault | None:
        numbers = [number for kind, number in action.resources if kind == "server"]
        names = [self.project.servers[number].name for number in numbers if number in self.project.servers]
        for fault in self.faults().actions:
            if fnmatchcase(action.command, fault.command) and any(fnmatchcase(name, fault.server) for name in names):
                return fault
        return None

    def is_endless(self, action: Action) -> bool:
        """Whether an action was told never to end."""
        fault = self._fault(action)
        return fault is not None and fault.how == "endless"
