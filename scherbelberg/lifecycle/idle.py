# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks clusters for how long nothing was done on them; only whoever has their keys can."""

from __future__ import annotations

from scherbelberg.errors import ScherbelbergError
from scherbelberg.nodes.connections import Links
from scherbelberg.nodes.payload import command
from scherbelberg.state.store import Folder

#: A cluster that does not answer is not idle, as far as anybody knows.
_WITHIN_S = 15.0


async def quiet_s(folder: Folder) -> float | None:
    """Ask a cluster's scheduler for how many seconds there was no task, no login with a program, and no transfer.

    Args:
        folder: The cluster's, with its keys.

    Returns:
        Seconds, or None if that cannot be found out.
    """
    try:
        links = Links(folder, folder.read(), folder.keyring().ssh.private)
        async with links.visit("scheduler") as scheduler:
            answer = await scheduler.run(command("idle"), within_s=_WITHIN_S)
    except ScherbelbergError:
        return None
    text = answer.stdout.strip()
    return float(text) if answer.exit_code == 0 and text.isdecimal() else None
