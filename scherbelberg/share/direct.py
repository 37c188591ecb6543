# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets Dask's scheduler listen on the node's public addresses, too, with the same certificates. Dask loads it."""

from __future__ import annotations

import logging
import os
from typing import Any

_LOG = logging.getLogger("distributed.scherbelberg")


async def dask_setup(scheduler: Any) -> None:
    """Listen at the addresses in SCHERBELBERG_DIRECT, which has hosts with commas between them, and a port.

    Without the first nothing works as it was asked for; a node may have no other.

    Args:
        scheduler: Dask's.

    Raises:
        OSError: The first cannot be used.
    """
    hosts, port = os.environ["SCHERBELBERG_DIRECT"].split()
    first, *others = hosts.split(",")
    await _listen(scheduler, first, port)
    for host in others:
        try:
            await _listen(scheduler, host, port)
        except OSError as error:
            _LOG.info("The scheduler does not listen at %s: %s", host, error)


async def _listen(scheduler: Any, host: str, port: str) -> None:
    await scheduler.listen(
        f"tls://[{host}]:{port}" if ":" in host else f"tls://{host}:{port}",
        allow_offload=False,
        # As Dask's own listener has it: the scheduler passes on what it never opens.
        handshake_overrides={"pickle-protocol": 4, "compression": None},
        **scheduler.security.get_listen_args("scheduler"),
    )
