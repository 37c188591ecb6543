# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks the person at the terminal what to do where there is no capacity: take what there is, wait, or give up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click
from attrs import evolve

from scherbelberg.cli.actions import is_a_person_there
from scherbelberg.cli.output import say
from scherbelberg.cli.signals import read_line
from scherbelberg.errors import NoCapacity
from scherbelberg.holdings import words_for
from scherbelberg.pricing import enough
from scherbelberg.remedies import remedied
from scherbelberg.spec import ClusterSpec

Made = TypeVar("Made")
#: For so many seconds somebody waits who does not say for how long.
_WAIT_S = 30 * 60


def made_or_asked(spec: ClusterSpec, make: Callable[[ClusterSpec, bool], Made], *, asks: bool) -> Made:
    """Make something, and where there is no capacity, make what a person takes instead.

    Args:
        spec: What the user wants.
        make: Makes it, and leaves nothing where it fails; the second argument is whether it was not agreed to before.
        asks: Whether to ask, if there is somebody.

    Raises:
        NoCapacity: There is none, and nobody takes anything else.
    """
    is_new = True
    while True:
        try:
            return make(spec, is_new)
        except NoCapacity as error:
            other = _ask(spec, error) if asks and is_a_person_there() else None
            if other is None:
                raise
            spec, is_new = other, False


def usual_wait_s(spec: ClusterSpec) -> int:
    """For how long to wait for machines where nobody says it, in seconds: within the cluster's time to live."""
    return spec.wait_s or (_WAIT_S if spec.ttl_s is None else max(1, min(_WAIT_S, spec.ttl_s // 2)))


def _ask(spec: ClusterSpec, error: NoCapacity) -> ClusterSpec | None:
    """What the user wants by now, or None if they give up."""
    say("There is none left of what was asked for, and nothing is rented. There is:")
    for number, one in enumerate(error.remedies, 1):
        price = f"{enough(one.hourly.gross)} {one.currency} an hour gross in all"
        say(f"  {number}  {one.words}, {price} (as with {one.options})")
    wait_s = usual_wait_s(spec)
    numbers = {str(number): one for number, one in enumerate(error.remedies, 1)}
    take = f"Take it [{'/'.join(numbers)}], wait" if numbers else "Nothing that would do. Wait"
    click.echo(f"{take} for {words_for(wait_s)} [w], or give up [Enter]: ", nl=False, err=True)
    answer = read_line().strip().lower()
    if answer in {"w", "wait"}:
        return evolve(spec, wait_s=wait_s)
    return remedied(spec, numbers[answer]) if answer in numbers else None
