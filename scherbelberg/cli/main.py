# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line's frame: the group, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import importlib
import itertools
import keyword
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from attrs import evolve
from click.shell_completion import get_completion_class

from scherbelberg.cli.options import json_option, verbosity_options
from scherbelberg.cli.output import SCHEMA, Failure, Json, Reporter, reporter_of
from scherbelberg.cli.signals import Interrupted, postponed, signals_as_exceptions
from scherbelberg.cli.streams import all_output
from scherbelberg.cloud.pricing import write_price
from scherbelberg.errors import BadInput, ExitCode, LeftOver, NoCapacity, ScherbelbergError

if TYPE_CHECKING:
    from scherbelberg.planning.remedies import Remedy

#: How long it is waited for the result to be written before it is said that it was not, in seconds.
_LAST_WORDS_S = 1.0
_COMMANDS = {
    "bill": "list",
    "catalog": "list",
    "completion": "main",
    "cp": "nodes",
    "create": "create",
    "dashboard": "nodes",
    "demo": "sandbox",
    "destroy": "destroy",
    "doctor": "list",
    "env": "env",
    "export": "update",
    "extend": "update",
    "firewall": "update",
    "gc": "destroy",
    "import": "update",
    "logs": "nodes",
    "ls": "list",
    "nuke": "destroy",
    "protect": "update",
    "sandbox": "sandbox",
    "scp": "nodes",
    "show": "list",
    "ssh": "nodes",
    "tunnel": "nodes",
    "unprotect": "update",
    "with": "create",
}
_COMPLETE_VARIABLE = "_SCHERBELBERG_COMPLETE"
#: Backspace keeps click from wrapping the lines.
_COMPLETION_HELP = """\b
bash: echo 'eval "$(scherbelberg completion bash)"' >>~/.bashrc
zsh:  echo 'eval "$(scherbelberg completion zsh)"' >>~/.zshrc
fish: scherbelberg completion fish >~/.config/fish/completions/scherbelberg.fish
"""
#: Codes of failures that are no `ScherbelbergError`.
USAGE = "usage"
CANCELLED = "cancelled"
UNEXPECTED = "unexpected"


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


def _answer_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    """Print the version if it is asked for, and exit.

    Args:
        context: The program's.
        option: ``--version``.
        value: Whether it was given.
    """
    del option
    if not value or context.resilient_parsing:
        return
    from scherbelberg.environments.shipped import (  # noqa: PLC0415
        flake_revision,
        script_digest,
        shipped_files,
        shipped_pins,
        tool_version,
    )

    if not reporter_of(context).as_json:
        click.echo(f"scherbelberg {tool_version()}")
        context.exit()
    document = {
        "schema": SCHEMA,
        "version": tool_version(),
        "script": script_digest(shipped_files()),
        "locks": dict(shipped_pins().locks),
        "revision": flake_revision(),
    }
    reporter_of(context).answer(document)
    context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, callback=_answer_version, help="Show the version and exit."
)
@json_option
@verbosity_options
def group(as_json: bool) -> None:
    """Dask clusters on Hetzner Cloud: one command to create a cluster, one to delete it."""
    if as_json:
        raise click.UsageError("--json stands behind a command, or beside --version.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Instead of those of the process.
    """
    reporter = Reporter()
    with all_output() as way:
        code = _run(sys.argv[1:] if arguments is None else arguments, reporter)
        with suppress(KeyboardInterrupt):  # the exit code is settled
            way.drain(_LAST_WORDS_S)
            if way.loss is not None:
                reporter.warn(f"The result could not be written: {way.loss}.")
    if code:
        sys.exit(code)


def _run(words: list[str], reporter: Reporter) -> int:
    """Run the command line, tell why it fails if it does, and return the exit code."""
    notices = reporter.attach_notices()
    # Dask compares more than has to be equal; what has to be, and what was allowed, is compared by us.
    warnings.filterwarnings("ignore", message=r"\s*Mismatched versions found")
    # A signal is an exception wherever it comes, so that there is an answer to whoever waits for one; but the last.
    with signals_as_exceptions() as handler:
        try:
            handler.raise_early()
            # Without click's own ending, a command's Exit comes back as its exit code.
            code = group.main(args=words, prog_name="scherbelberg", standalone_mode=False, obj=reporter)
            handler.close()
        except click.ClickException as error:
            handler.close()
            return _refuse(error, words, reporter)
        except (click.Abort, Interrupted, ScherbelbergError) as error:
            handler.close()
            if isinstance(error, Interrupted):
                _heed_form(words, reporter, _find_command(words))  # which nobody may have read yet
            failure = _failure_of(error, remains=reporter.remains)
            reporter.fail(failure)
            return failure.exit_code
        except SystemExit as end:
            return _exit_code_of(end)
        except Exception as error:
            failure = _failure_of(error, remains=reporter.remains)
            if reporter.writes_lines:
                reporter.fail(failure)
            reporter.answer_failure(failure)
            raise
        finally:
            reporter.detach_notices(notices)
    return code if isinstance(code, int) else 0


def _exit_code_of(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _find_command(words: list[str]) -> click.Command | None:
    """The command that words are for, as far as they can be understood."""
    name = next((word for word in words if word in _COMMANDS), None)
    return group.get_command(click.Context(group), name) if name else None


def _heed_form(words: list[str], reporter: Reporter, command: click.Command | None) -> None:
    """Answer in the form that words ask for."""
    if _asks_for("--json", words, command):
        reporter.as_json = True
    if _asks_for("--progress=json", words, command):
        reporter.progress = "json"


def _refuse(error: click.ClickException, words: list[str], reporter: Reporter) -> int:
    """Tell what is wrong with the words of a command; what they say of the answer's form counts all the same."""
    failure = _failure_of(error)
    _heed_form(words, reporter, error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None)
    if reporter.writes_lines:
        reporter.fail(failure)
    else:
        error.show()
        reporter.answer_failure(failure)
    return failure.exit_code


@click.command(epilog=_COMPLETION_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@verbosity_options
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, clusters and nodes."""
    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(f"There is no completion for {shell}.")
    click.echo(kind(context.find_root().command, {}, "scherbelberg", _COMPLETE_VARIABLE).source())


def _failure_of(error: BaseException, *, remains: tuple[str, ...] = ()) -> Failure:
    """Describe why a command fails.

    Args:
        error: What it raised.
        remains: What stays in the cloud all the same, by kind and name.
    """
    failure = _failure_without_remains(error)
    return failure if failure.left_over else evolve(failure, left_over=remains)


def _failure_without_remains(error: BaseException) -> Failure:
    if isinstance(error, ScherbelbergError):
        return Failure(
            code=error.code,
            message=error.message,
            exit_code=int(error.exit_code),
            node=error.node,
            phase=error.phase,
            log_tail=error.log_tail,
            tried=error.tried,
            left_over=error.left_over if isinstance(error, LeftOver) else (),
            log_file=error.log_file,
            instead=tuple(map(_offer, error.remedies)) if isinstance(error, NoCapacity) else (),
        )
    if isinstance(error, Interrupted):
        return Failure(code=CANCELLED, message=str(error), exit_code=error.exit_code)
    if isinstance(error, click.Abort):
        return Failure(code=CANCELLED, message="Stopped.", exit_code=int(ExitCode.INTERRUPTED))
    if isinstance(error, click.ClickException):
        return Failure(code=USAGE, message=error.format_message(), exit_code=error.exit_code)
    return Failure(code=UNEXPECTED, message=f"{type(error).__name__}: {error}", exit_code=int(ExitCode.FAILURE))


def _offer(one: Remedy) -> Json:
    hourly = {**write_price(one.hourly), "currency": one.currency}
    return {"words": one.words, "hourly": hourly, "options": one.options}


def _asks_for(option: str, words: list[str], command: click.Command | None) -> bool:
    """Whether an option stands among words that were not, or could not be, understood.

    Args:
        option: Its name, dashes included, or name and value.
        words: What the user wrote.
        command: For which they are, or None if that is not known.
    """
    name, _, value = option.partition("=")
    # Who misspells a command's name expects an answer as that command gives it.
    knows = command is None or isinstance(command, click.Group) or any(name in found.opts for found in command.params)
    own = words[: words.index("--")] if "--" in words else words
    pairs = itertools.pairwise(own)
    return knows and (option in own or bool(value and (name, value) in pairs))
