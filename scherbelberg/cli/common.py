# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the commands share: options, consoles, the first line that says where one is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from scherbelberg.settings import Settings, read_settings

Command = TypeVar("Command", bound=Callable[..., Any])

prefix_option = click.option("-p", "--prefix", default="cluster", show_default=True, help="The cluster's name.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document instead of tables.")
token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the API token; without it HCLOUD_TOKEN or the hcloud CLI's active context is used.",
)


def out() -> Console:
    """Results go here; as wide as they are when nobody looks."""
    # Whatever FORCE_COLOR says: what is piped is for programs.
    return Console(emoji=False) if sys.stdout.isatty() else Console(emoji=False, width=200, force_terminal=False)


def err() -> Console:
    """All else goes here."""
    return Console(stderr=True, emoji=False)


def say(text: str) -> None:
    """Tell a person something that is no result."""
    err().print(text, highlight=False, markup=False, soft_wrap=True)


def where(token_file: Path | None) -> Settings:
    """Read the settings and say where we are, and where the token came from."""
    settings = read_settings(token_file=token_file)
    access = settings.access
    address = f" at {access.endpoint}" if access.is_sandbox else ""
    say(f"{access.place}{address}, token from {access.token_source}")
    return settings
