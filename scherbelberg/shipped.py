# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the files that the package ships for nodes."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable


def shipped_files() -> dict[str, bytes]:
    """Read everything in ``share/`` by its path below it, with slashes."""
    return dict(_walk(files("scherbelberg") / "share", ""))


def _walk(folder: Traversable, below: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.name == "__pycache__":
            continue  # pip compiles every Python file that it installs
        path = f"{below}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{path}/")
        else:
            found.append((path, entry.read_bytes()))
    return found
