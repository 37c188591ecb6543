# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How much the commands say on stderr, and in which form: --quiet, -v, --progress."""

from __future__ import annotations

import io
import logging

import click
import pytest
from rich.console import Console
from schemas import read_lines
from shells import Shell, Terminal
from surroundings import held

from scherbelberg.cli.main import group
from scherbelberg.cli.output import Reporter
from scherbelberg.cli.progress import show_progress
from scherbelberg.events import Event, Phase, State

pytestmark = pytest.mark.hosts("scripted")


@pytest.mark.parametrize("words", [("--quiet", "ls"), ("ls", "--quiet"), ("-q", "ls"), ("-v", "ls", "-q")])
def test_quiet(shell: Shell, words: tuple[str, ...]) -> None:
    """Before and after the command's name, --quiet leaves nothing but the result."""
    assert shell(*words) == (0, "There are no clusters.\n", "")


@pytest.mark.parametrize("words", [("-v", "ls"), ("ls", "-v"), ("--verbose", "ls"), ("-q", "ls", "-v")])
def test_verbose(shell: Shell, words: tuple[str, ...]) -> None:
    """Before and after the command's name, -v tells each request, once, and leaves no handler behind."""
    code, output, complaints = shell(*words)
    assert (code, output) == (0, "There are no clusters.\n")
    assert complaints.startswith("SANDBOX at ")
    assert complaints.count("GET /v1/servers?label_selector=managed-by%3Dscherbelberg&page=1&per_page=50: 200 in ") == 1
    assert shell.settings.access.token not in complaints
    logger = logging.getLogger("scherbelberg")
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)
    # The sandbox, which is in this process, may be late with a line of its own.
    assert ": 200 in " not in shell("ls")[2]


def test_life(shell: Shell) -> None:
    """A quiet create and a destroy without progress say next to nothing; a verbose one says all, in lines if asked."""
    code, output, complaints = shell("create", "-p", "mute", "-w", "1", "--quiet")
    assert (code, output.startswith("Cluster mute (ready"), complaints) == (0, True, "")
    code, _, complaints = shell("destroy", "-p", "mute", "--progress", "none")
    assert (code, len(complaints.splitlines()), complaints[:11]) == (0, 1, "SANDBOX at ")
    assert held(shell.settings) == []


def test_verbose_lines(shell: Shell) -> None:
    """What is logged takes the form of lines, too."""
    code, _, complaints = shell("-v", "nuke", "-p", "nobody", "--progress", "json")
    lines = read_lines(complaints)
    assert (code, lines[-1]["type"]) == (10, "error")
    assert ("scherbelberg.cloud.transport", "info") in {(line.get("logger"), line.get("level")) for line in lines}


def test_unknown_way(shell: Shell) -> None:
    """A way of showing progress that does not exist is bad usage."""
    code, output, complaints = shell("destroy", "--progress", "loud")
    assert (code, output) == (2, "")
    assert "'loud' is not one of 'auto', 'plain', 'json', 'none'" in complaints


def _told(reporter: Reporter, *states: State, terminal: bool) -> str:
    """What a console shows of a deletion's events."""
    events = (
        Event(phase=Phase.DELETE, state=state, done=number, total=7, detail=_detail(state), at_s=reporter.begin_s)
        for number, state in enumerate(states)
    )
    return _shown(reporter, *events, terminal=terminal)


def _detail(state: State) -> str:
    return "" if state == "progress" else "words"


def _shown(reporter: Reporter, *events: Event, terminal: bool) -> str:
    """What a console shows of events."""
    console = Console(file=Terminal() if terminal else io.StringIO(), force_terminal=terminal, width=100)
    with click.Context(group, obj=reporter), show_progress(console) as listen:
        for event in events:
            listen(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _reporter(**values: object) -> Reporter:
    reporter = Reporter()
    for name, value in values.items():
        setattr(reporter, name, value)
    return reporter


def test_ways() -> None:
    """A table for a terminal, lines elsewhere, more of them if asked for, nothing when quiet unless asked for."""
    states: tuple[State, ...] = ("start", "progress", "done")
    table = _told(_reporter(), *states, terminal=True)
    assert ("✓" in table, "  2/7  words" in table, table.count("\n") > 2) == (True, True, True)
    plain = _told(_reporter(), *states, terminal=False).splitlines()
    assert [line.partition("cluster")[2].strip() for line in plain] == ["delete start (words)", "delete done (words)"]
    assert _told(_reporter(progress="plain"), *states, terminal=True).count("delete") == 2
    loud = _told(_reporter(is_verbose=True), *states, terminal=True).splitlines()
    assert (len(loud), loud[1].split()[-3:]) == (3, ["delete", "progress", "1/7"])
    assert _told(_reporter(is_quiet=True), *states, terminal=True) == ""
    assert _told(_reporter(progress="none"), *states, terminal=False) == ""
    assert _told(_reporter(is_quiet=True, progress="plain"), *states, terminal=False).count("delete") == 2


@pytest.mark.parametrize(
    ("done", "total", "shown_as"),
    [(190_000_215, 400_025_000, "190/400 MB"), (190_000_215, None, "190 MB"), (0, 400_025_000, "0/400 MB")],
)
def test_downloads_are_told_in_megabytes(done: int, total: int | None, shown_as: str) -> None:
    """Nobody reads nine digits several times a second; programs get the bytes."""
    event = Event(node="worker000", phase=Phase.DOWNLOAD, state="progress", done=done, total=total)
    assert f" {shown_as} " in _shown(_reporter(), event, terminal=True)
    assert _shown(_reporter(is_verbose=True), event, terminal=False).endswith(f"download progress {shown_as}\n")


def test_downloads_that_are_held_up() -> None:
    """What a node waits for is a line everywhere, and stays in the table."""
    event = Event(node="worker000", phase=Phase.DOWNLOAD, state="progress", done=5_000_000, detail="next try in 33 s")
    assert "  5 MB  next try in 33 s" in _shown(_reporter(), event, terminal=True)
    assert _shown(_reporter(), event, terminal=False).endswith("download progress 5 MB (next try in 33 s)\n")


def test_lines_of_downloads(capsys: pytest.CaptureFixture[str]) -> None:
    """What programs read are bytes."""
    event = Event(node="worker000", phase=Phase.DOWNLOAD, state="progress", done=190_000_215, total=400_025_000)
    _shown(_reporter(progress="json"), event, terminal=False)
    (line,) = read_lines(capsys.readouterr().err)
    assert (line["done"], line["total"]) == (190_000_215, 400_025_000)


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one line of JSON, also those of progress, whatever the console is."""
    reporter = _reporter(progress="json", is_quiet=True)
    assert _told(reporter, "start", "progress", terminal=True) == ""
    lines = read_lines(capsys.readouterr().err)
    assert [(line["state"], line["done"], line["total"], line["at_s"]) for line in lines] == [
        ("start", 0, 7, 0.0),
        ("progress", 1, 7, 0.0),
    ]
