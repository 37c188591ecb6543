# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Shows events while they happen: a live table on a terminal, plain or JSON lines elsewhere. All goes to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from scherbelberg.cli.output import Reporter, get_reporter
from scherbelberg.events import Event, Listener, Phase, ignore_events

_MARKS = {"done": "✓", "skipped": "✓", "failed": "✗"}
_MOST_ROWS = 20


@contextmanager
def show_progress(console: Console) -> Iterator[Listener]:
    """Show events until the end of the block, in the way that the command's options ask for.

    Args:
        console: Where; on stderr.

    Returns:
        What takes the events, from any thread.
    """
    reporter = get_reporter()
    way = reporter.progress or ("none" if reporter.is_quiet else "auto")
    if way == "none":
        yield ignore_events
    elif way == "json":
        yield _JsonLines(reporter)
    elif way == "plain" or reporter.is_verbose or not console.is_terminal:
        # Verbose: what is logged in between would tear a table apart.
        yield _PlainLines(console, is_verbose=reporter.is_verbose)
    else:
        table = _LiveTable(time.monotonic(), console)
        with table.live:
            yield table


@contextmanager
def pause_progress(listener: Listener) -> Iterator[None]:
    """Leave the terminal to a question for a while: the live table goes, and comes back below.

    Args:
        listener: What `show_progress` returned.
    """
    if not isinstance(listener, _LiveTable):
        yield
        return
    listener.live.transient = True
    listener.live.stop()
    listener.live.transient = False
    try:
        yield
    finally:
        listener.live.start(refresh=True)


class _JsonLines:
    """One JSON object for each event."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def __call__(self, event: Event) -> None:
        values = {
            "type": "event",
            "phase": event.phase.value,
            "state": event.state,
            "node": event.node,
            "detail": event.detail,
            "done": event.done,
            "total": event.total,
            "at_s": round(event.at_s - self._reporter.begin_s, 3),
        }
        self._reporter.write_line(values)


class _Once:
    """Lets the words of a failure be read once: whoever fails alike is told to, and the words are not repeated."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __call__(self, event: Event) -> Event:
        """The event with those words alone that were not told before."""
        who = event.node or "cluster"
        words = event.detail
        if event.state != "failed" or not words:
            return event
        if (first := self._told.get(words)) is not None:
            return evolve(event, detail="again" if first == who else f"as {first}")
        short = words
        for known in self._told:
            short = short.replace(known, "see above")
        self._told[words] = who
        return evolve(event, detail=short)


class _PlainLines:
    """One line for each event that matters."""

    def __init__(self, console: Console, *, is_verbose: bool) -> None:
        self._once = _Once()
        self._console = console
        self._is_verbose = is_verbose
        self._begin = time.monotonic()

    def __call__(self, event: Event) -> None:
        if event.state == "progress" and not (self._is_verbose or event.detail):
            return  # but what holds it up matters
        event = self._once(event)
        words = [f"{event.at_s - self._begin:7.1f} s", f"{event.node or 'cluster':<10}", event.phase.value, event.state]
        if event.state == "progress" and (count := _count(event)):
            words.append(count)
        if event.detail:
            words.append(f"({event.detail})")
        self._console.print(" ".join(words), highlight=False, markup=False, soft_wrap=True)


class _LiveTable:
    """A row for the cluster and each node, with what it is doing; drawn anew several times a second."""

    def __init__(self, begin_s: float, console: Console) -> None:
        self.live = Live(self, console=console, refresh_per_second=8, transient=False)
        self._begin_s = begin_s
        self._rows: dict[str, Event] = {}
        self._spinner = Spinner("dots")
        self._once = _Once()

    def __call__(self, event: Event) -> None:
        event = self._once(event)
        if event.phase is Phase.PLAN and event.state == "done":
            # What it costs stays in sight, above the table.
            self.live.console.print(event.detail, highlight=False, markup=False, soft_wrap=True)
            event = evolve(event, detail="")
        self._rows[event.node or "cluster"] = event

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 2))
        rows = sorted(self._rows.items(), key=lambda item: (item[0] != "cluster", item[0] != "scheduler", item[0]))
        for name, event in rows[:_MOST_ROWS]:
            mark = Text(_MARKS[event.state], style=_style(event)) if event.state in _MARKS else self._spinner
            cells = (Text(name), Text(event.phase.value, style=_style(event)), Text(_count(event)), Text(event.detail))
            table.add_row(mark, *cells)
        hidden = len(rows) - _MOST_ROWS
        more = [Text(f"... and {hidden} more nodes")] if hidden > 0 else []
        return Group(table, *more, Text(f"{time.monotonic() - self._begin_s:.0f} s", style="dim"))


def _count(event: Event) -> str:
    """How much is done of how much, for people; downloads are told in bytes, and their whole may be unknown."""
    if event.done is None:
        return ""
    if event.phase is Phase.DOWNLOAD:
        whole = f"/{event.total / 1e6:.0f}" if event.total else ""
        return f"{event.done / 1e6:.0f}{whole} MB"
    return f"{event.done}/{event.total}" if event.total else ""


def _style(event: Event) -> str:
    return {"failed": "red", "done": "green", "skipped": "green"}.get(event.state, "cyan")
