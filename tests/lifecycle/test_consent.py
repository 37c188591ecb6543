# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Before money is spent a person at a terminal is told what it costs and asked, and nobody else is."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from catalogues import identity
from rich.console import Console
from sandbox_helpers import Api
from surroundings import environment_for, folders, held, settings_for

from scherbelberg import ClusterSpec, Event, Phase
from scherbelberg.cli.main import group
from scherbelberg.cli.output import Reporter
from scherbelberg.cli.progress import pause_progress, show_progress
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cluster import Cluster
from scherbelberg.environments.interpreter import own_client
from scherbelberg.errors import ClusterExists
from scherbelberg.events import ignore_events
from scherbelberg.lifecycle.order import place_order
from scherbelberg.planning.plan import ClusterPlan
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60
QUESTION = "Make it? [y/N]: "
PRICE = "0.0192 EUR per hour net, 0.0228 gross, at most 0.0384 net, 0.0457 gross within 2 h"
WORDS = ("create", "-p", "asked", "-w", "1", "--ttl", "2h")


@pytest.fixture
def settings(emulated: SandboxThread, tmp_path: Path) -> Iterator[Settings]:
    """Settings that lead to the module's cloud, where no network can be made."""
    emulated.set_faults(Faults(requests=(RequestFault(method="POST", path="/networks", status=403, code="forbidden"),)))
    found = settings_for(emulated, tmp_path)
    yield found
    assert held(found) == []
    assert folders(found) == []


class Person:
    """Somebody at a terminal, with the program in front of them."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self.seen = ""

    def read_until(self, words: str) -> None:
        """Read up to some words.

        Args:
            words: Empty for the program's end.
        """
        while not words or words not in self.seen:
            ready, _, _ = select.select([self._terminal], [], [], WITHIN_S)
            assert ready, self.seen
            try:
                read = os.read(self._terminal, 4096)
            except OSError:  # the other side is closed
                read = b""
            if not read:
                assert not words, self.seen
                return
            self.seen += read.decode()

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        self.read_until("")
        return self.process.wait(WITHIN_S)


@contextmanager
def sitting_before(settings: Settings, *words: str) -> Iterator[Person]:
    """Start the program at a terminal of its own."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scherbelberg", *words],
        env=environment_for(settings) | {"TERM": "xterm", "COLUMNS": "200"},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        yield Person(process, control)
    finally:
        process.kill()
        process.wait(WITHIN_S)
        os.close(control)


@pytest.mark.parametrize("answer", ["\n", "\x04"])
def test_no_is_the_default(settings: Settings, answer: str) -> None:
    """Who only presses Enter, or ends the input, has nothing made; the price was shown once."""
    with sitting_before(settings, *WORDS) as person:
        person.read_until(QUESTION)
        person.type(answer)
        assert person.end() == 130
    assert "Nothing was made." in person.seen
    assert person.seen.count(PRICE) == 1


def test_yes(settings: Settings) -> None:
    """Who agrees has it made, without another look at the catalogue."""
    with sitting_before(settings, *WORDS, "--progress", "none") as person:
        person.read_until(QUESTION)
        assert person.seen.count(PRICE) == 1
        person.type("y\n")
        assert person.end() == 3
    assert "refused POST /networks" in person.seen


def test_interrupted_question(settings: Settings) -> None:
    """A signal ends the question at once."""
    with sitting_before(settings, *WORDS) as person:
        person.read_until(QUESTION)
        person.process.send_signal(signal.SIGINT)
        assert person.end() == 130
    assert "Interrupted" in person.seen


@pytest.mark.parametrize("word", ["--yes", "--quiet", "--json", "--progress=json"])
def test_unasked(settings: Settings, word: str) -> None:
    """With --yes, and where no person reads along, nobody is asked."""
    with sitting_before(settings, *WORDS, word) as person:
        assert person.end() == 3
    assert QUESTION not in person.seen


async def test_programs_may_look(settings: Settings) -> None:
    """A program is given the plan before anything is made, and what it raises ends that."""
    plans: list[ClusterPlan] = []

    async def agree(plan: ClusterPlan) -> None:
        plans.append(plan)
        raise ValueError("too dear")

    spec = ClusterSpec(prefix="asked", workers=1, ttl_s=7200, network_range=settings.network_range)
    with pytest.raises(ValueError, match="too dear"):
        await Cluster.from_new(spec, settings=settings, agree=agree)
    (plan,) = plans
    assert plan.bill.at_most is not None
    assert plan.bill.at_most.net == 2 * plan.bill.hourly.net


async def test_life_begins_after_the_yes(emulated: SandboxThread, settings: Settings) -> None:
    """However long somebody thinks about it, the cluster is as old as the answer, and has all of its time to live."""
    plans: list[ClusterPlan] = []
    hetzner = Hetzner(settings.access, request_s=5, patience_s=5)

    async def think(plan: ClusterPlan) -> None:
        plans.append(plan)
        emulated.set_clock(200)

    try:
        spec = ClusterSpec(prefix="asked", workers=1, ttl_s=7200, network_range=settings.network_range)
        order = await place_order(hetzner, settings, spec, own_client(), ignore_events, agree=think)
    finally:
        emulated.set_clock(0)
        hetzner.close()
    order.folder.drop()
    asked, made = plans[0].identity, order.plan.identity
    assert made.deadline_s == made.created_s + 7200
    assert made.created_s >= asked.created_s + 200
    assert (order.plan.begin_s, order.manifest.identity) == (made.created_s, made)
    assert made.uid != asked.uid


async def test_name_taken_while_thinking(emulated: SandboxThread, settings: Settings) -> None:
    """Whoever takes the name while somebody thinks about it has it, and nothing is made."""
    cloud, hetzner = Api(emulated.settings), Hetzner(settings.access, request_s=5, patience_s=5)

    async def think(_plan: ClusterPlan) -> None:
        who = identity("asked", uid="theirs0")
        body = {"name": "asked", "labels": who.labels("firewall")}
        assert cloud("POST", "/firewalls", body).status == 201

    spec = ClusterSpec(prefix="asked", workers=1, network_range=settings.network_range)
    with pytest.raises(ClusterExists, match="There is a cluster 'asked' of anna_at_laptop"):
        await place_order(hetzner, settings, spec, own_client(), ignore_events, agree=think)
    hetzner.close()
    (row,) = cloud("GET", "/firewalls").body["firewalls"]
    assert cloud("DELETE", f"/firewalls/{row['id']}").status == 204
    cloud.close()


def test_the_price_stays_in_sight() -> None:
    """Above the live table the price stands once, and the table goes while somebody is asked."""
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    with click.Context(group, obj=Reporter()), show_progress(console) as listen:
        listen(Event(phase=Phase.PLAN, state="done", detail="costs 7 EUR"))
        with pause_progress(listen):
            console.print("a question")
        listen(Event(phase=Phase.NETWORK, state="start", detail="words"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("costs 7 EUR") == 1
    assert text.index("costs 7 EUR") < text.index("a question") < text.rindex("network")
