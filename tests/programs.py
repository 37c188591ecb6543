# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs of the operating system that tests need and a computer may lack."""

from __future__ import annotations

import os
import shutil

import pytest

#: Where this environment variable says ``required``, whatever these tests need must be there.
SWITCH = "SCHERBELBERG_HOST_TESTS"


def miss(reason: str) -> None:
    """End a test for which this computer lacks something: skipped, or failed where that is required.

    Args:
        reason: What it lacks.
    """
    if os.environ.get(SWITCH) == "required":
        pytest.fail(f"{reason}, and {SWITCH} says that this is required")
    pytest.skip(reason)


def need(program: str, *, package: str) -> str:
    """Find a program, or end the test.

    Args:
        program: Its name.
        package: Debian's package that brings it.

    Returns:
        Its path.
    """
    found = shutil.which(program)
    if found is None:
        miss(f"no {program} on this computer (Debian's package {package} brings it)")
    return str(found)
