#!/usr/bin/env python3
# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes all files of the repository that follow from others, then checks everything that is pinned against each other.

It needs no network. ``--check`` writes nothing. What only an index can tell is written by others, and is checked here:
``tools/constraints`` and ``tools/nix_pins.py``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from agreement import between_platforms, pinned_lines, with_requirements
from extras import with_extras
from nix_pins import complaints
from repository import LICENCE, ROOT, locks_in, read, replace_part, share_in, write

from scherbelberg.environments.checking import LockReport, check_lock
from scherbelberg.environments.shipped import PINS, SCRIPT_FILES, current_pins
from scherbelberg.errors import ScherbelbergError, pluralize
from scherbelberg.spec.toml import write_toml

_HEAD = """# Read in Python, bash and Nix: each value is a text on a line of its own.
# 'python tools/derive.py' brings the digests up to date.
"""


def derive(root: Path) -> dict[Path, str]:
    """Say what each derived file has to be.

    Args:
        root: The clone.

    Returns:
        Path to text.

    Raises:
        BadInput: What they follow from is damaged.
    """
    share, pyproject, verify = share_in(root), root / "pyproject.toml", root / "nix" / "verify.sh"
    scripts = textwrap.fill(
        f"SCRIPTS=({' '.join(map(shlex.quote, SCRIPT_FILES))})",
        width=120,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return {
        share / PINS: LICENCE + _HEAD + write_toml(current_pins(share).tables),
        pyproject: with_extras(read(pyproject), locks_in(root).values()),
        verify: replace_part(read(verify), r"^SCRIPTS=\(.*?\)$", scripts, source="nix/verify.sh"),
    }


def write_derived(root: Path) -> tuple[Path, ...]:
    """Write the derived files that are not as they have to be.

    Args:
        root: The clone.

    Returns:
        Those files.

    Raises:
        BadInput: What they follow from is damaged.
    """
    stale = {path: text for path, text in derive(root).items() if read(path) != text}
    for path, text in stale.items():
        write(path, text)
    return tuple(stale)


def check(root: Path) -> LockReport:
    """Check all that is pinned: locks, what is derived from them, and what has to agree with them.

    Args:
        root: The clone.

    Raises:
        BadInput: A file is damaged.
    """
    locks = locks_in(root)
    wrong = [f"{name}: {line}" for name, lock in locks.items() for line in check_lock(lock).wrong]
    between, noted = between_platforms(locks.values())
    wrong += between
    for path, text in derive(root).items():
        if read(path) != text:
            wrong.append(f"{path.relative_to(root).as_posix()} is stale: run 'python tools/derive.py' in a clone")
    constraints = pinned_lines(read(root / "constraints.txt"))
    wrong += [
        f"{line}: run 'tools/constraints' in a clone"
        for line in with_requirements(constraints, locks, source="constraints.txt")
    ]
    wrong += [
        f"nix/pins.json is stale: {line}; run 'python tools/nix_pins.py' in a clone"
        for line in complaints(json.loads(read(root / "nix" / "pins.json")), root)
    ]
    return LockReport(wrong=tuple(dict.fromkeys(wrong)), noted=noted)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Write, or check only.

    Args:
        arguments: Of the command line; this program's where none are given.
        root: The clone.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    is_check = parser.parse_args(arguments).check
    try:
        for path in () if is_check else write_derived(root):
            print(f"Wrote {path.relative_to(root).as_posix()}.")
        verdict = check(root)
    except ScherbelbergError as error:
        sys.exit(str(error))
    for line in (*verdict.noted, *verdict.wrong):
        print(line)
    if verdict.wrong:
        sys.exit(f"{pluralize(len(verdict.wrong), 'finding')} in all.")


if __name__ == "__main__":
    main()
