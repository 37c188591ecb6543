# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask's client, through the tunnel. The only module that knows distributed, and the one that hands out its Client."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from distributed import Client, Security
from distributed.client import FutureCancelledError

from scherbelberg.daskdoor import Door
from scherbelberg.environment import Versions, compare
from scherbelberg.errors import NodeUnreachable, VersionMismatch, WaitTimeout
from scherbelberg.waiting import until

#: How long a client tries to find its scheduler again after its connection was lost, in seconds.
RECONNECT_S = 300
_CONNECT_S = 30
_CLOSE_S = 5


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
    """Connect a client for blocking use, with a loop of its own; blocks while it connects.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
    """
    with _translated():
        return TunnelClient(door)


async def connect_async(door: Door) -> Client:
    """Connect a client for use with await, on the running loop.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
    """
    client = TunnelClient(door, asynchronous=True)
    try:
        with _translated():
            return await client
    except BaseException:
        await _close(client)
        raise


@asynccontextmanager
async def _closed_in_the_end(client: Client) -> AsyncIterator[Client]:
    """Connect a client for a while; its own context manager forgets it when connecting is interrupted."""
    try:
        yield await client
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    with suppress(TimeoutError):
        await client.close(timeout=_CLOSE_S)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn distributed's errors, which often say nothing, into ours."""
    try:
        yield
    except (OSError, TimeoutError, FutureCancelledError) as error:
        reason = str(error).strip("()'\" ") or type(error).__name__
        raise NodeUnreachable(
            f"Dask's scheduler does not answer through the tunnel as it should ({reason}); its log is on the node:"
            " 'scherbelberg ssh scheduler bash scherbelberg-payload/bootstrap.sh log'.",
            node="scheduler",
        ) from error


async def prove(door: Door, *, workers: tuple[str, ...], ours: Versions, within_s: float) -> dict[str, str]:
    """Show that a cluster computes: exactly the planned workers, the client's versions everywhere, and a sum on each.

    Args:
        door: Where the scheduler is found.
        workers: Names of the planned workers.
        ours: The client's versions.
        within_s: Deadline in seconds for the workers to be there, and again for the sums.

    Returns:
        Package to version, as on all of them.

    Raises:
        NodeUnreachable: The scheduler does not answer as it should.
        WaitTimeout: Workers are missing, or do not compute.
        VersionMismatch: Versions differ; the rows say where.
    """
    with _translated():
        async with _closed_in_the_end(TunnelClient(door, asynchronous=True, set_as_default=False)) as client:
            addresses = await _joined(client, workers, within_s)
            try:
                async with asyncio.timeout(max(within_s, _CONNECT_S)):
                    await _check_versions(client, addresses, ours)
                    await _check_sums(client, workers)
            except TimeoutError:
                last = f"missing {', '.join(workers)}"
                raise WaitTimeout(what="A sum on each worker", within_s=within_s, last=last) from None
    return {"python": ours.python_minor, **dict(ours.packages)}


async def _check_versions(client: Client, addresses: Mapping[str, str], ours: Versions) -> None:
    versions = await client.get_versions()
    theirs = {"scheduler": _versions(versions["scheduler"])}
    theirs |= {name: _versions(versions["workers"].get(address)) for name, address in addresses.items()}
    compare(ours, theirs)


async def _check_sums(client: Client, workers: tuple[str, ...]) -> None:
    futures = [client.submit(operator.add, 1, 1, workers=[name], pure=False) for name in workers]
    # Not client.gather, which leaves tasks behind that complain when this is cancelled.
    if await asyncio.gather(*(future.result() for future in futures)) != [2] * len(workers):
        raise VersionMismatch("A worker did not find that 1 + 1 is 2.", differences=())


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


def _versions(row: Mapping[str, Any] | None) -> Versions:
    if row is None:
        return Versions(python="-", packages={})
    packages = {name: version for name, version in row["packages"].items() if version and name != "python"}
    return Versions(python=".".join(row["host"]["python"].split(".")[:3]), packages=packages)
