# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line's frame: the group, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import importlib
import sys

import click

from scherbelberg.cli.interrupts import Interrupted
from scherbelberg.errors import ScherbelbergError

_COMMANDS = {
    "create": "create",
    "demo": "demo",
    "destroy": "giveback",
    "ls": "look",
    "nuke": "giveback",
    "sandbox": "sandbox",
    "show": "look",
    "ssh": "ssh",
}


class _Commands(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"scherbelberg.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="scherbelberg", message="%(prog)s %(version)s")
def group() -> None:
    """Dask clusters on Hetzner Cloud: rent one with one command, give it back with another."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Instead of those of the process.
    """
    try:
        # Without click's own ending, a command's Exit comes back as its exit code.
        code = group.main(args=arguments, prog_name="scherbelberg", standalone_mode=False)
    except click.Abort:
        _complain("Stopped.")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Interrupted as end:
        _complain(str(end))
        sys.exit(end.exit_code)
    except ScherbelbergError as error:
        for line in error.log_tail:
            _complain(f"  | {line}")
        where = f" (phase {error.phase})" if error.phase and error.phase not in error.message else ""
        _complain(f"Error: {error.message}{where}")
        sys.exit(int(error.exit_code))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left
        sys.exit(1)
    if isinstance(code, int):
        sys.exit(code)


def _complain(text: str) -> None:
    click.echo(text, err=True)
