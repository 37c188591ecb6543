# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Loads what the user's configuration wants loaded, which ours on the command line hides. Loaded by Dask itself."""

from __future__ import annotations

from typing import Any

import dask
from distributed import Nanny, Scheduler
from distributed.preloading import PreloadManager, process_preloads

_ROLES = {"scheduler": Scheduler, "nanny": Nanny}
_THEIRS: list[PreloadManager] = []


async def dask_setup(server: Any) -> None:
    """Load them, as Dask would have done.

    Args:
        server: Dask's scheduler, nanny or worker.

    Raises:
        SystemExit: One cannot be loaded, which ends Dask as it does without us.
    """
    role = next((name for name, kind in _ROLES.items() if isinstance(server, kind)), "worker")
    wanted = dask.config.get(f"distributed.{role}.preload")
    words = dask.config.get(f"distributed.{role}.preload-argv")
    try:
        theirs = process_preloads(server, wanted, words, file_dir=getattr(server, "local_directory", None))
    except Exception as error:
        raise SystemExit(f"What distributed.{role}.preload names cannot be loaded: {error!r}") from error
    _THEIRS.append(theirs)
    await theirs.start()


async def dask_teardown(server: Any) -> None:
    """Let them end.

    Args:
        server: Dask's scheduler or worker.
    """
    del server
    for theirs in _THEIRS:
        await theirs.teardown()
