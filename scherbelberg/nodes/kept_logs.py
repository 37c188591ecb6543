# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps on this computer what the nodes of a failed create have logged: they and their folder are gone by then."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.state.store import private_folder, write_private

_FOLDER = "failures"
#: Files that are kept; with another one, the oldest goes.
_MOST_FILES = 10
#: Of one file; with more, its beginning goes.
_MOST_BYTES = 8 * 1024 * 1024


def keep_log(home: Path, name: str, text: str) -> Path | None:
    """Write a file that only its owner can read; what is there already, of nodes that were replaced, stays before it.

    Args:
        home: Folder for what is kept on this computer.
        name: What it is called, without a suffix.
        text: What is kept.

    Returns:
        Where it is; None if it cannot be written, as on a full disk.
    """
    folder = home / _FOLDER
    try:
        private_folder(home)
        private_folder(folder)
        file = folder / f"{name}.log"
        before = file.read_bytes() + b"\n\n" if file.exists() else b""
        write_private(file, (before + text.encode())[-_MOST_BYTES:])
        kept = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-_MOST_FILES]:
            path.unlink()
    except OSError:
        return None
    return file
