# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Names of processes."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from scherbelberg.concurrency.processes import is_alive, own_name


def test_own_process_lives() -> None:
    """This process is found alive by its own name."""
    assert is_alive(own_name())


def test_ended_process() -> None:
    """A process that has ended is not alive, and neither is a later one with its number."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        began = psutil.Process(child.pid).create_time()
        assert is_alive(f"{child.pid} {began}")
        assert not is_alive(f"{child.pid} {began - 3600}")
    assert not is_alive(f"{child.pid} {began}")


@pytest.mark.parametrize("name", ["", "1", "x y", "-5 1.0", f"{2**70} 1.0", "1 2 3"])
def test_no_name(name: str) -> None:
    """What is no name is no living process."""
    assert not is_alive(name)
