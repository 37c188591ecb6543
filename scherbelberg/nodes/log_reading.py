# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the logs of a node, whatever became of it so far: as long as it takes SSH, nothing of ours need be there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scherbelberg.concurrency.waiting import together
from scherbelberg.environments.shipped import shipped_files
from scherbelberg.errors import BootstrapFailed
from scherbelberg.nodes.command_result import TAIL
from scherbelberg.nodes.logs import MISSING, SCRIPT, NodeLog, Source, log_command
from scherbelberg.nodes.ssh import Remote

#: A log that is followed ends when somebody has seen enough, or the node is gone.
_FOLLOW_S = 30 * 86400.0


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

    return tuple(await together(*(read(source) for source in sources)))


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
