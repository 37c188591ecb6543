# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The file by which a background sandbox is found again."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import psutil
from attrs import asdict, frozen

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.system import alive, write_private
from scherbelberg.sandbox.server import SandboxSettings

_NAME = "sandbox.json"
LOG = "sandbox.log"
#: The time of a process's start is computed from the clock and may wobble when that is set.
_WOBBLE_S = 2.0


@frozen(kw_only=True)
class State:
    """A background sandbox.

    Args:
        pid: Its process.
        create_time: When that process began, as epoch seconds: another one may get the same pid later.
        settings: What clients need, or None while it starts.
    """

    pid: int
    create_time: float
    settings: SandboxSettings | None = None

    def process(self) -> psutil.Process | None:
        """Its process, or None when that has ended."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _WOBBLE_S
            if same and alive(process):
                return process
        return None


def own_state(settings: SandboxSettings | None = None) -> State:
    """The state of the present process."""
    return State(pid=os.getpid(), create_time=psutil.Process().create_time(), settings=settings)


def write_state(folder: Path, state: State) -> None:
    """Save a state.

    Args:
        folder: The sandbox's folder.
        state: It.
    """
    write_private(folder / _NAME, json.dumps(asdict(state)).encode())


def read_state(folder: Path) -> State | None:
    """Read a state.

    Args:
        folder: The sandbox's folder.

    Returns:
        It, or None where there is no sandbox.

    Raises:
        SandboxFailed: The file is damaged.
    """
    path = folder / _NAME
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        settings = SandboxSettings(**row.pop("settings")) if row["settings"] else None
        return State(**{**row, "settings": settings})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SandboxFailed(f"The sandbox's file {path} cannot be read ({error}); delete its folder.") from error


def log_tail(folder: Path, *, lines: int = 20) -> tuple[str, ...]:
    """The last lines of a sandbox's log.

    Args:
        folder: The sandbox's folder.
        lines: How many.
    """
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])
