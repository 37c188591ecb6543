# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg logs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scherbelberg.cli.common import prefix_option, voice_options
from scherbelberg.cli.completing import node_names
from scherbelberg.cli.files import chosen, linked
from scherbelberg.errors import BootstrapFailed
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from scherbelberg.links import Links

_WITHIN_S = 60.0
#: A log that is followed ends when the user has seen enough, or the node is gone.
_FOLLOW_S = 30 * 86400.0


@click.command()
@prefix_option
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 999_999_999),
    default=20,
    show_default=True,
    help="How many of the last lines of each node.",
)
@click.argument("node", required=False, shell_complete=node_names)
@voice_options
def logs(prefix: str, follow: bool, lines: int, node: str | None) -> None:
    """Show the log of Dask on NODE, or on all nodes; with several nodes each line begins with its node's name."""
    check_prefix(prefix)
    from scherbelberg.cli.interrupts import run, run_until_ctrl_c  # noqa: PLC0415 - heavy
    from scherbelberg.cli.story import folder_of  # noqa: PLC0415
    from scherbelberg.waiting import together  # noqa: PLC0415

    folder = folder_of(prefix)
    names = [record.name for record in chosen(folder.read(), node)]
    width = max(len(name) for name in names) if len(names) > 1 else None

    async def show(links: Links) -> None:
        for name, tail in zip(names, await together(*(_tail(links, one, lines) for one in names)), strict=True):
            for line in tail:
                _print(name, line, width)

    async def go_on(links: Links) -> None:
        await together(*(_follow(links, name, lines, width) for name in names))

    try:
        if follow:
            run_until_ctrl_c(linked(folder, go_on))
        else:
            run(linked(folder, show))
    except _NobodyReadsError:
        raise BrokenPipeError from None


class _NobodyReadsError(Exception):
    """Whoever read our output has left; no OSError, since on the way there that would mean a lost connection."""


def _print(name: str, line: str, width: int | None) -> None:
    click.echo(line if width is None else f"{name:<{width}} | {line}")


async def _tail(links: Links, name: str, lines: int) -> list[str]:
    from scherbelberg.payload import command  # noqa: PLC0415 - heavy

    async with links.visit(name) as remote:
        await remote.reach(within_s=_WITHIN_S)
        result = await remote.run(command("log", str(lines)), within_s=_WITHIN_S)
    if result.exit_code:
        raise _unreadable(name, result.tail)
    return result.stdout.splitlines()


async def _follow(links: Links, name: str, lines: int, width: int | None) -> None:
    from scherbelberg.payload import command  # noqa: PLC0415 - heavy

    complaints: list[str] = []

    def show(line: str) -> None:
        try:
            _print(name, line, width)
        except BrokenPipeError:
            raise _NobodyReadsError from None

    async with links.visit(name) as remote:
        await remote.reach(within_s=_WITHIN_S)
        code = await remote.converse(
            command("log", str(lines), "follow"), answer=show, log=complaints.append, within_s=_FOLLOW_S
        )
    if code:
        raise _unreadable(name, tuple(complaints[-20:]))


def _unreadable(name: str, tail: tuple[str, ...]) -> BootstrapFailed:
    return BootstrapFailed(f"The log on node {name} cannot be read.", node=name, log_tail=tail)
