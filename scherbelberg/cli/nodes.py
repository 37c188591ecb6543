# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg logs``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.files import chosen, linked
from scherbelberg.cli.options import json_option, node_names, prefix_option, voice_options
from scherbelberg.cli.output import SCHEMA, Json, Speaker, speaker
from scherbelberg.cli.signals import run, run_until_ctrl_c
from scherbelberg.errors import BadInput, ScherbelbergError
from scherbelberg.logbook import SOURCES, NodeLog, Source, usual_sources
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from scherbelberg.links import Links
    from scherbelberg.record import NodeRecord

_WITHIN_S = 60.0
_ALL = "all"
#: Node to its logs.
_Wanted = dict[str, tuple[Source, ...]]


@click.command()
@prefix_option
@click.option(
    "-s",
    "--source",
    "sources",
    multiple=True,
    type=click.Choice([*SOURCES, _ALL]),
    help="Which log; can be repeated.  [default: dask, or all of a node whose bootstrap has not ended]",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 999_999_999),
    default=20,
    show_default=True,
    help="How many of the last lines of each log.",
)
@click.argument("node", required=False, shell_complete=node_names)
@json_option
@voice_options
def logs(*, prefix: str, sources: tuple[str, ...], follow: bool, lines: int, node: str | None, as_json: bool) -> None:
    """Show the logs of NODE, or of all nodes: cloud-init's, the bootstrap's, Dask's.

    With several logs, each line begins with its node's name, with its source, or with both.
    """
    check_prefix(prefix)
    if follow and as_json:
        raise BadInput("A log that is followed has no end, and --json prints one document: take one of the two.")
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415

    folder = folder_of(prefix)
    wanted = _wanted(chosen(folder.read(), node), sources)
    labels = _Labels(wanted, speaker())  # here, since other threads do not know whose command runs
    if follow:
        run_until_ctrl_c(linked(folder, lambda links: _follow(links, wanted, lines, labels)), is_for_readers=True)
        return
    found, errors = run(linked(folder, lambda links: _read(links, wanted, lines)))
    if not as_json:
        labels.print_all(found)
    if errors:  # a node that is lost does not hide the others' logs
        raise errors[0]
    if as_json:
        speaker().answer(_document(prefix, found))


def _wanted(records: Iterable[NodeRecord], sources: tuple[str, ...]) -> _Wanted:
    named = tuple(source for source in SOURCES if source in sources or _ALL in sources)
    return {record.name: named or usual_sources(is_made=bool(record.script)) for record in records}


def _document(prefix: str, found: Iterable[NodeLog]) -> Json:
    logs = [
        {"node": log.node, "source": log.source, "lines": list(log.lines), "lacks": log.lacks or None} for log in found
    ]
    return {"schema": SCHEMA, "prefix": prefix, "logs": logs}


class _Labels:
    """Says of each line where it is from, as far as that is in question."""

    def __init__(self, wanted: _Wanted, voice: Speaker) -> None:
        self._voice = voice
        sources = {source for named in wanted.values() for source in named}
        self._node_width = max(len(name) for name in wanted) if len(wanted) > 1 else 0
        self._source_width = max(len(source) for source in sources) if len(sources) > 1 else 0

    def print(self, node: str, source: Source, line: str) -> None:
        """Print a line."""
        words = [f"{node:<{self._node_width}}"] if self._node_width else []
        words += [f"{source:<{self._source_width}}"] if self._source_width else []
        click.echo(f"{' '.join(words)} | {line}" if words else line)

    def print_all(self, logs: Iterable[NodeLog]) -> None:
        """Print logs, and say which there are not."""
        for log in logs:
            for line in log.lines:
                self.print(log.node, log.source, line)
            if log.lacks:
                self.say_lack(log.node, log.lacks)

    def say_lack(self, node: str, lacks: str) -> None:
        """Say why there is no log."""
        self._voice.say(f"{node}: {lacks}.")


async def _read(links: Links, wanted: _Wanted, lines: int) -> tuple[list[NodeLog], list[ScherbelbergError]]:
    from scherbelberg.nodelogs import read_logs  # noqa: PLC0415 - heavy
    from scherbelberg.waiting import together  # noqa: PLC0415

    async def read(name: str) -> tuple[NodeLog, ...] | ScherbelbergError:
        try:
            async with links.visit(name) as remote:
                await remote.reach(within_s=_WITHIN_S)
                return await read_logs(remote, wanted[name], lines=lines, within_s=_WITHIN_S)
        except ScherbelbergError as error:
            return error

    answers = await together(*(read(name) for name in wanted))
    found = [log for answer in answers if isinstance(answer, tuple) for log in answer]
    return found, [answer for answer in answers if isinstance(answer, ScherbelbergError)]


async def _follow(links: Links, wanted: _Wanted, lines: int, labels: _Labels) -> None:
    from scherbelberg.nodelogs import follow_log  # noqa: PLC0415 - heavy
    from scherbelberg.waiting import together  # noqa: PLC0415

    async def follow(name: str, source: Source) -> None:
        def show(line: str) -> None:
            labels.print(name, source, line)

        async with links.visit(name) as remote:
            await remote.reach(within_s=_WITHIN_S)
            await follow_log(remote, source, lines=lines, show=show, note=lambda text: labels.say_lack(name, text))

    await together(*(follow(name, source) for name, sources in wanted.items() for source in sources))
