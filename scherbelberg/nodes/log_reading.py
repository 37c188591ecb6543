# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the logs of nodes, whatever became of them so far, and keeps the last of those that are given back.

As long as a node takes SSH, nothing of ours need be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.environments.shipped import shipped_files
from scherbelberg.errors import BootstrapFailed, ScherbelbergError
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.logs import (
    MISSING,
    SCRIPT,
    SOURCES,
    NodeLog,
    Source,
    hide,
    log_command,
    log_file_text,
    main_source,
    redact,
    tail_of,
    with_error_tail,
)
from scherbelberg.nodes.ssh import TAIL, Remote
from scherbelberg.state.store import private_folder, write_private

#: A log that is followed ends when somebody has seen enough, or the node is gone.
_FOLLOW_S = 30 * 86400.0


_FOLDER = "failures"
#: Files that are kept; with another one, the oldest goes.
_MOST_FILES = 10
#: Of one file; with more, its beginning goes.
_MOST_KEPT_BYTES = 8 * 1024 * 1024
#: Of each log.
_MOST_LINES, _MOST_BYTES = 10_000, 128 * 1024


async def read_logs(
    remote: Remote, sources: Iterable[Source], *, lines: int, within_s: float, most_bytes: int | None = None
) -> tuple[NodeLog, ...]:
    """Read the last lines of a node's logs, side by side.

    Args:
        remote: The node.
        sources: Which logs.
        lines: How many lines of each.
        within_s: Deadline in seconds.
        most_bytes: How much of each at most.

    Raises:
        NodeUnreachable: The connection was lost.
        WaitTimeout: The deadline passed.
        BootstrapFailed: A log cannot be read.
    """
    script = shipped_files()[SCRIPT]

    async def read(source: Source) -> NodeLog:
        words = log_command(source, lines, most_bytes=most_bytes)
        result = await remote.run(words, within_s=within_s, stdin=script)
        if result.exit_code == MISSING:
            return NodeLog(node=remote.node, source=source, lacks=result.stderr.strip())
        if result.exit_code:
            raise _unreadable(remote.node, source, result.tail)
        return NodeLog(node=remote.node, source=source, lines=tuple(result.stdout.splitlines()))

    return tuple(await gather_or_cancel(*(read(source) for source in sources)))


async def follow_log(
    remote: Remote, source: Source, *, lines: int, show: Callable[[str], None], note: Callable[[str], None]
) -> None:
    """Tell the last lines of a node's log and those that come, until this is cancelled.

    Args:
        remote: The node.
        source: Which log.
        lines: How many lines to begin with.
        show: Is given each line.
        note: Is told in a few words when there is no such log yet.

    Raises:
        NodeUnreachable: The connection was lost.
        BootstrapFailed: The log cannot be read.
    """
    notes: list[str] = []

    def hear(line: str) -> None:
        notes.append(line)
        note(line)

    words = log_command(source, lines, follow=True)
    script = shipped_files()[SCRIPT].decode()
    code = await remote.converse(words, answer=show, log=hear, within_s=_FOLLOW_S, say=script)
    if code:
        raise _unreadable(remote.node, source, tuple(notes[-TAIL:]))


def _unreadable(node: str, source: Source, tail: tuple[str, ...]) -> BootstrapFailed:
    return BootstrapFailed(f"The log of {source} on node {node} cannot be read.", node=node, log_tail=tail)


def keep_log(home: Path, name: str, text: str) -> Path | None:
    """Write a file that only its owner can read; what is there already, of nodes that were replaced, stays before it.

    Args:
        home: Folder for what is kept on this computer.
        name: What it is called, without a suffix.
        text: What is kept.

    Returns:
        Where it is; None if it cannot be written, as on a full disk.
    """
    folder = home / _FOLDER
    try:
        private_folder(home)
        private_folder(folder)
        file = folder / f"{name}.log"
        before = file.read_bytes() + b"\n\n" if file.exists() else b""
        write_private(file, (before + text.encode())[-_MOST_KEPT_BYTES:])
        kept = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-_MOST_FILES]:
            path.unlink()
    except OSError:
        return None
    return file


async def add_last_words(
    error: ScherbelbergError,
    connections: Connections,
    names: Iterable[str],
    *,
    hidden: Iterable[str],
    home: Path,
    within_s: float,
) -> Path | None:
    """Add to an error what nodes have logged, and keep it in a file.

    Args:
        error: Why they are given back.
        connections: The cluster's connections.
        names: Which nodes.
        hidden: Texts that are secret.
        home: Folder for what is kept on this computer.
        within_s: Deadline in seconds for all of it.

    Returns:
        The file, or None if it cannot be written.
    """
    read = await last_words(connections, names, within_s=within_s)
    secrets = tuple(hidden)
    logs = [redact(log, secrets) for log in with_error_tail(read, error)]
    identity = connections.manifest.identity
    head = f"Cluster '{identity.prefix}' ({identity.uid}): {hide(error.message, secrets)}"
    kept = keep_log(home, f"{identity.prefix}-{identity.uid}", log_file_text(logs, head=head))
    error.add_logs(tail_of(logs, main=main_source(error)), str(kept) if kept else None)
    return kept


async def last_words(connections: Connections, names: Iterable[str], *, within_s: float) -> tuple[NodeLog, ...]:
    """Read all logs of some nodes side by side; what cannot be had says why.

    Args:
        connections: The cluster's connections; new ones are opened, since the old ones may have broken.
        names: Which nodes.
        within_s: Deadline in seconds for all of it.
    """

    async def read(name: str) -> tuple[NodeLog, ...]:
        try:
            async with connections.connect(name) as remote:
                return await read_logs(remote, SOURCES, lines=_MOST_LINES, within_s=within_s, most_bytes=_MOST_BYTES)
        except ScherbelbergError as error:
            return tuple(NodeLog(node=name, source=source, lacks=error.message.rstrip(".")) for source in SOURCES)

    return tuple(log for found in await gather_or_cancel(*(read(name) for name in names)) for log in found)
