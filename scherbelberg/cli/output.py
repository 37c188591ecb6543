# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What one run of the program says: sentences for a person, documents for another program, little or much."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import click
from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scherbelberg.cli.streams import output
from scherbelberg.errors import FailedAttempt
from scherbelberg.events import NOTICES

Json = dict[str, Any]
Progress = Literal["auto", "plain", "json", "none"]
SCHEMA = 1
#: How long somebody who leaves at once waits for the last words to be written, in seconds.
_LAST_WORDS_S = 1.0
#: The library's own loggers are all below this one.
_LOGGER = "scherbelberg"
_OUTCOMES = {"sold_out": "no capacity", "quota": "limit reached", "failed": "failed"}


@frozen(kw_only=True)
class Failure:
    """Why the program fails.

    Args:
        code: A stable word for programs.
        message: One sentence for people.
        exit_code: What the program exits with.
        node: Name of the node concerned, or None.
        phase: Phase in which it happened, or None.
        log_tail: The last lines of what failed, oldest first.
        left_over: Kind and name of each resource that is still there, or of a cluster of which something may be.
        log_file: File on this computer with more of those lines, or None.
        tried: What was tried in vain for the nodes of a cluster, in order.
        instead: What there is where there is no capacity, as documents, the best first.
    """

    code: str
    message: str
    exit_code: int
    node: str | None = None
    phase: str | None = None
    log_tail: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    log_file: str | None = None
    tried: tuple[FailedAttempt, ...] = ()
    instead: tuple[Json, ...] = ()

    @property
    def document(self) -> Json:
        """The same for programs."""
        error = {
            "code": self.code,
            "message": self.message,
            "node": self.node,
            "phase": self.phase,
            "log_tail": list(self.log_tail),
            "log_file": self.log_file,
            "tried": tries_document(self.tried),
            **({"instead": list(self.instead)} if self.instead else {}),
        }
        return {"schema": SCHEMA, "error": error, "left_over": list(self.left_over)}


class Reporter:
    """Reports what one run of the program does; results go to stdout, all else to stderr."""

    def __init__(self) -> None:
        self.as_json = False
        self.progress: Progress | None = None
        self.is_quiet = False
        self.is_verbose = False
        self.begin_s = time.monotonic()
        #: What stays in the cloud if the command fails from here on, by kind and name.
        self.remains: tuple[str, ...] = ()
        #: What a document tells beside an error if the command fails from here on.
        self.findings: Json = {}
        #: The signal that came first while something was done, if any did.
        self.interrupted_by: int | None = None
        self._has_answered = False

    @property
    def writes_lines(self) -> bool:
        """Whether every line on stderr is a JSON object."""
        return self.progress == "json"

    @property
    def is_for_programs(self) -> bool:
        """Whether nobody reads along who could answer a question."""
        return self.as_json or self.writes_lines

    def answer(self, document: object) -> None:
        """Print the command's document, the only one.

        Args:
            document: JSON values.
        """
        self._has_answered = True
        # ASCII, since the encoding of stdout is anybody's guess where it is no terminal.
        click.echo(json.dumps(document, indent=2))

    def info(self, text: str) -> None:
        """Tell a person something that is neither a result nor an error.

        Args:
            text: A sentence.
        """
        if not self.is_quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Tell a person something that has to be known, whatever was asked for.

        Args:
            text: A sentence.
        """
        if self.writes_lines:
            self.write_line({"type": "message", "text": text})
        else:
            click.echo(text, err=True)

    def info_from_signal(self, text: str) -> None:
        """Tell a person something from within a signal handler.

        Args:
            text: A sentence.
        """
        if not self.is_quiet:
            # Not echo: a signal may arrive in the middle of one.
            line = _line({"type": "message", "text": text}) if self.writes_lines else f"\n{text}\n"
            output().write(2, line)

    def fail_from_signal(self, failure: Failure) -> None:
        """Fail from within a signal handler, right before the process ends.

        Args:
            failure: Why.
        """
        line = _line({"type": "error", **failure.document}) if self.writes_lines else f"\n{failure.message}\n"
        output().write(2, line)
        if self.as_json and not self._has_answered:
            output().write(1, _line({**failure.document, **self.findings}))
        output().drain(_LAST_WORDS_S)

    def fail(self, failure: Failure) -> None:
        """Tell why the program fails, unless a person was told by somebody else.

        Args:
            failure: Why.
        """
        if self.writes_lines:
            self.write_line({"type": "error", **failure.document})
        else:
            self._explain(failure)
        self.answer_failure(failure)

    def answer_failure(self, failure: Failure) -> None:
        """Print the document of a failure if one is wanted and there was no answer yet.

        Args:
            failure: Why.
        """
        if self.as_json and not self._has_answered:
            self.answer({**failure.document, **self.findings})

    def _explain(self, failure: Failure) -> None:
        for line in failure.log_tail:
            click.echo(f"  | {line}", err=True)
        if len(failure.tried) > 1:  # a single one is what the sentence tells
            print_tries(tries_document(failure.tried), Console(stderr=True), message=failure.message)
        places = {"node": failure.node, "phase": failure.phase}
        unsaid = [f"{word} {name}" for word, name in places.items() if name and name not in failure.message]
        where = f" ({', '.join(unsaid)})" if unsaid else ""
        label = "" if failure.code == "cancelled" else "Error: "
        click.echo(f"{label}{failure.message}{where}", err=True)

    def write_line(self, values: Json) -> None:
        """Write one JSON object to stderr, on a line of its own; threads do not mix theirs.

        Args:
            values: JSON values.
        """
        sys.stderr.write(_line(values))
        sys.stderr.flush()

    def attach_log(self) -> logging.Handler:
        """Pass on what the library logs, from INFO on; `detach_log` ends it."""
        handler = _Log(self)
        logger = logging.getLogger(_LOGGER)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        return handler

    def attach_notices(self) -> logging.Handler:
        """Pass on what users should know although they did not ask; `detach_notices` ends it."""
        handler = _Notices(self)
        logging.getLogger(NOTICES).addHandler(handler)
        return handler

    @staticmethod
    def detach_notices(handler: logging.Handler) -> None:
        """End what `attach_notices` began.

        Args:
            handler: What it returned.
        """
        logging.getLogger(NOTICES).removeHandler(handler)

    @staticmethod
    def detach_log(handler: logging.Handler) -> None:
        """End what `attach_log` began.

        Args:
            handler: What it returned.
        """
        logger = logging.getLogger(_LOGGER)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


class _Log(logging.Handler):
    """Writes what is logged to stderr."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if not self._reporter.is_verbose or record.name == NOTICES:
            return  # --quiet came later, or it is told anyway
        values = {"logger": record.name, "level": record.levelname.lower(), "text": record.getMessage()}
        if self._reporter.writes_lines:
            self._reporter.write_line({"type": "log", **values})
        else:
            passed_s = time.monotonic() - self._reporter.begin_s
            click.echo(f"{passed_s:7.1f} s {record.getMessage()}", err=True)


class _Notices(logging.Handler):
    """Tells notices, each once."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter
        self._told: set[object] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one."""
        about = getattr(record, "about", None)
        if about not in self._told:
            self._told.add(about)
            self._reporter.info(record.getMessage())


def _line(values: Json) -> str:
    return json.dumps({"schema": SCHEMA, **values}) + "\n"


def get_reporter() -> Reporter:
    """The reporter of the command that runs in this thread."""
    context = click.get_current_context(silent=True)
    return reporter_of(context) if context is not None else Reporter()


def reporter_of(context: click.Context) -> Reporter:
    """The reporter of a command.

    Args:
        context: The command's.
    """
    return context.ensure_object(Reporter)


def stdout_console() -> Console:
    """Results go here; as wide as they are when nobody looks."""
    # Whatever FORCE_COLOR says: what is piped is for programs.
    return Console(emoji=False) if sys.stdout.isatty() else Console(emoji=False, width=200, force_terminal=False)


def stderr_console() -> Console:
    """All else goes here."""
    return Console(stderr=True, emoji=False)


def info(text: str) -> None:
    """Tell a person something that is no result."""
    get_reporter().info(text)


def tries_document(tried: Iterable[FailedAttempt]) -> list[dict[str, str]]:
    """Describe what was tried."""
    return [asdict(row) for row in tried]


def print_tries(tried: Iterable[Mapping[str, str]], console: Console, *, message: str = "") -> None:
    """Print what was tried, a row for all nodes of which the same was said, but for their names.

    Args:
        tried: As `tries_document` makes it; nothing is printed if nothing was tried in vain.
        console: Where.
        message: What is told below of the failure: its words are not told here as well.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    said: dict[str, str] = {}

    def is_below(row: Mapping[str, str]) -> bool:
        return row["outcome"] == "failed" and row["said"] in message

    for row in sorted(tried, key=lambda row: not is_below(row)):
        alike = row["said"].replace(row["node"], "NODE")
        words = "see below" if is_below(row) else row["said"]
        key = (row["server_type"], row["location"], _OUTCOMES[row["outcome"]], said.setdefault(alike, words))
        rows.setdefault(key, []).append(row["node"])
    if not rows:
        return
    table = Table(title="Tried in vain", title_justify="left", pad_edge=False, box=None)
    for column in ("node", "type", "location", "outcome", "what was said"):
        table.add_column(column, overflow="fold")
    for cells, nodes in rows.items():
        table.add_row(_names(nodes), *(Text(cell) for cell in cells))
    console.print(table)


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
