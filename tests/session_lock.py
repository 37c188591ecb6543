# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets one process of a test session after the other do what must not be done twice at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

#: Until another worker of the session has done it, in seconds.
_PATIENCE_S = 120


@contextlib.contextmanager
def alone(file: Path, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Let one process in after the other; the lock of one that dies is released.

    Args:
        file: What the lock is on.
        patience_s: Until the others have done it, in seconds.
    """
    import fcntl

    with file.open("w", encoding="utf-8") as lock:
        taking = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
        taking.start()
        taking.join(patience_s)
        assert not taking.is_alive(), f"another process holds {file}"
        yield
