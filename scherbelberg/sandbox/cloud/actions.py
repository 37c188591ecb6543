# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Work that takes time, as actions that run one after the other, and fail where they are told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from fnmatch import fnmatchcase
from typing import Any

from scherbelberg.concurrency.waiting import pause
from scherbelberg.sandbox.cloud.errors import ApiError
from scherbelberg.sandbox.cloud.model import Action, Resource
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.faults import ActionFault, Faults
from scherbelberg.sandbox.options import Delays

_log = logging.getLogger(__name__)
Step = tuple[Action, Callable[[], Awaitable[None]]]


class ActionRunner:
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
        self._stuck: set[int] = set()

    def pause(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait, as long as the time scale says."""
        return pause(seconds * self._scale)

    def begin(self, *steps: Step) -> None:
        """Take steps one after the other; when one fails, so do those that were to follow."""
        task = asyncio.create_task(self._take(steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def instant(self, command: str, *resources: tuple[str, Resource], do: Callable[[], object]) -> Action:
        """Do something that takes no time, unless it was told to go wrong.

        Args:
            command: In Hetzner's words.
            resources: Kind (singular) and resource of all that it concerns.
            do: The work.
        """
        action = self.project.open_action(command, *resources)
        fault = self._fault(action)
        if fault is None:
            do()
            self.project.close_action(action)
        elif fault.how == "endless":
            self._stuck.add(action.id)
        else:
            self.project.close_action(action, _on_purpose(action, fault))
        return action

    async def close(self) -> None:
        """Drop everything."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_stuck(self, action: Action) -> bool:
        """Whether an action never ends by itself, or waits for one that does not."""
        return action.id in self._stuck

    def abandon(self, action: Action, reason: str) -> None:
        """End an action that is stuck.

        Args:
            action: It.
            reason: Why, in a few words.
        """
        self.project.close_action(action, ("action_failed", reason))
        self._stuck.discard(action.id)

    async def _take(self, steps: Sequence[Step]) -> None:
        failed = False
        for index, (action, work) in enumerate(steps):
            fault = None if failed else self._fault(action)
            if fault is not None and fault.how == "endless":
                self._stuck.update(later.id for later, _ in steps[index:])
                return
            error = (
                ("action_failed", "an earlier action failed") if failed else await self._attempt(action, work, fault)
            )
            failed = error is not None
            self.project.close_action(action, error)

    async def _attempt(
        self, action: Action, work: Callable[[], Awaitable[None]], fault: ActionFault | None
    ) -> tuple[str, str] | None:
        """Do an action's work, or fail on purpose.

        Returns:
            None, or code and message of its failure.
        """
        if fault is not None:
            await self.pause(self.delays.start_s)
            return _on_purpose(action, fault)
        try:
            await work()
        except ApiError as error:
            return error.code, error.message
        except Exception as error:  # noqa: BLE001 - as at Hetzner, a failure of ours is an action that failed
            _log.exception("action %s failed", action.command)
            return "action_failed", f"{type(error).__name__}: {error}"
        return None

    def _fault(self, action: Action) -> ActionFault | None:
        numbers = [number for kind, number in action.resources if kind == "server"]
        names = [self.project.servers[number].name for number in numbers if number in self.project.servers]
        for fault in self.faults().actions:
            concerns = any(fnmatchcase(name, fault.server) for name in names) or (not numbers and fault.server == "*")
            if concerns and fnmatchcase(action.command, fault.command):
                return fault
        return None


def _on_purpose(action: Action, fault: ActionFault) -> tuple[str, str]:
    return fault.code, f"the sandbox was told to fail {action.command}"
