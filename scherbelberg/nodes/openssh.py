# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command lines that let OpenSSH into a node with the cluster's key and pinned host keys. Pure."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.errors import BadInput, NodeUnreachable
from scherbelberg.nodes.payload import command
from scherbelberg.state.manifest import KNOWN_HOSTS, SSH_KEY, NodeRecord


def ssh_arguments(
    folder: Path, record: NodeRecord, *, port: int, words: tuple[str, ...], host: str | None = None
) -> list[str]:
    """Write the argument list, without the program's name.

    Nothing of the user's own SSH configuration is used. The node is known by its name in the cluster, since addresses
    are recycled.

    Args:
        folder: The cluster's folder on this computer.
        record: The node.
        port: Where it takes SSH.
        words: The command, joined with spaces for the node's shell as OpenSSH does; none for a login.
        host: Which of its addresses is taken; None for IPv4.

    Raises:
        NodeUnreachable: The node has no address yet.
        BadInput: OpenSSH cannot be told of the folder.
    """
    inside = command("enter", "bash", "-c", " ".join(words)) if words else command("enter")
    options = ["-F", "none", "-p", str(port), *_options(folder, record.name)]
    return [*options, *([] if words else ["-t"]), f"root@{_address(record, host)}", inside]


def scp_arguments(
    folder: Path,
    record: NodeRecord,
    *,
    port: int,
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    host: str | None = None,
) -> list[str]:
    """Write the argument list of scp, which copies between this computer and one node.

    Args:
        folder: The cluster's folder on this computer.
        record: The node.
        port: Where it takes SSH.
        sources: What is copied; paths on the node begin with its name and a colon.
        target: Where to, likewise.
        recursive: Whether folders are copied with all that is in them.
        host: Which of its addresses is taken; None for IPv4.

    Raises:
        NodeUnreachable: The node has no address yet.
        BadInput: OpenSSH cannot be told of the folder.
    """
    paths = [_place(text, record, host) for text in (*sources, target)]
    options = ["-F", "none", "-P", str(port), *_options(folder, record.name), *(["-r"] if recursive else [])]
    return [*options, "--", *paths]


def split_place(text: str) -> tuple[str | None, str]:
    """Read where a file is.

    Args:
        text: ``NODE:path``, or a path on this computer; one with a colon in it is written as ``./a:b``.

    Returns:
        The node's name or None, and the path there.
    """
    node, sign, path = text.partition(":")
    # One letter before a colon is a drive of Windows, and no node has such a name.
    if not sign or len(node) < 2 or "/" in node or "\\" in node:
        return None, text
    return node, path


def _place(text: str, record: NodeRecord, host: str | None) -> str:
    node, path = split_place(text)
    if node is not None:
        address = _address(record, host)
        return f"root@{f'[{address}]' if ':' in address else address}:{path}"
    # A drive of Windows aside, scp takes what has a colon before any slash for a machine's.
    return f"./{text}" if ":" in text.partition("/")[0][2:] or text.startswith(":") else text


def _address(record: NodeRecord, host: str | None) -> str:
    address = host or record.public_ip
    if address is None:
        raise NodeUnreachable(f"Node {record.name} has no public address yet.", node=record.name)
    return address


def _options(folder: Path, alias: str) -> list[str]:
    return [
        *("-o", f"IdentityFile={_quote(folder / SSH_KEY)}"),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes"),
        *("-o", f"HostKeyAlias={alias}", "-o", f"UserKnownHostsFile={_quote(folder / KNOWN_HOSTS)}"),
        *("-o", "GlobalKnownHostsFile=none", "-o", "UpdateHostKeys=no", "-o", "LogLevel=ERROR"),
        *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ConnectTimeout=20"),
    ]


def _quote(path: Path) -> str:
    """A path as an option's value: OpenSSH splits it at spaces and expands percent signs and variables."""
    text = str(path)
    if '"' in text or "${" in text:
        raise BadInput(f"OpenSSH cannot be told of {text}: its name has a quotation mark or a variable in it.")
    return '"' + text.replace("%", "%%") + '"'
