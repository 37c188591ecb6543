# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scherbelberg.cli.options import cluster_names, json_option, token_option, voice_options
from scherbelberg.cli.output import SCHEMA, Json, out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from scherbelberg.diagnosis import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option(
    "-p",
    "--prefix",
    metavar="NAME",
    shell_complete=cluster_names,
    help="Also ask the nodes of this cluster for their Python and OpenSSL.",
)
@token_option
@json_option
@voice_options
def doctor(prefix: str | None, token_file: Path | None, as_json: bool) -> None:
    """Look for what could go wrong here, for nothing: token, cloud, clock, versions, what is left on this computer.

    The exit code is 0 if nothing fails, else that of the first check that does.
    """
    from scherbelberg.cli.signals import run  # noqa: PLC0415 - heavy
    from scherbelberg.cli.story import print_json  # noqa: PLC0415
    from scherbelberg.diagnosis import code_of  # noqa: PLC0415
    from scherbelberg.doctor import examine  # noqa: PLC0415

    checks = run(examine(token_file=token_file, prefix=prefix))
    if as_json:
        print_json(checks_document(checks))
    else:
        print_checks(checks, out())
    code = int(code_of(checks))
    if code:
        raise click.exceptions.Exit(code)


def checks_document(checks: Iterable[Check]) -> Json:
    """Describe what was found.

    Args:
        checks: All of them.
    """
    rows = [{"name": one.name, "status": one.status, "message": one.message, "advice": one.advice} for one in checks]
    return {"schema": SCHEMA, "healthy": all(row["status"] != "fail" for row in rows), "checks": rows}


def print_checks(checks: Iterable[Check], console: Console) -> None:
    """Print a line for each check, and what to do below it.

    Args:
        checks: All of them.
        console: Where.
    """
    from rich.padding import Padding  # noqa: PLC0415 - heavy
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    for check in checks:
        style = _STYLES[check.status]
        table.add_row(Text(check.status, style=style), Text(check.name.replace("_", " ")), Text(check.message))
        if check.advice:
            table.add_row("", "", Padding(Text(f"-> {check.advice}"), (0, 0, 0, 2)))
    console.print(table)
