# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands that reach nodes and the scheduler: ``ssh``, ``scp``, ``cp``, ``logs``, ``tunnel``, ``dashboard``."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from scherbelberg.cli.options import (
    json_option,
    node_names,
    node_or_file,
    nodes_or_file,
    prefix_option,
    verbosity_options,
)
from scherbelberg.cli.output import SCHEMA, Json, Reporter, get_reporter, info
from scherbelberg.cli.signals import left_to_child, run, run_until_ctrl_c
from scherbelberg.errors import BadInput, ScherbelbergError
from scherbelberg.nodes.logs import SOURCES, NodeLog, Source, usual_sources
from scherbelberg.spec.model import check_prefix

if TYPE_CHECKING:
    from scherbelberg.nodes.connections import Connections
    from scherbelberg.scheduler.endpoint import SchedulerEndpoint
    from scherbelberg.state.manifest import Manifest, NodeRecord
    from scherbelberg.state.store import Folder

T = TypeVar("T")
#: What names every node, and every log.
_ALL = "all"
#: Deadline of a copy in seconds: whoever has more to send splits it, or takes scp.
_COPY_S = 3600.0
_LOGS_WITHIN_S = 60.0
#: Node to its logs.
_Wanted = dict[str, tuple[Source, ...]]
#: The tunnel is there until Ctrl-C; every wait has an end all the same.
_LONGEST_TUNNEL_S = 365 * 86400.0


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@prefix_option
@click.argument("node", shell_complete=node_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@verbosity_options
def ssh(prefix: str, node: str, command: tuple[str, ...]) -> None:
    """Log into a node, or run COMMAND there in the cluster's environment.

    NODE is scheduler, worker000, worker001, ... The exit code is that of COMMAND. Requires OpenSSH's ssh.
    """
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.nodes.connections import find_node  # noqa: PLC0415
    from scherbelberg.nodes.dialing import first_way  # noqa: PLC0415
    from scherbelberg.nodes.openssh import ssh_arguments  # noqa: PLC0415

    words = command[1:] if command[:1] == ("--",) else command
    folder = folder_of(prefix)
    manifest = folder.read()
    record = find_node(manifest, node)
    arguments = ssh_arguments(
        folder.path, record, port=manifest.ssh_port, words=words, host=first_way(record.public_ip, record.public_ipv6)
    )
    _run_openssh("ssh", arguments)


@click.command()
@prefix_option
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with their contents.")
@click.argument("sources", nargs=-1, required=True, shell_complete=node_or_file)
@click.argument("target", shell_complete=node_or_file)
@verbosity_options
def scp(prefix: str, recursive: bool, sources: tuple[str, ...], target: str) -> None:
    """Copy files to or from one node with OpenSSH's scp.

    SOURCES or TARGET are NODE:PATH. A relative PATH on a node starts in root's home. Without OpenSSH, use cp.
    """
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.nodes.connections import find_node  # noqa: PLC0415
    from scherbelberg.nodes.dialing import first_way  # noqa: PLC0415
    from scherbelberg.nodes.openssh import scp_arguments  # noqa: PLC0415

    name = _only_node(sources, target)
    folder = folder_of(prefix)
    manifest = folder.read()
    record = find_node(manifest, name)
    arguments = scp_arguments(
        folder.path,
        record,
        port=manifest.ssh_port,
        sources=sources,
        target=target,
        recursive=recursive,
        host=first_way(record.public_ip, record.public_ipv6),
    )
    _run_openssh("scp", arguments)


def _only_node(sources: tuple[str, ...], target: str) -> str:
    """The node between which and this computer is copied."""
    from scherbelberg.nodes.openssh import split_place  # noqa: PLC0415 - heavy

    there = {split_place(text)[0] for text in sources}
    end = split_place(target)[0]
    names = {name for name in (*there, end) if name is not None}
    if not names:
        raise BadInput("Neither side is on a node. Write one as NODE:PATH, such as scheduler:results.csv.")
    if len(names) > 1 or (end is not None and there != {None}) or (end is None and None in there):
        raise BadInput(
            "scp copies between this computer and one node. To copy between nodes, copy to this computer first."
        )
    return names.pop()


def _run_openssh(name: str, arguments: Iterable[str]) -> NoReturn:
    """Let a program of OpenSSH's client talk to the user, and exit with its code.

    Args:
        name: Its name.
        arguments: What it is called with.

    Raises:
        ScherbelbergError: It is not there.
    """
    found = shutil.which(name)
    if found is None:
        raise ScherbelbergError(f"There is no program '{name}' on this computer. Install OpenSSH's client.")
    with left_to_child():
        sys.exit(subprocess.run([found, *arguments], check=False).returncode)


@click.command()
@prefix_option
@click.argument("source", shell_complete=nodes_or_file)
@click.argument("target", shell_complete=nodes_or_file)
@verbosity_options
def cp(prefix: str, source: str, target: str) -> None:
    """Copy a file or a folder to or from nodes.

    SOURCE or TARGET is NODE:PATH. NODE is one node, several separated by commas, or all. A relative PATH starts in
    root's home. If TARGET is an existing folder, the copy goes into it. From several nodes, TARGET is a folder that
    gets a subfolder for each node.
    """
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.concurrency.waiting import gather_or_cancel  # noqa: PLC0415

    names, path, local, is_to_nodes = _read_copy(source, target)
    folder = folder_of(prefix)
    records = _nodes_named(folder.read(), names)
    places = {record.name: local for record in records}
    if not is_to_nodes and len(records) > 1:
        places = _make_folders(local, tuple(places))

    async def copy(connections: Connections) -> None:
        one = _copy_to_node if is_to_nodes else _copy_from_node
        await gather_or_cancel(*(one(connections, name, here, path) for name, here in places.items()))

    run(_with_connections(folder, copy), on_first="Interrupted: stopping the copy ...")
    nodes = ", ".join(places)
    info(f"Copied {local} to {nodes}." if is_to_nodes else f"Copied {path} from {nodes} to {local}.")


def _read_copy(source: str, target: str) -> tuple[str, str, Path, bool]:
    """Read between what is copied: nodes, the path there, the path here, and whether it goes to the nodes."""
    from scherbelberg.nodes.openssh import split_place  # noqa: PLC0415 - heavy

    (origin, source_path), (destination, target_path) = split_place(source), split_place(target)
    if origin is None and destination is None:
        raise BadInput(f"Neither side is on a node. Write one as NODE:PATH or {_ALL}:PATH.")
    if origin is not None and destination is not None:
        raise BadInput("Both sides are on nodes. Copy to this computer first.")
    names, path = (destination, target_path) if origin is None else (origin, source_path)
    if not path:
        raise BadInput(f"There is no path after '{names}:'. Write NODE:PATH or {_ALL}:PATH.")
    local = Path(source if origin is None else target)
    if origin is None:
        try:
            local.stat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            raise BadInput(f"'{local}' {reason}.") from None
    return names or "", path, local, origin is None


def _nodes_named(manifest: Manifest, names: str) -> tuple[NodeRecord, ...]:
    if names == _ALL:
        return manifest.nodes
    return tuple(_select_nodes(manifest, name)[0] for name in dict.fromkeys(names.split(",")))


def _make_folders(local: Path, names: Iterable[str]) -> dict[str, Path]:
    """Make a folder for each node, so that what comes from one does not replace what comes from another."""
    places = {name: local / name for name in names}
    try:
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"Cannot create folders in {local}: {error}.") from None
    return places


async def _copy_to_node(connections: Connections, name: str, local: Path, path: str) -> None:
    async with connections.connect(name) as remote:
        await remote.reach(within_s=connections.manifest.spec.timeouts.reach)
        await remote.put(local, path, within_s=_COPY_S)


async def _copy_from_node(connections: Connections, name: str, local: Path, path: str) -> None:
    async with connections.connect(name) as remote:
        await remote.reach(within_s=connections.manifest.spec.timeouts.reach)
        await remote.get(path, local, within_s=_COPY_S)


@click.command()
@prefix_option
@click.option(
    "-s",
    "--source",
    "sources",
    multiple=True,
    type=click.Choice([*SOURCES, _ALL]),
    help="Log to show. Repeatable.  [default: dask, or all of a node that is still being set up]",
)
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 999_999_999),
    default=20,
    show_default=True,
    help="Number of lines from the end of each log.",
)
@click.argument("node", required=False, shell_complete=node_names)
@json_option
@verbosity_options
def logs(*, prefix: str, sources: tuple[str, ...], follow: bool, lines: int, node: str | None, as_json: bool) -> None:
    """Show the logs of NODE or of all nodes: cloud-init, bootstrap, Dask.

    With several logs, each line starts with its node, its source, or both.
    """
    check_prefix(prefix)
    if follow and as_json:
        raise BadInput("--follow and --json exclude each other.")
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy

    folder = folder_of(prefix)
    wanted = _wanted_logs(_select_nodes(folder.read(), node), sources)
    labels = _Labels(wanted, get_reporter())  # here, since other threads do not know whose command runs
    if follow:
        run_until_ctrl_c(
            _with_connections(folder, lambda connections: _follow_all(connections, wanted, lines, labels)),
            is_for_readers=True,
        )
        return
    found, errors = run(_with_connections(folder, lambda connections: _read_all(connections, wanted, lines)))
    if not as_json:
        labels.print_all(found)
    if errors:  # a node that is lost does not hide the others' logs
        raise errors[0]
    if as_json:
        get_reporter().answer(_logs_document(prefix, found))


def _wanted_logs(records: Iterable[NodeRecord], sources: tuple[str, ...]) -> _Wanted:
    named = tuple(source for source in SOURCES if source in sources or _ALL in sources)
    return {record.name: named or usual_sources(is_made=bool(record.script)) for record in records}


def _logs_document(prefix: str, found: Iterable[NodeLog]) -> Json:
    logs = [
        {"node": log.node, "source": log.source, "lines": list(log.lines), "lacks": log.lacks or None} for log in found
    ]
    return {"schema": SCHEMA, "prefix": prefix, "logs": logs}


class _Labels:
    """Says of each line where it is from, as far as that is in question."""

    def __init__(self, wanted: _Wanted, reporter: Reporter) -> None:
        self._reporter = reporter
        sources = {source for named in wanted.values() for source in named}
        self._node_width = max(len(name) for name in wanted) if len(wanted) > 1 else 0
        self._source_width = max(len(source) for source in sources) if len(sources) > 1 else 0

    def print(self, node: str, source: Source, line: str) -> None:
        """Print a line."""
        words = [f"{node:<{self._node_width}}"] if self._node_width else []
        words += [f"{source:<{self._source_width}}"] if self._source_width else []
        click.echo(f"{' '.join(words)} | {line}" if words else line)

    def print_all(self, logs: Iterable[NodeLog]) -> None:
        """Print logs, and say which there are not."""
        for log in logs:
            for line in log.lines:
                self.print(log.node, log.source, line)
            if log.lacks:
                self.say_lack(log.node, log.lacks)

    def say_lack(self, node: str, lacks: str) -> None:
        """Say why there is no log."""
        self._reporter.info(f"{node}: {lacks}.")


async def _read_all(
    connections: Connections, wanted: _Wanted, lines: int
) -> tuple[list[NodeLog], list[ScherbelbergError]]:
    from scherbelberg.concurrency.waiting import gather_or_cancel  # noqa: PLC0415
    from scherbelberg.nodes.log_reading import read_logs  # noqa: PLC0415 - heavy

    async def read(name: str) -> tuple[NodeLog, ...] | ScherbelbergError:
        try:
            async with connections.connect(name) as remote:
                await remote.reach(within_s=_LOGS_WITHIN_S)
                return await read_logs(remote, wanted[name], lines=lines, within_s=_LOGS_WITHIN_S)
        except ScherbelbergError as error:
            return error

    answers = await gather_or_cancel(*(read(name) for name in wanted))
    found = [log for answer in answers if isinstance(answer, tuple) for log in answer]
    return found, [answer for answer in answers if isinstance(answer, ScherbelbergError)]


async def _follow_all(connections: Connections, wanted: _Wanted, lines: int, labels: _Labels) -> None:
    from scherbelberg.concurrency.waiting import gather_or_cancel  # noqa: PLC0415
    from scherbelberg.nodes.log_reading import follow_log  # noqa: PLC0415 - heavy

    async def follow(name: str, source: Source) -> None:
        def show(line: str) -> None:
            labels.print(name, source, line)

        async with connections.connect(name) as remote:
            await remote.reach(within_s=_LOGS_WITHIN_S)
            await follow_log(remote, source, lines=lines, show=show, note=lambda text: labels.say_lack(name, text))

    await gather_or_cancel(*(follow(name, source) for name, sources in wanted.items() for source in sources))


@click.command()
@prefix_option
@json_option
@verbosity_options
def tunnel(prefix: str, as_json: bool) -> None:
    """Forward local ports to a cluster's scheduler and dashboard until Ctrl-C.

    Prints a Client(...) expression, and environment variables for a Client() without arguments.
    """
    reporter = get_reporter()  # asked for here: the way is shown on another thread
    _hold_tunnel(prefix, lambda endpoint: _print_way(endpoint, reporter, as_json=as_json))


@click.command()
@prefix_option
@click.option("--no-browser", is_flag=True, help="Print the address and do not open a browser.")
@verbosity_options
def dashboard(prefix: str, no_browser: bool) -> None:
    """Open a cluster's dashboard in the browser, and forward its port until Ctrl-C."""
    reporter = get_reporter()
    _hold_tunnel(prefix, lambda endpoint: _open_dashboard(endpoint, reporter, with_browser=not no_browser))


def _hold_tunnel(prefix: str, show: Callable[[SchedulerEndpoint], None]) -> None:
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.concurrency.waiting import wait_event  # noqa: PLC0415

    async def hold(connections: Connections) -> None:
        await connections.remote("scheduler").reach(within_s=connections.manifest.spec.timeouts.reach)
        endpoint = await connections.open_endpoint()
        await asyncio.to_thread(show, endpoint)
        await wait_event(asyncio.Event(), within_s=_LONGEST_TUNNEL_S)

    run_until_ctrl_c(_with_connections(folder_of(prefix), hold))


def _print_way(endpoint: SchedulerEndpoint, reporter: Reporter, *, as_json: bool) -> None:
    if as_json:
        document = {
            "schema": SCHEMA,
            "address": endpoint.address,
            "dashboard": endpoint.dashboard_link,
            "environ": endpoint.variables,
        }
        reporter.answer(document)
        return
    click.echo("# In Python:")
    for line in endpoint.python_lines:
        click.echo(f"#     {line}")
    click.echo(f"# The dashboard: {endpoint.dashboard_link}")
    for name, value in endpoint.variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    reporter.info("The tunnel is open; Ctrl-C closes it.")


def _open_dashboard(endpoint: SchedulerEndpoint, reporter: Reporter, *, with_browser: bool) -> None:
    import webbrowser  # noqa: PLC0415 - needed by this command alone

    click.echo(endpoint.dashboard_link)
    if with_browser and not webbrowser.open(endpoint.dashboard_link):
        reporter.info("No browser could be opened here; open this address yourself.")
    reporter.info("The way there is open; Ctrl-C closes it.")


def _select_nodes(manifest: Manifest, name: str | None) -> tuple[NodeRecord, ...]:
    """The node of a name, or all of them.

    Args:
        manifest: The cluster.
        name: The name, or None for all.

    Raises:
        NodeNotFound: There is none of this name.
    """
    from scherbelberg.nodes.connections import find_node  # noqa: PLC0415 - heavy

    return manifest.nodes if name is None else (find_node(manifest, name),)


async def _with_connections(folder: Folder, work: Callable[[Connections], Coroutine[Any, Any, T]]) -> T:
    """Do something with a cluster's connections and close them; the cloud is not asked.

    Args:
        folder: The cluster's.
        work: What is done.
    """
    from scherbelberg.nodes.connections import Connections  # noqa: PLC0415 - heavy

    connections = Connections(folder, folder.read(), folder.keyring().ssh.private)
    try:
        return await work(connections)
    finally:
        await connections.close()
