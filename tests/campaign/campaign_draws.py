# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From a number to what goes wrong, with how large a cluster, and how it is interrupted. Pure, so reproducible."""

from __future__ import annotations

import random
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Literal, get_args

from attrs import frozen

from scherbelberg.sandbox.faults import (
    ActionFault,
    Disguise,
    Faults,
    HostFault,
    HostFaultKind,
    RequestFault,
    ScriptPhase,
    SoldOut,
)
from scherbelberg.spec.model import Timeouts

Hosts = Literal["scripted", "process"]
#: How a create is interrupted from outside or inside, if it is.
Ending = Literal["none", "sigint", "sigint twice", "sigint twice at a terminal", "sigterm", "kill", "cancel", "exit"]
PREFIX = "camp"
#: More requests than most of these creates send, and more lines than most of them write.
_REQUESTS, _LINES = 36, 90
#: Deadlines of a few seconds, since everything is fast here.
DEADLINES: dict[Hosts, Timeouts] = {
    "scripted": Timeouts(
        request=1, cloud=3, rent=4, reach=3, bootstrap=4, node_wait=2, join=4, delete=10, logs=1, solve=5
    ),
    "process": Timeouts(
        request=2, cloud=4, rent=10, reach=8, bootstrap=30, node_wait=10, join=20, delete=20, logs=2, solve=5
    ),
}
#: Of creates that are killed: what goes on with them has the same ones, and is to reach its end on a busy computer.
PATIENT = Timeouts(request=5, cloud=10, rent=30, reach=15, bootstrap=30, node_wait=20, join=30, delete=30, solve=5)
#: The words with which a refusal that does not pass may come.
_REFUSALS = ((403, "forbidden"), (422, "invalid_input"), (403, "resource_limit_exceeded"), (400, "json_error"))
_PASSING = ((503, "unavailable"), (500, "server_error"), (502, "bad_gateway"), (504, "timeout"), (503, "maintenance"))
_BUSY = ((423, "locked"), (409, "conflict"))
_PARTS: tuple[ScriptPhase, ...] = ("hostkey", "environment", "tls", "service")
_COMMANDS = ("create_server", "start_server", "attach_to_network", "delete_server")


@frozen(kw_only=True)
class Trial:
    """One create, and all that is done to it.

    Args:
        seed: What it was drawn from.
        hosts: What its servers are.
        workers: Its size.
        kinds: What goes wrong, in words.
        faults: The same for the sandbox.
        ending: How it is interrupted.
        at: After how many of its lines or events.
        keep: Whether what was made is to be kept if it fails.
    """

    seed: int
    hosts: Hosts
    workers: int
    kinds: tuple[str, ...]
    faults: Faults
    ending: Ending
    at: int
    keep: bool

    @property
    def holds_on(self) -> bool:
        """Whether what goes wrong may keep things in the cloud however long one tries: they are named then."""
        deaf = any(one.times is None or (one.status, one.code) in _REFUSALS for one in self.faults.requests)
        return deaf or any(one.command == "delete_server" for one in self.faults.actions)

    @property
    def machine_ails(self) -> bool:
        """Whether something that lasts is wrong with the scheduler's machine, or with one that was replaced already."""
        return bool(self.faults.dead) or any(fnmatch(f"{PREFIX}-scheduler", one.server) for one in self.faults.hosts)


#: What processes cannot be told.
_SCRIPTED = ("no_interface", "never_joins", "no_program", "no_logs")


def draw(seed: int, *, hosts: Hosts = "scripted") -> Trial:
    """Draw a trial.

    Args:
        seed: Any number.
        hosts: What its servers are.
    """
    dice = random.Random(f"{hosts} {seed}")
    unable = () if hosts == "scripted" else _SCRIPTED
    able = [name for name in KINDS if name not in unable]
    count = dice.choice((0, 1, 1, 1, 2, 2, 3))
    kinds = tuple(dice.sample(able, count))
    ending = dice.choice(("none", "none", "none", *get_args(Ending)))
    return Trial(
        seed=seed,
        hosts=hosts,
        workers=dice.choice((1, 1, 2, 2, 3, 5)) if hosts == "scripted" else dice.choice((1, 2)),
        kinds=kinds,
        faults=_merged([KINDS[name](dice) for name in kinds]),
        ending=ending,
        at=dice.randint(1, _LINES),
        keep=ending in ("none", "sigint") and dice.random() < 0.15,
    )


def _merged(parts: list[Faults]) -> Faults:
    def most(values: list[int | None]) -> int | None:
        return min((value for value in values if value is not None), default=None)

    return Faults(
        requests=tuple(one for part in parts for one in part.requests),
        sold_out=tuple(one for part in parts for one in part.sold_out),
        actions=tuple(one for part in parts for one in part.actions),
        hosts=tuple(one for part in parts for one in part.hosts),
        dead=tuple(one for part in parts for one in part.dead),
        slow_s=sum(part.slow_s for part in parts),
        servers=most([part.servers for part in parts]),
        primary_ips=most([part.primary_ips for part in parts]),
    )


def _node(dice: random.Random) -> str:
    return dice.choice(("*-scheduler", "*-worker000", "*-worker000", "*-worker001", "*-worker*", "*"))


def _one_of(words: tuple[tuple[int, str], ...]) -> Callable[[random.Random], Faults]:
    def make(dice: random.Random) -> Faults:
        status, code = dice.choice(words)
        return _requests(dice, status=status, code=code)

    return make


def _requests(dice: random.Random, **fields: object) -> Faults:
    method = dice.choice(("*", "*", "POST", "DELETE", "GET"))
    number = dice.randint(1, _REQUESTS if method == "*" else 8)
    return Faults(requests=(RequestFault(number=number, method=method, **fields),))  # type: ignore[arg-type] # its own


def _limited(dice: random.Random) -> Faults:
    return _requests(dice, status=429, code="rate_limit_exceeded", times=dice.randint(1, 3))


def _out_for_a_while(dice: random.Random) -> Faults:
    return _requests(dice, status=503, code="unavailable", times=dice.randint(2, 12))


def _slow(dice: random.Random) -> Faults:
    return _requests(dice, how="slow", slow_s=dice.choice((0.3, 0.9, 1.2, 1.5)))


def _all_slow(dice: random.Random) -> Faults:
    return Faults(slow_s=dice.choice((0.02, 0.05)))


def _revoked(dice: random.Random) -> Faults:
    number = dice.randint(1, _REQUESTS)
    return Faults(requests=(RequestFault(number=number, status=401, code="unauthorized", times=None),))


def _without_rights(dice: random.Random) -> Faults:
    method = dice.choice(("DELETE", "POST", "PUT"))
    number = dice.randint(1, 4)
    wrong = RequestFault(number=number, method=method, status=403, code="forbidden", times=None)
    return Faults(requests=(wrong,))


def _sold_out(dice: random.Random) -> Faults:
    places = {"server_type": dice.choice(("*", "cx*", "cx23")), "location": dice.choice(("*", "fsn1", "nbg1"))}
    return Faults(sold_out=(SoldOut(disguise=dice.choice(get_args(Disguise)), **places),))


def _action(how: Literal["error", "endless"]) -> Callable[[random.Random], Faults]:
    def make(dice: random.Random) -> Faults:
        return Faults(actions=(ActionFault(command=dice.choice(_COMMANDS), server=_node(dice), how=how),))

    return make


def _host(how: HostFaultKind) -> Callable[[random.Random], Faults]:
    def make(dice: random.Random) -> Faults:
        return Faults(hosts=(HostFault(server=_node(dice), how=how, phase=dice.choice(_PARTS)),))

    return make


#: All kinds of faults by name.
KINDS: dict[str, Callable[[random.Random], Faults]] = {
    "refused": _one_of(_REFUSALS),
    "passing error": _one_of(_PASSING),
    "busy": _one_of(_BUSY),
    "rate limit": _limited,
    "outage": _out_for_a_while,
    "dropped before": lambda dice: _requests(dice, how="drop_before"),
    "dropped after": lambda dice: _requests(dice, how="drop_after"),
    "slow answer": _slow,
    "trickling answer": lambda dice: _requests(dice, how="trickle", slow_s=dice.choice((3.0, 30.0, 120.0))),
    "all slow": _all_slow,
    "token revoked": _revoked,
    "token without rights": _without_rights,
    "sold out": _sold_out,
    "quota of servers": lambda dice: Faults(servers=dice.randint(1, 3)),
    "quota of addresses": lambda dice: Faults(primary_ips=dice.randint(0, 6)),
    "action in error": _action("error"),
    "action without end": _action("endless"),
    "never boots": lambda dice: Faults(dead=(_node(dice),)),
    **{how: _host(how) for how in get_args(HostFaultKind)},
}
