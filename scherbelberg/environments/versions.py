# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Versions that must agree: of a client, of a lock, of every node; and the table of differences.

Pure: reading an interpreter's versions is ``interpreter``'s work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from scherbelberg.errors import VersionMismatch, pluralize

#: Must be equal everywhere: they speak to each other or unpickle each other's objects.
REQUIRED = ("dask", "distributed", "cloudpickle", "msgpack", "toolz", "tornado")
#: Must be equal where the client has them.
OPTIONAL = ("numpy", "pandas", "lz4")
#: Tell a client for science from others; their versions are not compared.
SCIENCE = ("scipy", "xarray", "zarr", "h5py", "numba", "scikit-learn")


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
class Client:
    """An interpreter with which a cluster is used.

    Args:
        versions: What it has.
        path: Its program.
        source: Who said that it is the client, for people.
        editable_packages: Compared packages that are no release: installed to be edited, or with a local version.
        is_scientific: Whether it has all of `SCIENCE`.
    """

    versions: Versions
    path: str
    source: str
    editable_packages: tuple[str, ...] = ()
    is_scientific: bool = False


#: A difference that is allowed: package, the client's version, the nodes'.
Allowed = tuple[tuple[str, str, str], ...]


def baked_digest(versions: Versions) -> str:
    """Name what an image holds that was baked with exactly these versions: hexadecimal SHA-256."""
    rows = [f"python=={versions.python_minor}"]
    rows += [f"{name}=={versions.packages[name]}" for name in REQUIRED + OPTIONAL if name in versions.packages]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@frozen(kw_only=True)
class Baked:
    """The environment that an image holds, as the image's labels tell.

    Args:
        versions: What it has.
        folder: Stands for the folder of its Python's program, on the computer where it was baked.
    """

    versions: Versions
    folder: str


#: What the labels of an image begin with that tell of the environment in it.
_BAKED = "baked/"
#: So much of a digest fits into a label beside whatever else may be there one day.
_DIGEST_LENGTH = 32


def baked_labels(baked: Baked) -> dict[str, str]:
    """Labels with which an image tells what environment it holds.

    Args:
        baked: That environment.
    """
    versions = baked.versions
    named = {"python": versions.python} | {
        name: versions.packages[name] for name in REQUIRED + OPTIONAL if name in versions.packages
    }
    rows = named | {"digest": baked_digest(versions)[:_DIGEST_LENGTH], "folder": baked.folder}
    return {f"{_BAKED}{name}": value.replace("+", "_") for name, value in rows.items()}  # labels take no plus


def baked_in(labels: Mapping[str, str]) -> Baked | None:
    """Read what environment an image holds; None if its labels do not tell, or not so that it can be relied on.

    Args:
        labels: The image's.
    """
    rows = {name.removeprefix(_BAKED): text for name, text in labels.items() if name.startswith(_BAKED)}
    packages = {name: rows[name].replace("_", "+") for name in REQUIRED + OPTIONAL if name in rows}
    versions = Versions(python=rows.get("python", ""), packages=packages)
    if rows.get("digest") != baked_digest(versions)[:_DIGEST_LENGTH]:
        return None
    return Baked(versions=versions, folder=rows.get("folder", ""))


def versions_in(row: Mapping[str, Any] | None) -> Versions:
    """Read what Dask says of the versions of one of its servers, which may be nothing."""
    if row is None:
        return Versions(python="-", packages={})
    packages = {name: version for name, version in row["packages"].items() if version and name != "python"}
    return Versions(python=".".join(str(part) for part in row["host"]["python"].split(".")[:3]), packages=packages)


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


def compare(ours: Versions, theirs: Mapping[str, Versions], *, allowed: Allowed = ()) -> None:
    """Refuse versions that differ.

    Args:
        ours: The client's.
        theirs: By node.
        allowed: Differences that were shown before anything was rented.

    Raises:
        VersionMismatch: They differ; the rows say where.
    """
    if rows := tuple(row for row in differences(ours, theirs) if row[1:] not in allowed):
        node, package, here, there = rows[0]
        raise VersionMismatch(
            f"{package} is {here} on this computer and {there} on node {node}"
            f" ({pluralize(len(rows), 'difference')} in all); client and nodes must run the same versions.",
            differences=rows,
        )
