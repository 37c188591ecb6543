# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What nodes have logged by the time that they are given back, as far as it can be had quickly."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scherbelberg.concurrency.waiting import together
from scherbelberg.errors import ScherbelbergError
from scherbelberg.nodes.connections import Links
from scherbelberg.nodes.kept_logs import keep_log
from scherbelberg.nodes.log_reading import read_logs
from scherbelberg.nodes.logs import SOURCES, NodeLog, hide, log_file_text, main_source, redacted, tail_of, with_heard

#: Of each log.
_MOST_LINES, _MOST_BYTES = 10_000, 128 * 1024


async def add_last_words(
    error: ScherbelbergError,
    links: Links,
    names: Iterable[str],
    *,
    hidden: Iterable[str],
    home: Path,
    within_s: float,
) -> Path | None:
    """Add to an error what nodes have logged, and keep it in a file.

    Args:
        error: Why they are given back.
        links: The cluster's connections.
        names: Which nodes.
        hidden: Texts that are secret.
        home: Folder for what is kept on this computer.
        within_s: Deadline in seconds for all of it.

    Returns:
        The file, or None if it cannot be written.
    """
    read = await last_words(links, names, within_s=within_s)
    secrets = tuple(hidden)
    logs = [redacted(log, secrets) for log in with_heard(read, error)]
    identity = links.manifest.identity
    head = f"Cluster '{identity.prefix}' ({identity.uid}): {hide(error.message, secrets)}"
    kept = keep_log(home, f"{identity.prefix}-{identity.uid}", log_file_text(logs, head=head))
    error.add_logs(tail_of(logs, main=main_source(error)), str(kept) if kept else None)
    return kept


async def last_words(links: Links, names: Iterable[str], *, within_s: float) -> tuple[NodeLog, ...]:
    """Read all logs of some nodes side by side; what cannot be had says why.

    Args:
        links: The cluster's connections; new ones are opened, since the old ones may have broken.
        names: Which nodes.
        within_s: Deadline in seconds for all of it.
    """

    async def read(name: str) -> tuple[NodeLog, ...]:
        try:
            async with links.visit(name) as remote:
                return await read_logs(remote, SOURCES, lines=_MOST_LINES, within_s=within_s, most_bytes=_MOST_BYTES)
        except ScherbelbergError as error:
            return tuple(NodeLog(node=name, source=source, lacks=error.message.rstrip(".")) for source in SOURCES)

    return tuple(log for found in await together(*(read(name) for name in names)) for log in found)
