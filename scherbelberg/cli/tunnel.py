# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg tunnel`` and ``scherbelberg dashboard``."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.files import linked
from scherbelberg.cli.options import json_option, prefix_option, voice_options
from scherbelberg.cli.output import Speaker, speaker
from scherbelberg.cli.signals import run_until_ctrl_c
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from scherbelberg.daskdoor import Door
    from scherbelberg.links import Links

#: The tunnel is there until Ctrl-C; every wait has an end all the same.
_LONGEST_S = 365 * 86400.0


@click.command()
@prefix_option
@json_option
@voice_options
def tunnel(prefix: str, as_json: bool) -> None:
    """Lead ports of this computer to a cluster's scheduler and dashboard, until Ctrl-C, which ends it with exit code 0.

    Prints how Python makes a client, and variables with which Client() needs no arguments.
    """
    voice = speaker()  # asked for here: the way is shown on another thread
    _hold(prefix, lambda door: _show(door, voice, as_json=as_json))


@click.command()
@prefix_option
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
@voice_options
def dashboard(prefix: str, no_browser: bool) -> None:
    """Open a cluster's dashboard in the browser, and keep the way to it open until Ctrl-C."""
    voice = speaker()
    _hold(prefix, lambda door: _open(door, voice, with_browser=not no_browser))


def _hold(prefix: str, show: Callable[[Door], None]) -> None:
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415
    from scherbelberg.waiting import heard  # noqa: PLC0415

    async def hold(links: Links) -> None:
        await links.remote("scheduler").reach(within_s=links.manifest.spec.timeouts.reach)
        door = await links.door()
        await asyncio.to_thread(show, door)
        await heard(asyncio.Event(), within_s=_LONGEST_S)

    run_until_ctrl_c(linked(folder_of(prefix), hold))


def _show(door: Door, voice: Speaker, *, as_json: bool) -> None:
    if as_json:
        document = {"schema": 1, "address": door.address, "dashboard": door.dashboard_link, "environ": door.variables}
        voice.answer(document)
        return
    click.echo("# In Python:")
    for line in door.python_lines:
        click.echo(f"#     {line}")
    click.echo(f"# The dashboard: {door.dashboard_link}")
    for name, value in door.variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    voice.say("The tunnel is open; Ctrl-C closes it.")


def _open(door: Door, voice: Speaker, *, with_browser: bool) -> None:
    import webbrowser  # noqa: PLC0415 - needed by this command alone

    click.echo(door.dashboard_link)
    if with_browser and not webbrowser.open(door.dashboard_link):
        voice.say("No browser could be opened here; open this address yourself.")
    voice.say("The way there is open; Ctrl-C closes it.")
