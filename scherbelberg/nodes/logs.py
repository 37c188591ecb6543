# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The logs that a node has, as values: which there are, by which command they are read, and how they are laid out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from attrs import evolve, frozen

from scherbelberg.errors import BadInput, BootstrapFailed, NodeUnreachable, ScherbelbergError, WaitTimeout
from scherbelberg.events import Phase

#: The order is that in which a node gets them.
Source = Literal["cloud-init", "bootstrap", "dask"]
SOURCES: tuple[Source, ...] = get_args(Source)
#: The script that prints them, of those that are shipped for nodes. It is sent along with each command.
SCRIPT = "logs.sh"
#: Its exit code where there is no such log.
MISSING = 3
#: Whose logs are collected when many nodes are concerned.
MOST_NODES = 8
#: Of what an error shows, in all, and of each log that is not the one that matters.
_MOST_LINES, _FEW_LINES = 20, 2
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HIDDEN = "[hidden]"
#: Between the runs of the bootstrap.
_MARK = re.compile(r"--- \S+ up (begins|ends with exit code \d+) ---")
#: Shorter texts are no secret that anybody could tell from other words.
_LEAST = 3


@frozen(kw_only=True)
class NodeLog:
    """The last lines of one of a node's logs.

    Args:
        node: The node's name.
        source: Which log.
        lines: Its last lines, oldest first.
        lacks: In a few words why there is none, or nothing.
    """

    node: str
    source: Source
    lines: tuple[str, ...] = ()
    lacks: str = ""


def log_command(source: Source, count: int, *, most_bytes: int | None = None, follow: bool = False) -> str:
    """Write the command line that prints a log; it reads the script from its standard input.

    Args:
        source: Which log.
        count: How many of its last lines.
        most_bytes: How much of them at most.
        follow: Whether it goes on with lines as they come.
    """
    more = ["follow"] if follow else [] if most_bytes is None else [str(most_bytes)]
    return shlex.join(["env", "LC_ALL=C.UTF-8", "bash", "-s", "--", source, str(count), *more])


def check_sources(sources: Sequence[str]) -> tuple[Source, ...]:
    """Check names of logs.

    Args:
        sources: The names.

    Returns:
        Each once, in the order in which a node gets them.

    Raises:
        BadInput: There is no such log.
    """
    for source in sources:
        if source not in SOURCES:
            raise BadInput(f"There is no log '{source}' of a node; there are: {', '.join(SOURCES)}.")
    return tuple(source for source in SOURCES if source in sources)


def usual_sources(*, is_made: bool) -> tuple[Source, ...]:
    """Which logs are looked at unless somebody says so: Dask's, or all while nobody knows how far a node has come.

    Args:
        is_made: Whether the node's bootstrap has ended well.
    """
    return ("dask",) if is_made else SOURCES


def nodes_to_ask(error: ScherbelbergError, names: Sequence[str]) -> tuple[str, ...]:
    """Name the nodes whose logs may say why a create failed, those first that the error is about.

    Args:
        error: Why.
        names: All nodes.
    """
    if not isinstance(error, BootstrapFailed | NodeUnreachable | WaitTimeout):
        return ()  # the cloud's own doing, or this computer's
    last = error.last if isinstance(error, WaitTimeout) else ""
    found = [name for name in names if name == error.node or name in last]
    if main_source(error) == "bootstrap":
        return tuple(found[:MOST_NODES])
    # Whoever does not come to the scheduler may have been turned away there; and it is what the proof talks to.
    return (*[name for name in found if name != names[0]][: MOST_NODES - 1], names[0])


def hide(text: str, hidden: Iterable[str]) -> str:
    """Take out of a text what nobody may read: secrets, whole or line by line, and private keys.

    Args:
        text: The text.
        hidden: Texts that are secret.
    """
    parts = {part for whole in hidden for part in (whole, *whole.splitlines()) if len(part) >= _LEAST}
    for secret in sorted(parts, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _KEY.sub(_HIDDEN, text)


def redact(log: NodeLog, hidden: Iterable[str]) -> NodeLog:
    """A log without what nobody may read.

    Args:
        log: The log.
        hidden: Texts that are secret.
    """
    return evolve(log, lines=tuple(hide("\n".join(log.lines), hidden).splitlines()))


def tail_of(logs: Sequence[NodeLog], *, main: Source) -> tuple[str, ...]:
    """Choose the lines that an error shows: few of each log, most of those that matter, which come last.

    Args:
        logs: What was read.
        main: Which logs matter.
    """
    beside = [line for log in logs if log.source != main and log.lines for line in _label_lines(log)[-_FEW_LINES:]]
    beside = beside[: _MOST_LINES // 3]
    matter = [_label_lines(log) for log in logs if log.source == main]
    share = max(1, (_MOST_LINES - len(beside)) // max(1, len(matter)))
    return tuple([*beside, *(line for lines in matter for line in lines[-share:])][-_MOST_LINES:])


def _label_lines(log: NodeLog) -> list[str]:
    lines = [line for line in log.lines if not _MARK.fullmatch(line)]
    return [f"{log.node} {log.source}: {line}" for line in lines or [f"[{log.lacks or 'empty'}]"]]


def log_file_text(logs: Iterable[NodeLog], *, head: str) -> str:
    """Lay out logs as one text for people.

    Args:
        logs: What was read.
        head: What it is about.
    """
    parts = [[f"===== {log.node}, {log.source} =====", *(log.lines or (f"[{log.lacks}]",))] for log in logs]
    return "\n".join([head, *("\n" + "\n".join(part) for part in parts), ""])


def main_source(error: ScherbelbergError) -> Source:
    """Which log tells most of why a create failed: the bootstrap's, or after its end Dask's.

    Args:
        error: Why.
    """
    return "dask" if error.phase == Phase.PROOF else "bootstrap"


def with_error_tail(logs: Iterable[NodeLog], error: ScherbelbergError) -> tuple[NodeLog, ...]:
    """Where the bootstrap's log cannot be read any more, take what the client has heard of it.

    Args:
        logs: What was read.
        error: It has what was heard.
    """
    return tuple(
        evolve(log, lines=error.log_tail)
        if log.source == "bootstrap" and log.node == error.node and not log.lines
        else log
        for log in logs
    )
