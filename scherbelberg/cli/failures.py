# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an exception means for whoever called the program: the one place where errors become exit codes and words."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click
from attrs import evolve

from scherbelberg.cli.output import Failure, Json
from scherbelberg.cli.signals import Interrupted
from scherbelberg.errors import LeftOver, NoCapacity, ScherbelbergError
from scherbelberg.exitcodes import ExitCode
from scherbelberg.pricing import write_price

if TYPE_CHECKING:
    from scherbelberg.remedies import Remedy

#: Codes of failures that are no `ScherbelbergError`.
USAGE = "usage"
CANCELLED = "cancelled"
UNEXPECTED = "unexpected"


def failure_of(error: BaseException, *, remains: tuple[str, ...] = ()) -> Failure:
    """Describe why a command fails.

    Args:
        error: What it raised.
        remains: What stays in the cloud all the same, by kind and name.
    """
    failure = _described(error)
    return failure if failure.left_over else evolve(failure, left_over=remains)


def _described(error: BaseException) -> Failure:
    if isinstance(error, ScherbelbergError):
        return Failure(
            code=error.code,
            message=error.message,
            exit_code=int(error.exit_code),
            node=error.node,
            phase=error.phase,
            log_tail=error.log_tail,
            tried=error.tried,
            left_over=error.left_over if isinstance(error, LeftOver) else (),
            log_file=error.log_file,
            instead=tuple(map(_offer, error.remedies)) if isinstance(error, NoCapacity) else (),
        )
    if isinstance(error, Interrupted):
        return Failure(code=CANCELLED, message=str(error), exit_code=error.exit_code)
    if isinstance(error, click.Abort):
        return Failure(code=CANCELLED, message="Stopped.", exit_code=int(ExitCode.INTERRUPTED))
    if isinstance(error, click.ClickException):
        return Failure(code=USAGE, message=error.format_message(), exit_code=error.exit_code)
    return Failure(code=UNEXPECTED, message=f"{type(error).__name__}: {error}", exit_code=int(ExitCode.FAILURE))


def _offer(one: Remedy) -> Json:
    hourly = {**write_price(one.hourly), "currency": one.currency}
    return {"words": one.words, "hourly": hourly, "options": one.options}


def was_asked_for(option: str, words: list[str], command: click.Command | None) -> bool:
    """Whether an option stands among words that were not, or could not be, understood.

    Args:
        option: Its name, dashes included, or name and value.
        words: What the user wrote.
        command: For which they are, or None if that is not known.
    """
    name, _, value = option.partition("=")
    # Who misspells a command's name expects an answer as that command gives it.
    knows = command is None or isinstance(command, click.Group) or any(name in found.opts for found in command.params)
    own = words[: words.index("--")] if "--" in words else words
    pairs = itertools.pairwise(own)
    return knows and (option in own or bool(value and (name, value) in pairs))
