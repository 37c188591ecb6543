# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Other people's programs that commands start."""

from __future__ import annotations

import shutil

from scherbelberg.errors import ScherbelbergError


def program(name: str) -> str:
    """Find a program of OpenSSH's client.

    Args:
        name: Its name.

    Raises:
        ScherbelbergError: It is not there.
    """
    found = shutil.which(name)
    if found is None:
        raise ScherbelbergError(f"There is no program '{name}' on this computer: install OpenSSH's client.")
    return found
