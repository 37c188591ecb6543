# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line that lets OpenSSH into a node with the cluster's key and pinned host keys. Pure."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.errors import BadInput, NodeUnreachable
from scherbelberg.payload import command
from scherbelberg.record import KNOWN_HOSTS, SSH_KEY, NodeRecord


def ssh_arguments(folder: Path, record: NodeRecord, *, port: int, words: tuple[str, ...]) -> list[str]:
    """Write the argument list, without the program's name.

    Nothing of the user's own SSH configuration is used. The node is known by its name in the cluster, since addresses
    are recycled.

    Args:
        folder: The cluster's folder on this computer.
        record: The node.
        port: Where it takes SSH.
        words: The command, joined with spaces for the node's shell as OpenSSH does; none for a login.

    Raises:
        NodeUnreachable: The node has no address yet.
        BadInput: OpenSSH cannot be told of the folder.
    """
    if record.public_ip is None:
        raise NodeUnreachable(f"Node {record.name} has no public address yet.", node=record.name)
    inside = command("enter", "bash", "-c", " ".join(words)) if words else command("enter")
    return [
        *("-F", "none", "-p", str(port), "-o", f"IdentityFile={_quoted(folder / SSH_KEY)}"),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f"HostKeyAlias={record.name}", "-o", f"UserKnownHostsFile={_quoted(folder / KNOWN_HOSTS)}"),
        *("-o", "GlobalKnownHostsFile=none", "-o", "UpdateHostKeys=no", "-o", "LogLevel=ERROR"),
        *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ConnectTimeout=20"),
        *([] if words else ["-t"]),
        f"root@{record.public_ip}",
        inside,
    ]


def _quoted(path: Path) -> str:
    """A path as an option's value: OpenSSH splits it at spaces and expands percent signs and variables."""
    text = str(path)
    if '"' in text or "${" in text:
        raise BadInput(f"OpenSSH cannot be told of {text}: its name has a quotation mark or a variable in it.")
    return '"' + text.replace("%", "%%") + '"'
