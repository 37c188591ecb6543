# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks the person at the terminal before money is spent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys

import click

from scherbelberg.cli.output import say, speaker
from scherbelberg.cli.progress import paused
from scherbelberg.cli.signals import read_line
from scherbelberg.events import Listener
from scherbelberg.ordering import describe
from scherbelberg.plan import ClusterPlan


class Consent:
    """A question that the work has on the private loop, and that is put in the main thread, where signals end it.

    Args:
        listener: What shows the work's events.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._question: tuple[ClusterPlan, concurrent.futures.Future[bool]] | None = None

    async def agree(self, plan: ClusterPlan) -> None:
        """On the private loop: wait for the answer.

        Args:
            plan: What would be made.

        Raises:
            Abort: It is not to be made.
        """
        answer: concurrent.futures.Future[bool] = concurrent.futures.Future()
        self._question = plan, answer
        if not await asyncio.wrap_future(answer):
            raise click.Abort

    def put(self) -> None:
        """In the main thread: put the question if there is one."""
        if self._question is None:
            return
        (plan, answer), self._question = self._question, None
        with paused(self._listener):
            answer.set_result(_ask(plan))


def is_a_person_there() -> bool:
    """Whether there is somebody to give an answer; in the main thread."""
    voice = speaker()
    is_silent = voice.is_for_programs or voice.is_quiet
    return not is_silent and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _ask(plan: ClusterPlan) -> bool:
    if speaker().progress == "none":
        say(describe(plan))  # else the plan was shown as an event
    click.echo("Make it? [y/N]: ", nl=False, err=True)
    is_wanted = read_line().strip().lower() in {"y", "yes"}
    if not is_wanted:
        say("Nothing was made.")
    return is_wanted
