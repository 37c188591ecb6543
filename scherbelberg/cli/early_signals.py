# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals that come while the program is still being loaded: noted, until there is somebody to answer for them.

It loads nothing but what Python has loaded anyway.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

#: What a terminal or a CI system sends; SIGHUP is a terminal that was closed, SIGBREAK Windows' own.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
#: What has come, in order.
CAME: list[int] = []
_BEFORE: dict[int, Any] = {}
#: Files that installers make of our entry point; one of Windows' is a folder to Python.
_SCRIPTS = {"scherbelberg", "scherbelberg.exe", ".scherbelberg-wrapped"}


def begin() -> None:
    """Note signals from now on, if this process is our program: in another one, they are that one's business."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not is_ours(main or "") or threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        # What was to be ignored stays so, as nohup wants it.
        if number not in _BEFORE and signal.getsignal(number) != signal.SIG_IGN:
            _BEFORE[number] = signal.signal(number, _note)


def former(number: int, handler: Any) -> Any:
    """What handled a signal before, if it is this that handles it.

    Args:
        number: The signal.
        handler: What handles it.
    """
    return _BEFORE.get(number, handler) if handler is _note else handler


def _note(number: int, frame: object) -> None:
    CAME.append(number)


def is_ours(file: str) -> bool:
    """Whether what a process runs is our program.

    Args:
        file: The file of its main module.
    """
    folder, name = os.path.split(file)
    return name in _SCRIPTS or (name == "__main__.py" and os.path.split(folder)[1] in _SCRIPTS)
