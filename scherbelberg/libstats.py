# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The demo's work: statistics over every file of the running Python's standard library.

Runs on nodes by value, so it uses the standard library alone.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

#: Not part of the library, or made while it is used.
_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}

_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
_FUNCTION = re.compile(rb"^[ \t]*(?:async[ \t]+)?def[ \t]", re.MULTILINE)
_CLASS = re.compile(rb"^[ \t]*class[ \t]", re.MULTILINE)


class Statistics(NamedTuple):
    """What was counted.

    Args:
        files: Number of files.
        bytes: Their size.
        modules: Number of files that are Python source.
        lines: Lines in these.
        words: Words and names in these.
        functions: Functions and methods that begin in these.
        classes: Classes that begin in these.
    """

    files: int
    bytes: int
    modules: int
    lines: int
    words: int
    functions: int
    classes: int


NOTHING = Statistics(0, 0, 0, 0, 0, 0, 0)


def library_files() -> list[str]:
    """List all files of the standard library, relative to its folder, with slashes."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not _LEFT_OUT.intersection(path.parts))


def measure(name: str) -> Statistics:
    """Count what is in one file of the library of the Python that runs this.

    Args:
        name: Relative to the library's folder.
    """
    content = (Path(sysconfig.get_path("stdlib")) / name).read_bytes()
    if not name.endswith(".py"):
        return Statistics(1, len(content), 0, 0, 0, 0, 0)
    return Statistics(
        files=1,
        bytes=len(content),
        modules=1,
        lines=content.count(b"\n"),
        words=len(_WORD.findall(content)),
        functions=len(_FUNCTION.findall(content)),
        classes=len(_CLASS.findall(content)),
    )


def add(one: Statistics, other: Statistics) -> Statistics:
    """Add field by field."""
    return Statistics(*map(sum, zip(one, other, strict=True)))


def total(parts: Iterable[Statistics]) -> Statistics:
    """Add up many."""
    whole = NOTHING
    for part in parts:
        whole = add(whole, part)
    return whole
