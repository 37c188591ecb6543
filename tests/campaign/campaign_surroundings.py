# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Trials in which the client's own surroundings break: its streams, its disk, its clock, and the answers it gets."""

from __future__ import annotations

import copy
import random
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from attrs import evolve, frozen
from campaign_clients import Around, Client, Ended, run
from campaign_draws import KINDS, PREFIX, Trial, draw
from campaign_judging import unfinished
from campaign_trials import Place, given_back, is_ready
from surroundings import folders

from scherbelberg.errors import ExitCode
from scherbelberg.sandbox.faults import NO_FAULTS

#: What breaks at some moment: its reader leaves, its disk is full, its folder is deleted, answers lack a field.
Break = Literal["reader leaves", "disk full", "folder gone", "field missing", "field null"]
#: Of a server's row. Nothing but the first four is needed to find and delete it.
_FIELDS = (
    *("created", "datacenter", "image", "labels", "location", "placement_group", "primary_disk_size", "private_net"),
    *("protection", "public_net", "server_type", "status", "volumes", "rescue_enabled", "locked", "included_traffic"),
)
_NEEDED = {"id", "name", "labels"}
#: Lines of a small create.
_LINES = 60


@frozen(kw_only=True)
class Trouble:
    """What breaks around a create.

    Args:
        trial: The create, perhaps with faults of the cloud beside it, and how it is interrupted.
        around: What is wrong from the beginning, or None.
        breaks: What breaks, or None.
        at: After how many of its lines, or of the cloud's answers.
        field: Of which field, where answers break.
    """

    trial: Trial
    around: Around | None
    breaks: Break | None
    at: int
    field: str

    @property
    def has_lines(self) -> bool:
        """Whether the client's lines can be counted."""
        return self.around not in ("no descriptors", "errors on a full disk")


def draw_trouble(seed: int) -> Trouble:
    """Draw a trial.

    Args:
        seed: Any number.
    """
    dice = random.Random(f"surroundings {seed}")
    cloud = draw(seed) if dice.random() < 0.3 else evolve(draw(seed), kinds=(), faults=NO_FAULTS)
    # What the token may not do is named, and stays: that is the other campaign's.
    if cloud.holds_on or set(cloud.kinds) - set(KINDS):
        cloud = evolve(cloud, kinds=(), faults=NO_FAULTS)
    trial = evolve(cloud, ending=dice.choice(("none", "none", "sigint", "sigterm")), at=dice.randint(1, _LINES))
    around: Around | None = None
    breaks: Break | None = None
    if dice.random() < 0.45:
        around = dice.choice(get_args(Around))
    else:
        breaks = dice.choice(get_args(Break))
    trouble = Trouble(
        trial=evolve(trial, workers=dice.choice((1, 1, 2)), keep=False),
        around=around,
        breaks=breaks,
        at=trial.at if breaks == "reader leaves" else dice.randint(1, _LINES),
        field=dice.choice([name for name in _FIELDS if name not in _NEEDED]),
    )
    return trouble if trouble.has_lines else evolve(trouble, trial=evolve(trouble.trial, ending="none"))


class _Breaker:
    """Breaks the surroundings of a client, and interrupts it, as a trial says."""

    def __init__(self, where: Place, trouble: Trouble, home: str) -> None:
        self._where, self._trouble, self._home = where, trouble, home

    def __call__(self, client: Client, count: int) -> None:
        trial, breaks = self._trouble.trial, self._trouble.breaks
        if count == self._trouble.at and breaks == "disk full":
            _, hard = resource.prlimit(client.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (0, hard))
        elif count == self._trouble.at and breaks == "folder gone":
            shutil.rmtree(self._where.at(self._home).home / "clusters", ignore_errors=True)
        elif count == self._trouble.at and breaks == "reader leaves":
            client.is_read = False
        if count == trial.at and trial.ending != "none":
            client.send(signal.SIGINT if trial.ending == "sigint" else signal.SIGTERM)


@contextmanager
def _answers_break(where: Place, trouble: Trouble) -> Iterator[None]:
    """From some answer on, servers lack a field or have nothing in it."""
    gateway = where.sandbox.sandbox._gateway
    if gateway is None or trouble.breaks not in ("field missing", "field null"):
        yield
        return
    answer, count = gateway.answer, 0

    def answer_less(request: Any) -> Any:
        nonlocal count
        whole = answer(request)
        count += 1
        if count < trouble.at or not isinstance(whole.body, dict):
            return whole
        return evolve(whole, body=_less(whole.body, trouble))

    watched = where.counter.description
    where.counter.description = lambda *_: None  # type: ignore[assignment] # it would complain of such answers
    gateway.answer = answer_less  # type: ignore[method-assign]
    try:
        yield
    finally:
        del gateway.answer
        where.counter.description = watched


def _less(body: dict[str, Any], trouble: Trouble) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for row in (*body.get("servers", ()), *([body["server"]] if "server" in body else ())):
        if trouble.breaks == "field null":
            row[trouble.field] = None
        else:
            row.pop(trouble.field, None)
    return body


def go_through(where: Place, trouble: Trouble) -> tuple[tuple[str, ...], Ended]:
    """Go through a trial.

    Args:
        where: In which cloud; it is as before afterwards.
        trouble: What to do.

    Returns:
        What did not hold, in sentences, and how the create ended.
    """
    home = f"around-{trouble.trial.seed}"
    program = evolve(where.create(trouble.trial.workers, home=home), around=trouble.around)
    where.counter.reset()
    where.sandbox.set_faults(trouble.trial.faults)
    with _answers_break(where, trouble):
        ended = run(program, within_s=where.within_s, act=_Breaker(where, trouble, home))
    where.sandbox.set_faults(NO_FAULTS)
    broken = tuple(_judge(where, trouble, home, ended))
    where.sweep()
    shutil.rmtree(where.folder / home)
    return broken, ended


def _is_told(ended: Ended) -> bool:
    """Whether a cluster was told of as made: a signal may come when all is said."""
    return (ended.document or {}).get("state") == "ready"


def _judge(where: Place, trouble: Trouble, home: str, ended: Ended) -> Iterator[str]:
    """See what held: a whole cluster, or nothing, or exit code 8 with the folder that has the keys."""
    left, kept = where.own(), folders(where.at(home))
    if ended.is_late:
        yield f"it did not end within {where.within_s:g} s; left: {', '.join(left)}"
    elif ended.code == 0 or _is_told(ended) or (ended.code < 0 and is_ready(where, home)):
        yield from unfinished(trouble.trial, left)
        if trouble.breaks != "folder gone":
            yield from given_back(where, home=home)
    elif left and ended.code != ExitCode.LEFTOVERS:
        yield f"{', '.join(left)} left, and its exit code is {ended.code}"
    elif left and not kept and trouble.breaks != "folder gone":
        yield f"the folder of '{PREFIX}' went and {', '.join(left)} stayed"
    elif kept and not left and ended.code != ExitCode.LEFTOVERS and trouble.breaks not in ("disk full", "folder gone"):
        yield "the folder stayed when the cluster was gone"
