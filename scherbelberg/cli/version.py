# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg --version``, with ``--json`` also which scripts and locks this is."""

from __future__ import annotations

import click

from scherbelberg.cli.output import SCHEMA, speaker_of


def answer_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    """Print the version if it is asked for, and exit.

    Args:
        context: The program's.
        option: ``--version``.
        value: Whether it was given.
    """
    del option
    if not value or context.resilient_parsing:
        return
    from scherbelberg.pins import script_digest  # noqa: PLC0415 - not for everything else
    from scherbelberg.shipped import flake_revision, shipped_files, shipped_pins, tool_version  # noqa: PLC0415

    if not speaker_of(context).as_json:
        click.echo(f"scherbelberg {tool_version()}")
        context.exit()
    document = {
        "schema": SCHEMA,
        "version": tool_version(),
        "script": script_digest(shipped_files()),
        "locks": dict(shipped_pins().locks),
        "revision": flake_revision(),
    }
    speaker_of(context).answer(document)
    context.exit()
