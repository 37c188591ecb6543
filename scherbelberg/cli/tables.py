# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Environments as documents and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from scherbelberg.environment import OPTIONAL, REQUIRED, Client, Versions
from scherbelberg.envlock import EnvLock
from scherbelberg.fitting import Environment

Json = dict[str, Any]


def environment_document(environment: Environment) -> Json:
    """Describe an environment that was chosen for a client.

    Args:
        environment: The environment.

    Returns:
        JSON values; sizes are bytes.
    """
    return {
        "name": environment.name,
        "client": client_document(environment.client),
        "versions": _versions(environment.versions),
        "allowed": [{"package": name, "client": here, "nodes": there} for name, here, there in environment.allowed],
        "locks": [lock_document(lock) for lock in environment.locks.values()],
    }


def client_document(client: Client) -> Json:
    """Describe a client."""
    return {"python": client.path, "source": client.source, "versions": _versions(client.versions)}


def lock_document(lock: EnvLock) -> Json:
    """Describe a lock."""
    return {
        "profile": lock.profile,
        "platform": lock.platform,
        "digest": lock.digest,
        "versions": _versions(lock.versions),
        "packages": len(lock.packages),
        "wheels": len(lock.wheels),
        "bytes": lock.size,
    }


def _versions(versions: Versions) -> dict[str, str]:
    return {"python": versions.python, **versions.packages}


def print_environment(document: Json, console: Console) -> None:
    """Print an environment in a few lines, with all in which it differs from the client."""
    client, versions = document["client"], document["versions"]
    console.print(
        f"Environment {document['name']} (Python {versions['python']}, dask {versions['dask']}) for the client"
        f" {client['python']} ({client['source']}).",
        highlight=False,
    )
    for lock in document["locks"]:
        console.print(f"{lock['platform']}: {amount_of(lock)}, digest {lock['digest'][:12]}.", highlight=False)
    print_allowed(document["allowed"], console)


def print_allowed(rows: list[dict[str, str]], console: Console) -> None:
    """Print in what nodes may differ from the client; nothing where that is nothing.

    Args:
        rows: ``package`` with the versions of ``client`` and ``nodes``.
        console: Where.
    """
    if not rows:
        return
    table = Table(pad_edge=False, box=None)
    for heading in ("allowed to differ", "client", "nodes"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(row["package"], row["client"], row["nodes"])
    console.print(table)


def amount_of(lock: Json) -> str:
    """Tell how much a lock is."""
    words = f"{lock['packages']} packages"
    if lock["wheels"]:
        words += f" and {lock['wheels']} wheel{'s' if lock['wheels'] > 1 else ''}"
    return words if lock["bytes"] is None else f"{words}, {lock['bytes'] / 1e6:.0f} MB to download"


def print_locks(documents: list[Json], console: Console) -> None:
    """Print one line for each lock."""
    table = Table(pad_edge=False, box=None)
    columns = ("profile", "platform", "python", "dask", "packages", "wheels", "MB", "digest")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in documents:
        size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}"
        versions = row["versions"]
        cells = (row["profile"], row["platform"], versions["python"], versions.get("dask", "-"))
        table.add_row(*cells, str(row["packages"]), str(row["wheels"]), size, row["digest"][:12])
    console.print(table)


def print_versions(columns: Mapping[str, Mapping[str, str]], console: Console) -> None:
    """Print compared versions side by side; where they differ from the first, they stand out.

    Args:
        columns: Versions by the columns' headings.
        console: Where.
    """
    table = Table(pad_edge=False, box=None)
    for heading in ("package", *columns):
        table.add_column(heading, no_wrap=True)
    for name in ("python", *REQUIRED, *OPTIONAL):
        found = [versions.get(name, "-") for versions in columns.values()]
        # Of Python, what follows the second point may differ.
        counted = [".".join(version.split(".")[:2]) for version in found] if name == "python" else found
        differs = len(set(counted) - {"-"}) > 1
        table.add_row(name, *found, style="bold red" if differs else None)
    console.print(table)
