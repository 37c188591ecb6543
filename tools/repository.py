# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clone that tools work in: where things are, and how they are written."""

from __future__ import annotations

import re
from pathlib import Path

from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import shipped_locks
from scherbelberg.errors import BadInput

ROOT = Path(__file__).parents[1]
#: The first lines of a file that is written.
LICENCE = """# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""


def share_in(root: Path) -> Path:
    """Where the files are that are shipped, of the clone and not of an installation.

    Args:
        root: The clone.
    """
    return root / "scherbelberg" / "share"


def locks_in(root: Path) -> dict[str, EnvLock]:
    """Read all locks that are shipped, by name.

    Args:
        root: The clone.

    Raises:
        BadInput: One is damaged.
    """
    return shipped_locks(share_in(root))


def read(path: Path) -> str:
    """Read a file.

    Args:
        path: The file.
    """
    return path.read_text(encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Write a file, with Unix line ends on every computer.

    Args:
        path: The file.
        text: All of it.
    """
    path.write_text(text, encoding="utf-8", newline="\n")


def replace_part(text: str, pattern: str, part: str, *, source: str) -> str:
    """Replace the one part of a text that matches.

    Args:
        text: The text.
        pattern: A regular expression, whose ``^`` and ``$`` are those of lines.
        part: What stands there afterwards.
        source: Where the text is from.

    Raises:
        BadInput: There is no such part, or more than one.
    """
    changed, count = re.subn(pattern, lambda match: part, text, flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        raise BadInput(f"{source} has {count} parts that match {pattern}, and should have one.")
    return changed
