# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Another interpreter: a virtual environment, empty or with all that is installed here."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

from scherbelberg.environments.versions import REQUIRED


def make_venv(folder: Path, *, has_ours: bool) -> Path:
    """Make one.

    Args:
        folder: Where.
        has_ours: Whether what is installed here is installed there, too.

    Returns:
        Its program.
    """
    venv.create(folder, symlinks=True)
    if has_ours:
        (packages_of(folder) / "ours.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder / "bin" / "python"


def packages_of(folder: Path) -> Path:
    """The folder of a virtual environment's packages."""
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def pretend(folder: Path, *, without: str | None = None, **changed: str) -> None:
    """Write metadata as if all that is required were installed in a virtual environment, with version 1.0 or others."""
    for name in (*REQUIRED, *changed):
        if name != without:
            info = packages_of(folder) / f"{name}-{changed.get(name, '1.0')}.dist-info"
            info.mkdir(exist_ok=True)
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {changed.get(name, '1.0')}\n"
            (info / "METADATA").write_text(text, encoding="utf-8")
