# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line's frame: the group, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import importlib
import keyword
import sys
import warnings
from contextlib import suppress

import click

from scherbelberg.cli.failures import failure_of, was_asked_for
from scherbelberg.cli.options import json_option, voice_options
from scherbelberg.cli.output import Speaker
from scherbelberg.cli.signals import Interrupted, postponed, signals_as_exceptions
from scherbelberg.cli.streams import all_output
from scherbelberg.cli.version import answer_version
from scherbelberg.errors import ScherbelbergError

#: How long it is waited for the result to be written before it is said that it was not, in seconds.
_LAST_WORDS_S = 1.0
_COMMANDS = {
    "bill": "bill",
    "catalog": "catalog",
    "completion": "completion",
    "create": "create",
    "dashboard": "tunnel",
    "demo": "demo",
    "destroy": "giveback",
    "doctor": "doctor",
    "env": "env",
    "export": "sharing",
    "extend": "extend",
    "firewall": "firewall",
    "gc": "gc",
    "import": "sharing",
    "logs": "logs",
    "ls": "look",
    "nuke": "giveback",
    "protect": "protect",
    "put": "files",
    "sandbox": "sandbox",
    "scp": "files",
    "show": "look",
    "ssh": "ssh",
    "tunnel": "tunnel",
    "unprotect": "protect",
    "with": "within",
}


class _Commands(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with postponed():  # some of what is loaded catches every exception
            module = importlib.import_module(f"scherbelberg.cli.{_COMMANDS[cmd_name]}")
        # Where Python has the word for itself, the function's name ends with an underscore.
        command: click.Command = getattr(module, f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, callback=answer_version, help="Show the version and exit.")
@json_option
@voice_options
def group(as_json: bool) -> None:
    """Dask clusters on Hetzner Cloud: rent one with one command, give it back with another."""
    if as_json:
        raise click.UsageError("--json stands behind a command, or beside --version.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Instead of those of the process.
    """
    speaker = Speaker()
    with all_output() as way:
        code = _run(sys.argv[1:] if arguments is None else arguments, speaker)
        with suppress(KeyboardInterrupt):  # the exit code is settled
            way.drain(_LAST_WORDS_S)
            if way.loss is not None:
                speaker.warn(f"The result could not be written: {way.loss}.")
    if code:
        sys.exit(code)


def _run(words: list[str], speaker: Speaker) -> int:
    """Run the command line, tell why it fails if it does, and return the exit code."""
    notices = speaker.tell_notices()
    # Dask compares more than has to be equal; what has to be, and what was allowed, is compared by us.
    warnings.filterwarnings("ignore", message=r"\s*Mismatched versions found")
    # A signal is an exception wherever it comes, so that there is an answer to whoever waits for one; but the last.
    with signals_as_exceptions() as handler:
        try:
            handler.raise_early()
            # Without click's own ending, a command's Exit comes back as its exit code.
            code = group.main(args=words, prog_name="scherbelberg", standalone_mode=False, obj=speaker)
            handler.close()
        except click.ClickException as error:
            handler.close()
            return _refuse(error, words, speaker)
        except (click.Abort, Interrupted, ScherbelbergError) as error:
            handler.close()
            if isinstance(error, Interrupted):
                _heed_form(words, speaker, _named(words))  # which nobody may have read yet
            failure = failure_of(error, remains=speaker.remains)
            speaker.fail(failure)
            return failure.exit_code
        except SystemExit as end:
            return _number(end)
        except Exception as error:
            failure = failure_of(error, remains=speaker.remains)
            if speaker.writes_lines:
                speaker.fail(failure)
            speaker.answer_failure(failure)
            raise
        finally:
            speaker.forget_notices(notices)
    return code if isinstance(code, int) else 0


def _number(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _named(words: list[str]) -> click.Command | None:
    """The command that words are for, as far as they can be understood."""
    name = next((word for word in words if word in _COMMANDS), None)
    return group.get_command(click.Context(group), name) if name else None


def _heed_form(words: list[str], speaker: Speaker, command: click.Command | None) -> None:
    """Answer in the form that words ask for."""
    if was_asked_for("--json", words, command):
        speaker.as_json = True
    if was_asked_for("--progress=json", words, command):
        speaker.progress = "json"


def _refuse(error: click.ClickException, words: list[str], speaker: Speaker) -> int:
    """Tell what is wrong with the words of a command; what they say of the answer's form counts all the same."""
    failure = failure_of(error)
    _heed_form(words, speaker, error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None)
    if speaker.writes_lines:
        speaker.fail(failure)
    else:
        error.show()
        speaker.answer_failure(failure)
    return failure.exit_code
