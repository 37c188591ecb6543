# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The proof that a cluster computes, and its rehearsal, by whatever interpreter its text is given to.

So it knows nothing of ours.

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


class _Alone(Client):  # type: ignore[misc] # distributed is typed in part only
    """A client that is made, and connects to nobody."""

    def start(self, **_: Any) -> None:
        """Do nothing."""


async def rehearse(asked: dict[str, Any]) -> dict[str, Any]:
    """Make a client as for a proof, by all that Dask is configured with here.

    Args:
        asked: PEM texts of ``authority``, ``certificate`` and ``key``.

    Returns:
        Nothing; whatever speaks against a client is raised.
    """
    client = _Alone("tls://127.0.0.1:1", security=_security(asked), asynchronous=True, set_as_default=False)
    await client.rpc.close()
    return {}


async def prove(asked: dict[str, Any]) -> dict[str, Any]:
    """Look at a cluster and compute on it.

    Args:
        asked: ``address`` of the scheduler, paths of ``authority``, ``certificate`` and ``key``, the number of
            ``workers``, and ``within_s``, a deadline in seconds.

    Returns:
        JSON values: by name what Dask says of the versions of ``scheduler`` and ``workers``, and a sum by worker.
    """
    within_s = asked["within_s"]
    async with Client(asked["address"], security=_security(asked), asynchronous=True, timeout=within_s) as client:
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


def _security(asked: dict[str, Any]) -> Security:
    return Security(
        require_encryption=True,
        tls_ca_file=asked["authority"],
        tls_client_cert=asked["certificate"],
        tls_client_key=asked["key"],
    )


async def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    return await (prove(asked) if "address" in asked else rehearse(asked))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_answer(json.load(sys.stdin))), default=str))  # noqa: T201 - this is how it answers
