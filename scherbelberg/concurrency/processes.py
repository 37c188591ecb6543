# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Names processes so that they are found again, and are not confused with a later one of the same number."""

from __future__ import annotations

import psutil


def own_name() -> str:
    """This process: its number and when it began."""
    process = psutil.Process()
    return f"{process.pid} {process.create_time()}"


def is_alive(name: str) -> bool:
    """Whether the process of a name still runs.

    Args:
        name: As from `own_name`; anything else is no living process.
    """
    try:
        number, began = name.split()
        return abs(psutil.Process(int(number)).create_time() - float(began)) < 1
    except (ValueError, OverflowError, psutil.Error):
        return False
