# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The proof that a cluster computes, by whatever interpreter its text is given to; so it knows nothing of ours.

Reads what it is asked as JSON from stdin, and answers with JSON on stdout.
"""

from __future__ import annotations

import asyncio
import json
import operator
import sys
from contextlib import suppress
from typing import Any

from distributed import Client, Security


async def prove(asked: dict[str, Any]) -> dict[str, Any]:
    """Look at a cluster and compute on it.

    Args:
        asked: ``address`` of the scheduler, paths of ``authority``, ``certificate`` and ``key``, the number of
            ``workers``, and ``within_s``, a deadline in seconds.

    Returns:
        JSON values: by name what Dask says of the versions of ``scheduler`` and ``workers``, and a sum by worker.
    """
    security = Security(
        require_encryption=True,
        tls_ca_file=asked["authority"],
        tls_client_cert=asked["certificate"],
        tls_client_key=asked["key"],
    )
    within_s = asked["within_s"]
    async with Client(asked["address"], security=security, asynchronous=True, timeout=within_s) as client:
        with suppress(TimeoutError):  # who is missing is told by who is there
            await client.wait_for_workers(asked["workers"], timeout=within_s)
        identity = await client.scheduler.identity(n_workers=-1)
        names = {address: str(row["name"]) for address, row in identity["workers"].items()}
        versions = await client.get_versions()
        sums = {name: client.submit(operator.add, 1, 1, workers=[name], pure=False) for name in names.values()}
        return {
            "scheduler": versions["scheduler"],
            "workers": {name: versions["workers"][address] for address, name in names.items()},
            "sums": {name: await future.result() for name, future in sums.items()},
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(prove(json.load(sys.stdin))), default=str))  # noqa: T201 - this is how it answers
