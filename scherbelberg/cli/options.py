# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the commands share: options, and the first line that says where one is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import evolve

from scherbelberg.cli.choosing import with_mirrors
from scherbelberg.cli.completing import cluster_names
from scherbelberg.cli.output import say, speaker_of
from scherbelberg.emulated import is_emulated
from scherbelberg.settings import Settings, read_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _answer_json(context: click.Context, option: click.Parameter, value: bool) -> bool:
    del option
    if value:
        speaker_of(context).as_json = True
    return value


def _show_progress(context: click.Context, option: click.Parameter, value: Any) -> None:
    del option
    if value is not None:
        speaker_of(context).progress = value


def _be_quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    del option
    if value:
        voice = speaker_of(context)
        voice.is_quiet, voice.is_verbose = True, False


def _be_verbose(context: click.Context, option: click.Parameter, value: bool) -> None:
    del option
    voice = speaker_of(context)
    if value and not voice.is_verbose:
        voice.is_quiet, voice.is_verbose = False, True
        handler = voice.tell_log()
        context.find_root().call_on_close(lambda: voice.forget_log(handler))


prefix_option = click.option(
    "-p",
    "--prefix",
    default="cluster",
    show_default=True,
    help="The cluster's name.",
    shell_complete=cluster_names,
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_answer_json,
    help="Print a JSON document instead of tables, also on failure.",
)
token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the API token; without it HCLOUD_TOKEN or the hcloud CLI's active context is used.",
)
#: For commands that make or delete something and tell so while they do.
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    expose_value=False,
    is_eager=True,
    callback=_show_progress,
    help="How to show progress on stderr: a live table, plain lines, JSON lines, or not.  [default: auto]",
)
_quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_quiet,
    help="No progress and no hints: only results and errors.",
)
_verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_verbose,
    help="Tell more, such as each request to the cloud.",
)


def voice_options(command: Command) -> Command:
    """Give a command ``--quiet`` and ``-v``; every command has them, and the program itself."""
    return _quiet_option(_verbose_option(command))


def where(token_file: Path | None) -> Settings:
    """Read the settings and say where we are, and where the token came from."""
    settings = with_mirrors(read_settings(token_file=token_file))
    access = evolve(settings.access, is_sandbox=is_emulated(settings.access))
    settings = evolve(settings, access=access)
    address = f" at {access.endpoint}" if access.is_sandbox else ""
    say(f"{access.place}{address}, token from {access.token_source}")
    return settings
