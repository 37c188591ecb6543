# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Trials: a create, all that is done to it, and what must hold afterwards."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve, frozen
from campaign_clients import Client, Ended, Json, Program, run
from campaign_draws import DEADLINES, PATIENT, PREFIX, Hosts, Trial
from campaign_judging import unexpected, unfinished, unsaid, was_told
from campaign_requests import Counter, Side
from sandbox_helpers import Api, new_key, public
from surroundings import environment_for, folders, held, settings_for

from scherbelberg.errors import ExitCode
from scherbelberg.sandbox.faults import NO_FAULTS, Faults, RequestFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.toml import write_spec
from scherbelberg.state.store import Store

#: Fast, but slow enough that things still happen one after the other.
TIME_SCALE = 0.01
#: What is added to the product's own deadlines, in seconds: a busy computer takes its time.
_SLACK_S = 60.0
_SIGNALS = {"sigint": signal.SIGINT, "sigterm": signal.SIGTERM, "kill": signal.SIGKILL}


@frozen(kw_only=True)
class Outcome:
    """What came of a trial.

    Args:
        trial: It.
        ended: How its create ended.
        took_s: How long that took, in seconds.
        broken: What did not hold, in sentences; nothing if all is well.
        leaked: Kind and name of what was left and of which nobody was told.
        requests: How many requests the create sent.
    """

    trial: Trial
    ended: Ended
    took_s: float
    broken: tuple[str, ...]
    leaked: tuple[str, ...]
    requests: int

    def __str__(self) -> str:
        lines = [f"seed {self.trial.seed}: {', '.join(self.trial.kinds) or 'nothing'}; {self.trial.ending}"]
        lines += [f"  {sentence}" for sentence in self.broken]
        lines += [repr(self.trial), repr(self.ended), self.ended.text]
        return "\n".join(lines)


@frozen(kw_only=True)
class Place:
    """A cloud for many trials, one after the other.

    Args:
        sandbox: It.
        counter: Sees its requests.
        folder: Where the clients' homes and files are.
        hosts: What its servers are.
        neighbours: Kind and name of what is somebody else's there.
    """

    sandbox: SandboxThread
    counter: Counter
    folder: Path
    hosts: Hosts
    neighbours: tuple[str, ...]

    def at(self, home: str) -> Settings:
        """Settings of a client there.

        Args:
            home: Name of its home.
        """
        return settings_for(self.sandbox, self.folder / home)

    def own(self) -> list[str]:
        """Kind and name of all that is there besides the neighbours'."""
        everything = held(self.at("nobody"))
        lost = set(self.neighbours) - set(everything)
        if lost:
            raise AssertionError(f"the neighbours lost {', '.join(sorted(lost))}")
        return [name for name in everything if name not in self.neighbours]

    def program(self, *words: str, home: str) -> Program:
        """A command of the command line."""
        settings = self.at(home)
        settings.home.mkdir(parents=True, exist_ok=True)
        return Program(words=words, environ=environment_for(settings), output=settings.home / "output")

    def create(self, workers: int, *, home: str, patient: bool = False) -> Program:
        """The command that creates a cluster, or a program that does once its words are taken away."""
        program = self.program(home=home)
        timeouts = PATIENT if patient else DEADLINES[self.hosts]
        spec = ClusterSpec(prefix=PREFIX, workers=workers, timeouts=timeouts)
        file = program.output.with_name("spec.toml")
        file.write_text(write_spec(spec), encoding="utf-8")
        words = ("create", "--spec", str(file), "--json", "--progress", "json")
        return evolve(program, words=words, spec=file)

    @property
    def within_s(self) -> float:
        """Until a client must have ended, in seconds: what its own deadlines sum up to, and some more."""
        limits = PATIENT
        own = limits.cloud + limits.rent + limits.reach + limits.bootstrap + limits.join + limits.delete
        return own + _SLACK_S

    def sweep(self) -> None:
        """Delete whatever a trial has left, so that the next one finds nothing of it."""
        if not self.own():
            return
        run(self.program("nuke", "-p", PREFIX, "--yes", "--json", home="sweeper"), within_s=self.within_s)


@contextmanager
def place(folder: Path, hosts: Hosts) -> Iterator[Place]:
    """A cloud in which somebody else has things whose names begin as ours.

    Args:
        folder: A new one.
        hosts: What its servers are.
    """
    counter = Counter()
    options = Options(hosts=hosts, time_scale=TIME_SCALE)
    with SandboxThread(folder / "sandbox", options, witness=counter.witness) as sandbox:
        counter.watch(sandbox)
        _settle_neighbours(sandbox)
        settings = settings_for(sandbox, folder / "nobody")
        found = Place(sandbox=sandbox, counter=counter, folder=folder, hosts=hosts, neighbours=tuple(held(settings)))
        # The first cluster takes longer than all others: Dask is loaded for it.
        if broken := resumed(found, 1, home="first"):
            raise AssertionError(broken)
        yield found


def _settle_neighbours(sandbox: SandboxThread) -> None:
    api = Api(sandbox.settings)
    foreign = {"managed-by": "scherbelberg", "prefix": f"{PREFIX}2", "uid": "ffffffffff", "owner": "ben_at_desk"}
    near = {"managed-by": "somebody", "prefix": PREFIX, "uid": "eeeeeeeeee"}
    bodies: list[tuple[str, Json]] = [
        ("networks", {"name": f"{PREFIX}2", "ip_range": sandbox.settings.network_range, "labels": foreign}),
        ("firewalls", {"name": f"{PREFIX}-firewall", "labels": {}}),
        ("ssh_keys", {"name": f"{PREFIX}-key", "public_key": public(new_key()), "labels": near}),
    ]
    for kind, body in bodies:
        reply = api("POST", f"/{kind}", body)
        if reply.status != 201:
            raise AssertionError(f"no neighbour: {reply.body}")
    api.close()


def attempt(where: Place, trial: Trial) -> Outcome:
    """Go through a trial.

    Args:
        where: In which cloud; it is as before afterwards.
        trial: What to do.
    """
    home = f"home-{trial.hosts}-{trial.seed}"
    program = _program(where, trial, home)
    where.counter.reset()
    where.sandbox.set_faults(trial.faults)
    begin_s = time.monotonic()
    ended = run(program, within_s=where.within_s, act=_Interruption(trial))
    took_s = time.monotonic() - begin_s
    requests = where.counter.count
    where.sandbox.set_faults(NO_FAULTS)
    broken, leaked = _judge(where, trial, home, ended)
    where.sweep()
    shutil.rmtree(where.folder / home)
    return Outcome(trial=trial, ended=ended, took_s=took_s, broken=broken, leaked=leaked, requests=requests)


def _program(where: Place, trial: Trial, home: str) -> Program:
    program = where.create(trial.workers, home=home, patient=trial.ending == "kill")
    if trial.ending in ("cancel", "exit"):
        return evolve(program, words=(), inner=trial.ending, inner_at=trial.at)
    words = (*program.words, "--keep-on-failure") if trial.keep else program.words
    return evolve(program, words=words, at_terminal=trial.ending == "sigint twice at a terminal")


class _Interruption:
    """Interrupts a client as a trial says."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._again = False

    def __call__(self, client: Client, count: int) -> None:
        ending = self._trial.ending
        if count == self._trial.at and ending in _SIGNALS:
            client.send(_SIGNALS[ending])
        elif count == self._trial.at and ending.startswith("sigint twice"):
            client.send(signal.SIGINT)
            self._again = True
        elif self._again:
            self._again = False
            client.send(signal.SIGINT)


def _judge(where: Place, trial: Trial, home: str, ended: Ended) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """See what held of all that must hold, and give back what is there.

    Returns:
        What did not hold, in sentences, and what was leaked.
    """
    left, kept = where.own(), folders(where.at(home))
    if ended.is_late:
        return (f"it did not end within {where.within_s:g} s",), tuple(left)
    is_made = (ended.document or {}).get("state") == "ready"  # a signal may come when all is said
    if ended.code == -signal.SIGKILL:
        ails = trial.machine_ails
        broken = resumed(where, trial.workers, home=home, ails=ails) if trial.seed % 2 else nuked(where)
    elif ended.code == 0 or is_made:
        broken = (*unfinished(trial, left), *given_back(where, home=home))
    else:
        broken = (*unsaid(ended), *unexpected(trial, ended, left, kept))
        if left or kept:
            broken += given_back(where, home=home)
    untold = [] if ended.code <= 0 or is_made or was_told(ended, left) else left
    return broken, (*untold, *where.own())


def killed(where: Place, side: Side, number: int, *, home: str, workers: int = 1) -> Ended:
    """Begin a create and kill it at a request; its code is 0 if it never sent that many."""
    where.counter.reset()
    lost = (RequestFault(number=number, how="drop_before"),) if side == "before" else ()
    where.sandbox.set_faults(Faults(requests=lost))

    def act(client: Client, count: int) -> None:
        if count == 0:
            where.counter.at(side, number, client.kill)

    try:
        return run(where.create(workers, home=home, patient=True), within_s=where.within_s, act=act)
    finally:
        where.counter.reset()
        where.sandbox.set_faults(NO_FAULTS)


def given_back(where: Place, *, home: str) -> tuple[str, ...]:
    """Give a cluster back on the computer that made it; returns what did not go well."""
    destroyed = run(where.program("destroy", "-p", PREFIX, "--json", home=home), within_s=where.within_s)
    gone = () if destroyed.code == 0 else (f"destroy ended with {destroyed.code}: {destroyed.error or destroyed.text}",)
    return (*gone, *_empty(where), *(f"{folder} stayed" for folder in folders(where.at(home))))


def resumed(where: Place, workers: int, *, home: str, ails: bool = False) -> tuple[str, ...]:
    """Go on on the computer where a create was killed, then give the cluster back; returns what did not go well.

    Where a machine ails whose place no other takes, or none any more, the create may end as one that fails at a node.
    """
    begun = folders(where.at(home)) if where.own() else []
    again = run(where.create(workers, home=home, patient=True), within_s=where.within_s)
    wrong: tuple[str, ...] = ()
    if again.code == ExitCode.EXISTS and is_ready(where, home):
        pass  # it was killed when all was done
    elif ails and again.code in (ExitCode.TIMEOUT, ExitCode.NODE):
        return (*unsaid(again), *_empty(where), *(f"{folder} stayed" for folder in folders(where.at(home))))
    elif again.code != 0:
        wrong = (f"create was not resumed: {again.code} {again.error or again.text}",)
    elif begun and begun != folders(where.at(home)):
        wrong = ("create made another cluster instead of going on",)
    return (*wrong, *given_back(where, home=home))


def is_ready(where: Place, home: str) -> bool:
    """Whether the client's own computer remembers one cluster, as made.

    Args:
        where: In which cloud.
        home: Name of the client's home.
    """
    settings = where.at(home)
    states = [one.read().state for one in Store(settings.home).folders(prefix=PREFIX)]
    return states == ["ready"]


def nuked(where: Place) -> tuple[str, ...]:
    """Empty the project from a computer that knows nothing; returns what did not go well."""
    done = run(where.program("nuke", "-p", PREFIX, "--yes", "--json", home="elsewhere"), within_s=where.within_s)
    fine = done.code in (ExitCode.OK, ExitCode.NOT_FOUND)
    return (*(() if fine else (f"nuke ended with {done.code}: {done.error or done.text}",)), *_empty(where))


def _empty(where: Place) -> tuple[str, ...]:
    left = where.own()
    return (f"{', '.join(left)} stayed",) if left else ()
