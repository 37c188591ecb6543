# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets Dask's scheduler listen on the node's public address, too, with the same certificates. Loaded by Dask itself."""

from __future__ import annotations

import os
from typing import Any


async def dask_setup(scheduler: Any) -> None:
    """Listen at the address in SCHERBELBERG_DIRECT.

    Args:
        scheduler: Dask's.
    """
    await scheduler.listen(
        os.environ["SCHERBELBERG_DIRECT"],
        allow_offload=False,
        # As Dask's own listener has it: the scheduler passes on what it never opens.
        handshake_overrides={"pickle-protocol": 4, "compression": None},
        **scheduler.security.get_listen_args("scheduler"),
    )
