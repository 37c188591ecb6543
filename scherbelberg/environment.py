# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Versions that must agree: of a client, of a lock, of every node; and the table of differences.

Pure: reading an interpreter's versions is ``interpreter``'s work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import field, frozen

from scherbelberg.errors import VersionMismatch

#: Must be equal everywhere: they speak to each other or unpickle each other's objects.
REQUIRED = ("dask", "distributed", "cloudpickle", "msgpack", "toolz", "tornado")
#: Must be equal where the client has them.
OPTIONAL = ("numpy", "pandas", "lz4")


@frozen(kw_only=True)
class Versions:
    """What one interpreter has.

    Args:
        python: Full version, such as ``3.13.14``.
        packages: Package name to version, for the packages that are compared and installed.
    """

    python: str
    packages: Mapping[str, str] = field(hash=False)

    @property
    def python_minor(self) -> str:
        """``3.13`` of ``3.13.14``."""
        return ".".join(self.python.split(".")[:2])


@frozen(kw_only=True)
class EnvLock:
    """An environment that nodes must have.

    Args:
        versions: The compared versions it pins.
        digest: Hexadecimal SHA-256 that names it; a node's stamp carries the same.
    """

    versions: Versions
    digest: str


def lock_of(versions: Versions) -> EnvLock:
    """Make the lock that an image baked with exactly these versions satisfies."""
    rows = [f"python=={versions.python_minor}"]
    rows += [f"{name}=={versions.packages[name]}" for name in REQUIRED + OPTIONAL if name in versions.packages]
    return EnvLock(versions=versions, digest=hashlib.sha256("\n".join(rows).encode()).hexdigest())


def differences(client: Versions, nodes: Mapping[str, Versions]) -> tuple[tuple[str, str, str, str], ...]:
    """List what must agree and does not.

    Args:
        client: Versions of the client.
        nodes: Versions by node name.

    Returns:
        Rows of (node, package, client's version, node's version); ``-`` stands for absent.
    """
    rows: list[tuple[str, str, str, str]] = []
    for node, theirs in sorted(nodes.items()):
        if client.python_minor != theirs.python_minor:
            rows.append((node, "python", client.python, theirs.python))
        for name in REQUIRED + OPTIONAL:
            ours = client.packages.get(name)
            if ours is None and name in OPTIONAL:
                continue
            if ours != theirs.packages.get(name):
                rows.append((node, name, ours or "-", theirs.packages.get(name, "-")))
    return tuple(rows)


def compare(ours: Versions, theirs: Mapping[str, Versions]) -> None:
    """Refuse versions that differ.

    Args:
        ours: The client's.
        theirs: By node.

    Raises:
        VersionMismatch: They differ; the rows say where.
    """
    if rows := differences(ours, theirs):
        node, package, here, there = rows[0]
        raise VersionMismatch(
            f"{package} is {here} on this computer and {there} on node {node}"
            f" ({len(rows)} differences in all); client and nodes must run the same versions.",
            differences=rows,
        )
