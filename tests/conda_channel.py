# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A conda channel in a folder, made of this machine's Python and of what is installed beside it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen
from conda_archives import Member, write_package
from conda_packages import packages
from conda_python import Interpreter, ask, python_members
from rattler import Subdir
from rattler.index import index_fs

#: Where a server of channels keeps this one.
NAME = "conda-forge"
#: Distributions that the channel has, with all that they need.
ROOTS = ["dask", "distributed", "lz4", "numpy", "pip", *(["pandas"] if find_spec("pandas") else [])]
#: A channel holds packages in both formats.
_OLD_FORMAT = {"locket", "markupsafe"}


@frozen(kw_only=True)
class Package:
    """A package of the channel.

    Args:
        path: The file.
        version: Its version.
        sha256: The file's hash, hexadecimal.
        size_bytes: The file's size.
        depends: What it needs.
    """

    path: Path
    version: str
    sha256: str
    size_bytes: int
    depends: list[str]


@frozen(kw_only=True)
class Channel:
    """A channel.

    Args:
        root: The folder to serve: the channel is in its folder ``conda-forge``.
        subdir: This machine's platform, as conda calls it.
    """

    root: Path
    subdir: str

    @property
    def packages(self) -> dict[str, Package]:
        """Name to package, as its index has them now; of several with the name, the last in the index."""
        return {row["name"]: found for subdir in ("noarch", self.subdir) for row, found in self._read(subdir)}

    def _read(self, subdir: str) -> list[tuple[dict[str, str], Package]]:
        folder = self.root / NAME / subdir
        index = json.loads((folder / "repodata.json").read_text(encoding="utf-8"))
        return [
            (
                row,
                Package(
                    path=folder / file,
                    version=row["version"],
                    sha256=row["sha256"],
                    size_bytes=row["size"],
                    depends=row["depends"],
                ),
            )
            for file, row in (index["packages"] | index["packages.conda"]).items()
        ]


def make_channel(root: Path, *, executable: str = sys.executable) -> Channel:
    """Make a channel.

    Args:
        root: The folder to serve.
        executable: The interpreter that is to be in it, with the distributions that are installed there.

    Returns:
        The channel.
    """
    interpreter = ask(executable)
    channel = open_channel(root)
    add_python(channel, interpreter)
    for package in packages(interpreter, ROOTS, subdir=channel.subdir):
        suffix = ".tar.bz2" if package.index["name"] in _OLD_FORMAT else ".conda"
        write_package(root / NAME / package.index["subdir"], package.index, package.members, suffix=suffix)
    reindex(root)
    return channel


def open_channel(root: Path) -> Channel:
    """Give a channel that is there already.

    Args:
        root: Its folder.

    Returns:
        The channel.
    """
    return Channel(root=root, subdir=str(Subdir.current()))


def add_python(channel: Channel, interpreter: Interpreter) -> Path:
    """Add the package ``python`` to a channel of one's own.

    Args:
        channel: The channel.
        interpreter: What to make it of.

    Returns:
        The file.
    """
    index = {
        "name": "python",
        "version": interpreter.version,
        "build": "0_cpython",
        "subdir": channel.subdir,
        "depends": ["__glibc >=2.17"],
        "python_site_packages_path": interpreter.site_packages,
    }
    return write_package(channel.root / NAME / channel.subdir, index, python_members(interpreter))


def add_package(
    root: Path,
    *,
    name: str,
    version: str = "1.0",
    build: str = "0",
    depends: Sequence[str] = (),
    constrains: Sequence[str] = (),
    subdir: str = "noarch",
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Add a package to a channel of one's own; ``reindex`` lets others find it.

    Args:
        root: The channel's root.
        name: The package's name.
        version: Its version.
        build: Its build; ``py...`` in ``noarch`` makes it a Python package with files below ``site-packages``.
        depends: What it needs.
        constrains: What it does not go together with.
        subdir: Its platform.
        files: Path in the environment to what the file holds.

    Returns:
        The file.
    """
    index: dict[str, Any] = {"name": name, "version": version, "build": build, "subdir": subdir}
    index |= {"depends": [*depends], "constrains": [*constrains]}
    if subdir == "noarch":
        index["noarch"] = "python" if build.startswith("py") else "generic"
    members = [Member(path=path, data=data) for path, data in (files or {}).items()]
    return write_package(root / NAME / subdir, index, members)


def reindex(root: Path) -> None:
    """Write a channel's index anew; not from within an event loop."""
    (root / NAME / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(root / NAME, force=True))


def borrow(channel: Channel, root: Path) -> Channel:
    """Make a channel of one's own, which shares the packages' files with another one.

    Args:
        channel: The one to start from.
        root: The new one's folder.

    Returns:
        The new one, where packages may be added and removed, but not written to.
    """
    shutil.copytree(channel.root, root, copy_function=_link_package)
    return open_channel(root)


def _link_package(source: str, target: str) -> None:
    if source.endswith((".conda", ".tar.bz2")):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
