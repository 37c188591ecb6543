# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the versions that a client's interpreter has."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from scherbelberg.environment import OPTIONAL, REQUIRED, Versions


def own_versions() -> Versions:
    """Read the compared versions of the running interpreter from its installed metadata."""
    packages: dict[str, str] = {}
    for name in REQUIRED + OPTIONAL:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Versions(python=platform.python_version(), packages=packages)
