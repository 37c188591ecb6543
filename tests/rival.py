# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""dask-cloudprovider's HetznerCluster, to be run in a process of its own: it changes Dask's configuration for good.

Its words are a story, the API's endpoint, a token, and a port for the scheduler. It prints what happened as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import dask
import hcloud
from dask_cloudprovider.hetzner import HetznerCluster
from distributed import Scheduler

from scherbelberg.concurrency.waiting import until

WITHIN_S = 20.0
#: What can be rented today; its own defaults cannot.
TODAY = {"server_type": "cx23", "image": "ubuntu-24.04"}


async def tell_defaults(_port: int) -> Any:
    """Ask for a cluster as the manual does, then with either of the two defaults replaced."""
    orders: tuple[dict[str, str], ...] = ({}, {"image": TODAY["image"]}, {"server_type": TODAY["server_type"]})
    return [await _refusal(order) for order in orders]


async def _refusal(order: dict[str, str]) -> list[str]:
    try:
        await HetznerCluster(asynchronous=True, **order)
    except Exception as error:  # noqa: BLE001 - which one it is is what the test asks
        cause = error.__context__
        return [type(error).__name__, str(getattr(cause, "code", None)), str(getattr(cause, "message", None))]
    return []


async def tell_cancelled(port: int) -> Any:
    """Interrupt it while it waits for the scheduler, and close it as its users do."""
    cluster = _make(port)
    starting = asyncio.ensure_future(cluster)
    await _host(cluster)
    starting.cancel()
    await asyncio.wait((starting,))
    user_data = cluster.render_process_cloud_init(cluster.scheduler)
    await cluster.close()
    return {"cancelled": starting.cancelled(), "status": cluster.status.name, **_inspect(user_data)}


async def tell_complete(port: int) -> Any:
    """Let a scheduler come up where it waits for one, look at its cluster, and close it."""
    cluster = _make(port)
    starting = asyncio.ensure_future(cluster)
    host = await _host(cluster)
    async with Scheduler(host=host, port=port, protocol="tls", security=cluster.security, dashboard=False):
        await starting
        rows = [server.name for server in cluster.scheduler.client.servers.get_all()]
        await cluster.close()
    return {"names": sorted(name.replace(cluster.uuid, "UUID") for name in rows), "status": cluster.status.name}


def _make(port: int) -> Any:
    options = {"scheduler_options": {"port": port}, "n_workers": 1, "location": "nbg1"}
    return HetznerCluster(asynchronous=True, **TODAY, **options)


async def _host(cluster: Any) -> str:
    """Wait until it waits for its scheduler, and tell where."""

    async def probe() -> str | None:
        address = getattr(cluster.scheduler, "address", None)
        return address.removeprefix("tls://").split(":")[0] if address else None

    return await until(probe, every_s=0.01, within_s=WITHIN_S, what="the server")


def _inspect(user_data: str) -> dict[str, Any]:
    found = re.search(r'DASK_INTERNAL_INHERIT_CONFIG="([^"]+)"', user_data)
    config = base64.b64decode(found[1]).decode() if found else ""
    secrets = {"token": dask.config.get("cloudprovider.hetzner.token"), "TLS key": "PRIVATE KEY"}
    return {"secrets": [name for name, word in secrets.items() if word in config], "bytes": len(user_data)}


STORIES: dict[str, Callable[[int], Any]] = {
    "defaults": tell_defaults,
    "cancelled": tell_cancelled,
    "complete": tell_complete,
}


def main(story: str, endpoint: str, token: str, port: str) -> None:
    """Tell a story."""
    # It passes the token and nothing else to the client that it finds there, so that another default has to be there.
    setattr(hcloud, "Client", functools.partial(hcloud.Client, api_endpoint=endpoint))  # noqa: B010 - mypy's sake
    with dask.config.set({"cloudprovider.hetzner.token": token}):
        print(json.dumps(asyncio.run(STORIES[story](int(port)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
