# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line that lets OpenSSH into a node with the cluster's key and pinned host keys. Pure."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.payload import command
from scherbelberg.store import KNOWN_HOSTS, SSH_KEY, NodeRecord


def ssh_arguments(folder: Path, record: NodeRecord, *, port: int, words: tuple[str, ...]) -> list[str]:
    """Write the argument list, without the program's name.

    Nothing of the user's own SSH configuration is used. The node is known by its name in the cluster, since addresses
    are recycled.

    Args:
        folder: The cluster's folder on this computer.
        record: The node.
        port: Where it takes SSH.
        words: The command, joined with spaces for the node's shell as OpenSSH does; none for a login.
    """
    inside = command("enter", "bash", "-c", " ".join(words)) if words else command("enter")
    return [
        *("-F", "none", "-i", str(folder / SSH_KEY), "-p", str(port)),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f"HostKeyAlias={record.name}", "-o", f"UserKnownHostsFile={_quoted(folder / KNOWN_HOSTS)}"),
        *("-o", "GlobalKnownHostsFile=none", "-o", "UpdateHostKeys=no", "-o", "LogLevel=ERROR"),
        *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ConnectTimeout=20"),
        *([] if words else ["-t"]),
        f"root@{record.public_ip}",
        inside,
    ]


def _quoted(path: Path) -> str:
    """A path as an option's value: OpenSSH splits it at spaces and expands percent signs."""
    return '"' + str(path).replace("%", "%%") + '"'
