# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg scp`` and ``scherbelberg put``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scherbelberg.cli.options import node_or_file, place_on_node, prefix_option, voice_options
from scherbelberg.cli.output import say
from scherbelberg.cli.programs import program
from scherbelberg.cli.signals import left_to_child, run
from scherbelberg.errors import BadInput
from scherbelberg.spec import check_prefix

if TYPE_CHECKING:
    from scherbelberg.links import Links
    from scherbelberg.record import Manifest, NodeRecord
    from scherbelberg.store import Folder

T = TypeVar("T")
_EVERYWHERE = "all"
#: Deadline of a copy in seconds: whoever has more to send splits it, or takes scp.
_COPY_S = 3600.0


@click.command()
@prefix_option
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with all that is in them.")
@click.argument("sources", nargs=-1, required=True, shell_complete=node_or_file)
@click.argument("target", shell_complete=node_or_file)
@voice_options
def scp(prefix: str, recursive: bool, sources: tuple[str, ...], target: str) -> None:
    """Copy files between this computer and one node: SOURCES or TARGET are NODE:path.

    A path on a node that does not begin with a slash begins in root's home. This needs OpenSSH's scp.
    """
    check_prefix(prefix)
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415 - heavy
    from scherbelberg.dialing import first_way  # noqa: PLC0415
    from scherbelberg.links import find_node  # noqa: PLC0415
    from scherbelberg.sshcommand import scp_arguments  # noqa: PLC0415

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
    line = [program("scp"), *arguments]
    with left_to_child():
        sys.exit(subprocess.run(line, check=False).returncode)


def _only_node(sources: tuple[str, ...], target: str) -> str:
    """The node between which and this computer is copied."""
    from scherbelberg.sshcommand import split_place  # noqa: PLC0415 - heavy

    there = {split_place(text)[0] for text in sources}
    end = split_place(target)[0]
    names = {name for name in (*there, end) if name is not None}
    if not names:
        raise BadInput("Neither side is on a node: write one as NODE:path, such as scheduler:results.csv.")
    if len(names) > 1 or (end is not None and there != {None}) or (end is None and None in there):
        raise BadInput("One side is one node, the other this computer: copy between nodes by way of this computer.")
    return names.pop()


@click.command()
@prefix_option
@click.argument("local", type=click.Path(path_type=Path, exists=True))
@click.argument("target", metavar="NODE:PATH|all:PATH", shell_complete=place_on_node)
@voice_options
def put(prefix: str, local: Path, target: str) -> None:
    """Copy a file or a folder to one node, or to all with all:PATH.

    A path that does not begin with a slash begins in root's home; in a folder that is there it gets its own name.
    """
    check_prefix(prefix)
    name, sign, path = target.partition(":")
    if not sign or not path:
        raise BadInput(f"'{target}' is no place on a node: write NODE:PATH, or {_EVERYWHERE}:PATH.")
    from scherbelberg.cli.actions import folder_of  # noqa: PLC0415
    from scherbelberg.waiting import together  # noqa: PLC0415

    folder = folder_of(prefix)
    records = chosen(folder.read(), None if name == _EVERYWHERE else name)

    async def send(links: Links) -> None:
        await together(*(_send(links, record.name, local, path) for record in records))

    run(linked(folder, send), on_first="Interrupted: stopping to copy ...")
    say(f"{local} is on {', '.join(record.name for record in records)}.")


async def _send(links: Links, name: str, local: Path, path: str) -> None:
    async with links.visit(name) as remote:
        await remote.reach(within_s=links.manifest.spec.timeouts.reach)
        await remote.put(local, path, within_s=_COPY_S)


def chosen(manifest: Manifest, name: str | None) -> tuple[NodeRecord, ...]:
    """The node of a name, or all of them.

    Args:
        manifest: The cluster.
        name: The name, or None for all.

    Raises:
        NodeNotFound: There is none of this name.
    """
    from scherbelberg.links import find_node  # noqa: PLC0415 - heavy

    return manifest.nodes if name is None else (find_node(manifest, name),)


async def linked(folder: Folder, work: Callable[[Links], Coroutine[Any, Any, T]]) -> T:
    """Do something with a cluster's connections and close them; the cloud is not asked.

    Args:
        folder: The cluster's.
        work: What is done.
    """
    from scherbelberg.links import Links  # noqa: PLC0415 - heavy

    links = Links(folder, folder.read(), folder.keyring().ssh.private)
    try:
        return await work(links)
    finally:
        await links.close()
