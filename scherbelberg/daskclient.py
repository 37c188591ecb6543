# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's client, through the tunnel. The only module that knows distributed, and the one that hands out its Client."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from distributed import Client, Security

from scherbelberg.daskdoor import Door
from scherbelberg.environment import Versions, differences
from scherbelberg.errors import VersionMismatch
from scherbelberg.waiting import until

#: How long a client tries to find its scheduler again after its connection was lost, in seconds.
RECONNECT_S = 300
_CONNECT_S = 30


class TunnelClient(Client):  # type: ignore[misc] # distributed is typed in part only
    """A client behind a tunnel: its dashboard is the tunnel's, and it is patient when the tunnel is opened again.

    Args:
        door: Where the scheduler is found.
        asynchronous: Whether it is used with await, on the loop it is made on.
        set_as_default: Whether Dask collections use it unasked.
    """

    def __init__(self, door: Door, *, asynchronous: bool = False, set_as_default: bool = True) -> None:
        self._door = door
        super().__init__(
            door.address,
            security=Security(
                require_encryption=True,
                tls_ca_file=str(door.authority),
                tls_client_cert=str(door.certificate),
                tls_client_key=str(door.key),
            ),
            timeout=_CONNECT_S,
            asynchronous=asynchronous,
            set_as_default=set_as_default,
            direct_to_workers=False,
        )

    @property
    def dashboard_link(self) -> str:
        """The dashboard's URL on this computer."""
        return self._door.dashboard_link

    async def _reconnect(self) -> None:
        self._timeout: float = RECONNECT_S
        try:
            await super()._reconnect()
        finally:
            self._timeout = _CONNECT_S


def connect(door: Door) -> Client:
    """Connect a client for blocking use, with a loop of its own; blocks while it connects."""
    return TunnelClient(door)


async def connect_async(door: Door) -> Client:
    """Connect a client for use with await, on the running loop."""
    return await TunnelClient(door, asynchronous=True)


async def prove(door: Door, *, workers: tuple[str, ...], ours: Versions, within_s: float) -> dict[str, str]:
    """Show that a cluster computes: exactly the planned workers, the client's versions everywhere, and a sum on each.

    Args:
        door: Where the scheduler is found.
        workers: Names of the planned workers.
        ours: The client's versions.
        within_s: Deadline in seconds for the workers to be there.

    Returns:
        Package to version, as on all of them.

    Raises:
        WaitTimeout: Workers are missing.
        VersionMismatch: Versions differ; the rows say where.
    """
    async with TunnelClient(door, asynchronous=True, set_as_default=False) as client:
        addresses = await _joined(client, workers, within_s)
        versions = await client.get_versions()
        theirs = {"scheduler": _versions(versions["scheduler"])}
        theirs |= {name: _versions(versions["workers"][address]) for name, address in addresses.items()}
        if rows := differences(ours, theirs):
            node, package, here, there = rows[0]
            raise VersionMismatch(
                f"{package} is {here} on this computer and {there} on node {node}"
                f" ({len(rows)} differences in all); client and nodes must run the same versions.",
                differences=rows,
            )
        futures = [client.submit(operator.add, 1, 1, workers=[name], pure=False) for name in workers]
        if await client.gather(futures) != [2] * len(workers):
            raise VersionMismatch("A worker did not find that 1 + 1 is 2.", differences=())
    return {"python": ours.python_minor, **dict(ours.packages)}


async def _joined(client: Client, workers: tuple[str, ...], within_s: float) -> dict[str, str]:
    seen: Mapping[str, str] = {}

    async def all_there() -> dict[str, str] | None:
        nonlocal seen
        identity = await client.scheduler.identity(n_workers=-1)
        seen = {str(row["name"]): address for address, row in identity["workers"].items()}
        return dict(seen) if set(seen) == set(workers) else None

    return await until(
        all_there,
        every_s=0.1,
        growth=1.3,
        longest_s=2,
        within_s=within_s,
        what=f"The joining of {len(workers)} workers",
        last=lambda: (
            f"missing {', '.join(sorted(set(workers) - set(seen))) or 'none'}, unplanned"
            f" {', '.join(sorted(set(seen) - set(workers))) or 'none'}"
        ),
    )


def _versions(row: Mapping[str, Any]) -> Versions:
    packages = {name: version for name, version in row["packages"].items() if version and name != "python"}
    return Versions(python=".".join(row["host"]["python"].split(".")[:3]), packages=packages)
