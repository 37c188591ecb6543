# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster for programs without await: the same names, and calls that block until they are done."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from scherbelberg import cluster
from scherbelberg.cluster import Node, Token
from scherbelberg.events import Listener, ignore
from scherbelberg.settings import Settings, read_settings
from scherbelberg.spec import ClusterSpec
from scherbelberg.threadloop import private_loop

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster", "Node"]

T = TypeVar("T")


class Cluster:
    """A handle on a cluster that lives in the cloud. Make one with `from_new` or `from_existing`."""

    def __init__(self, inner: cluster.Cluster) -> None:
        self._inner = inner
        self.prefix = inner.prefix
        self.uid = inner.uid
        self.owner = inner.owner

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its machines: the scheduler, then the workers."""
        return self._inner.nodes

    @property
    def phases(self) -> dict[str, float]:
        """Phase of its making to the seconds that it took over all nodes."""
        return self._inner.phases

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, the same on client, scheduler and workers as proven when it was made."""
        return self._inner.versions

    @classmethod
    def from_new(
        cls,
        spec: ClusterSpec | None = None,
        *,
        listen: Listener = ignore,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **fields: Any,
    ) -> Cluster:
        """Rent and start a new cluster; see `scherbelberg.Cluster.from_new`. An interrupt gives everything back."""
        around = settings or read_settings(
            token=token, endpoint=endpoint
        )  # in the caller's thread, as it may ask a GUI
        making = cluster.Cluster.from_new(spec, listen=listen, settings=around, **fields)
        return cls(_wait(making, too_late=cluster.Cluster.destroy))

    @classmethod
    def from_existing(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
    ) -> Cluster:
        """Attach to a cluster that was made on this computer; see `scherbelberg.Cluster.from_existing`."""
        around = settings or read_settings(token=token, endpoint=endpoint)
        finding = cluster.Cluster.from_existing(prefix, listen=listen, settings=around)
        return cls(_wait(finding))

    def get_client(self) -> Client:
        """Connect a Dask client through the tunnel; see `scherbelberg.Cluster.get_client`."""
        return _wait(self._inner.get_client())

    def destroy(self) -> None:
        """Give all of it back, and prove that nothing is left."""
        _wait(self._inner.destroy())

    def close(self) -> None:
        """End the connections of this handle; the cluster lives on."""
        _wait(self._inner.close())

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait(work: Coroutine[Any, Any, T], too_late: Callable[[T], Coroutine[Any, Any, None]] | None = None) -> T:
    """Block until a coroutine of the other face is done; it runs on the private loop, so any thread may wait."""
    return private_loop().submit(work, too_late=too_late).result()
