# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The options that several commands have, what a shell offers behind them, and what they say together."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import evolve
from click.shell_completion import CompletionItem

from scherbelberg.cli.output import info, reporter_of
from scherbelberg.cloud.emulated import is_emulated
from scherbelberg.errors import ScherbelbergError
from scherbelberg.settings import (
    Settings,
    Sources,
    active_client,
    cache_folder,
    endpoint_in,
    home_folder,
    mirror_in,
    read_settings,
)
from scherbelberg.spec.model import Timeouts
from scherbelberg.spec.urls import check_mirror

if TYPE_CHECKING:
    from scherbelberg.environments.versions import Client

_DEFAULT_PREFIX = "cluster"
Command = TypeVar("Command", bound=Callable[..., Any])
#: Under which options of commands with many stand in their help; those without one stand above them.
_HEADINGS = ("Machines", "Cost and lifetime", "Network", "Environment", "Workload", "Output")
#: Fields of the wishes that such options set.
ENVIRONMENT_FIELDS = ("env", "packages", "channels", "allow_mismatch")


class HeadedOption(click.Option):
    """An option that stands under a heading in the help of a `HeadedCommand`.

    Args:
        names: Its names.
        heading: One of the headings.
        settings: As of any option.
    """

    def __init__(self, *names: Any, heading: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading


machine_option, cost_option, network_option, environment_option, workload_option, output_option = (
    partial(click.option, cls=HeadedOption, heading=heading) for heading in _HEADINGS
)


class HeadedCommand(click.Command):
    """Lists its options under their headings in its help, and those that have none first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all of them."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Options", *_HEADINGS)}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                sections[option.heading if isinstance(option, HeadedOption) else "Options"].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def cluster_names(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The clusters of this computer, in the cloud that the surroundings name."""
    del context, option
    found = sorted({path.name.rpartition("-")[0] for path in _remembered_folders()})
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def node_names(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The nodes of the cluster that the command line names."""
    del option
    return [CompletionItem(name) for name in _remembered_nodes(context) if name.startswith(incomplete)]


def node_or_file(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Nodes with a colon, and files of this computer, which the shell finds."""
    del option
    return _places(_remembered_nodes(context), incomplete)


def nodes_or_file(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The same, and the word for all nodes."""
    del option
    return _places(["all", *_remembered_nodes(context)], incomplete)


def _places(names: list[str], incomplete: str) -> list[CompletionItem]:
    # What comes after the colon is not known here.
    nodes = [CompletionItem(f"{name}:") for name in names if incomplete and name.startswith(incomplete)]
    return nodes or [CompletionItem(incomplete, type="file")]


def _remembered_nodes(context: click.Context) -> list[str]:
    prefix = context.params.get("prefix") or _DEFAULT_PREFIX
    names: list[str] = []
    for path in _remembered_folders():
        if path.name.rpartition("-")[0] == prefix:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                # Not the store, which loads keys and what makes them.
                document = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
                names += [str(node["name"]) for node in document["nodes"]]
    return list(dict.fromkeys(names))


def _remembered_folders() -> Iterator[Path]:
    with contextlib.suppress(OSError, ValueError, ScherbelbergError):
        endpoint = endpoint_in()
        for path in sorted((home_folder() / "clusters").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                if (path / "endpoint").read_text(encoding="utf-8").strip() == endpoint:
                    yield path


def _answer_json(context: click.Context, option: click.Parameter, value: bool) -> bool:
    del option
    if value:
        reporter_of(context).as_json = True
    return value


def _show_progress(context: click.Context, option: click.Parameter, value: Any) -> None:
    del option
    if value is not None:
        reporter_of(context).progress = value


def _be_quiet(context: click.Context, option: click.Parameter, value: bool) -> None:
    del option
    if value:
        reporter = reporter_of(context)
        reporter.is_quiet, reporter.is_verbose = True, False


def _be_verbose(context: click.Context, option: click.Parameter, value: bool) -> None:
    del option
    reporter = reporter_of(context)
    if value and not reporter.is_verbose:
        reporter.is_quiet, reporter.is_verbose = False, True
        handler = reporter.attach_log()
        context.find_root().call_on_close(lambda: reporter.detach_log(handler))


prefix_option = click.option(
    "-p",
    "--prefix",
    metavar="NAME",
    default=_DEFAULT_PREFIX,
    show_default=True,
    help="The cluster's name.",
    shell_complete=cluster_names,
)
json_option = output_option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_answer_json,
    help="Print one JSON document instead of tables, also on failure.",
)
token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the API token.  [default: HCLOUD_TOKEN, or the hcloud CLI's active context]",
)
#: For commands that make or delete something and tell so while they do.
progress_option = output_option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    expose_value=False,
    is_eager=True,
    callback=_show_progress,
    help="Progress on stderr: a live table or plain lines (auto), plain lines, JSON lines, or none.  [default: auto]",
)
_quiet_option = output_option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_quiet,
    help="Print results and errors only, without progress and hints.",
)
_verbose_option = output_option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_verbose,
    help="Print more, such as each request to the cloud.",
)


def verbosity_options(command: Command) -> Command:
    """Give a command ``--quiet`` and ``-v``; every command has them, and the program itself."""
    return _quiet_option(_verbose_option(command))


def load_settings(token_file: Path | None) -> Settings:
    """Read the settings and say where we are, and where the token came from."""
    settings = _with_mirrors(read_settings(token_file=token_file))
    access = evolve(settings.access, is_sandbox=is_emulated(settings.access))
    settings = evolve(settings, access=access)
    address = f" at {access.endpoint}" if access.is_sandbox else ""
    info(f"{access.place}{address}, token from {access.token_source}")
    return settings


def _read_mirror(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[str(option.name)] = check_mirror(value)


ENVIRONMENT_OPTIONS = (
    environment_option(
        "--env",
        metavar="NAME|FILE",
        help="Environment of the nodes: main, science, or a file (explicit list, pixi.lock, conda-lock.yml,"
        " environment.yml).  [default: one with the client's versions]",
    ),
    environment_option(
        "--package",
        "packages",
        multiple=True,
        metavar="PACKAGE",
        help="Add a conda package, such as 'xarray>=2025', or a Python package from an index: pypi:NAME. Repeatable.",
    ),
    environment_option(
        "--channel",
        "channels",
        multiple=True,
        metavar="NAME|URL",
        help="Channel for conda packages. Repeatable; the first has priority.  [default: conda-forge]",
    ),
    environment_option(
        "--allow-mismatch", is_flag=True, help="Accept an environment whose versions differ from the client's."
    ),
    environment_option(
        "--client",
        metavar="PYTHON",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Python that you use the cluster with.  [default: the active environment's, or this program's]",
    ),
    *(
        environment_option(f"--{name}-mirror", metavar="URL", callback=_read_mirror, expose_value=False, help=text)
        for name, text in (
            ("channel", "Mirror of https://conda.anaconda.org for this computer and the nodes."),
            ("miniforge", "Mirror of Miniforge's GitHub releases for the nodes."),
        )
    ),
)


def environment_options(command: Command) -> Command:
    """Give a command all options that say which environment is wanted."""
    for option in reversed(ENVIRONMENT_OPTIONS):
        command = option(command)
    return command


def _with_mirrors(settings: Settings) -> Settings:
    """The settings with the mirrors that the command line names."""
    return evolve(settings, **_named_mirrors())


def sources() -> Sources:
    """Where environments come from, for commands that need nothing of a cloud."""
    mirror = _named_mirrors().get("channel_mirror") or mirror_in("CHANNEL")
    return Sources(cache=cache_folder(), mirror=mirror, within_s=Timeouts().solve)


def _named_mirrors() -> dict[str, Any]:
    return {name: url for name, url in click.get_current_context().meta.items() if name.endswith("_mirror")}


def client_in(path: Path | None) -> Client:
    """Read the client that the user named, or whose environment is active; else it is this program.

    Args:
        path: Its program, or None.

    Raises:
        BadInput: It is none that can be asked, or has no Dask.
    """
    from scherbelberg.environments.interpreter import own_client, read_client  # noqa: PLC0415 - needed by few

    if path is not None:
        return read_client(path, "--client")
    active = active_client()
    return own_client() if active is None else read_client(*active)
