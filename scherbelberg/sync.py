# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cluster for programs without await: the same names, and calls that block until they are done."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from scherbelberg import cluster, node
from scherbelberg.cluster import UPLOAD_S, Token
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.concurrency.operations import Operation
from scherbelberg.environments.versions import Client
from scherbelberg.events import Listener, Log, ignore_events
from scherbelberg.inventory.ledger import Entry
from scherbelberg.lifecycle import share
from scherbelberg.lifecycle.order import Agree, always_agree
from scherbelberg.lifecycle.update import UNCHANGED, Unchanged
from scherbelberg.node import COPY_S, LOG_LINES, PING_S, RUN_S
from scherbelberg.nodes.logs import NodeLog, Source
from scherbelberg.nodes.ssh import CommandResult
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.settings import Settings, resolve_settings
from scherbelberg.spec.dask_config import DaskConfig
from scherbelberg.spec.legacy import old_token_variable, parse_legacy_arguments
from scherbelberg.spec.model import ClusterSpec

if TYPE_CHECKING:
    from distributed import Client as DaskClient

__all__ = ["Cluster", "Node", "Operation", "import_cluster"]

T = TypeVar("T")


@frozen(kw_only=True)
class Node:
    """One machine of a cluster; see `scherbelberg.Node`, which has the same names.

    Args:
        name: ``scheduler``, ``worker000``, ...
        role: ``scheduler`` or ``worker``.
        server_type: What is rented.
        public_ip: IPv4 address for SSH, or None.
        public_ipv6: IPv6 address for SSH, which is taken where this computer has no way by IPv4, or None.
        private_ip: Address in the cluster's network, or None.
        inner: The same for use with await.
    """

    name: str
    role: str
    server_type: str
    public_ip: str | None
    public_ipv6: str | None
    private_ip: str | None
    _inner: node.Node = field(repr=False, eq=False)

    def run(self, command: str, *, within_s: float = RUN_S) -> CommandResult:
        """Run a shell command as root to its end; see `scherbelberg.Node.run`."""
        return _wait(self._inner.run(command, within_s=within_s))

    def put(self, local: str | os.PathLike[str], remote: str, *, within_s: float = COPY_S) -> None:
        """Copy a file or a folder to the node; see `scherbelberg.Node.put`."""
        _wait(self._inner.put(local, remote, within_s=within_s))

    def get(self, remote: str, local: str | os.PathLike[str], *, within_s: float = COPY_S) -> None:
        """Copy a file or a folder from the node; see `scherbelberg.Node.get`."""
        _wait(self._inner.get(remote, local, within_s=within_s))

    def ping_ssh(self, *, within_s: float = PING_S) -> float:
        """Measure how long the node takes to answer over SSH; see `scherbelberg.Node.ping_ssh`."""
        return _wait(self._inner.ping_ssh(within_s=within_s))

    def logs(self, *sources: Source, lines: int = LOG_LINES, within_s: float = RUN_S) -> tuple[NodeLog, ...]:
        """Read the last lines of the node's logs; see `scherbelberg.Node.logs`."""
        return _wait(self._inner.logs(*sources, lines=lines, within_s=within_s))

    def reboot(self) -> None:
        """Let the node go down and start again, and wait until Dask runs; see `scherbelberg.Node.reboot`."""
        _wait(self._inner.reboot())


class Cluster:
    """A handle on a cluster that lives in the cloud. Make one with `from_new` or `from_existing`.

    Closing the handle, which the end of a ``with`` does, ends its connections; the cluster lives on.
    """

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
        return tuple(_node(one) for one in self._inner.nodes)

    def node(self, name: str) -> Node:
        """One of its machines; see `scherbelberg.Cluster.node`."""
        return _node(self._inner.node(name))

    @property
    def phases(self) -> dict[str, float]:
        """Phase of its making to the seconds that it took over all nodes."""
        return self._inner.phases

    @property
    def versions(self) -> dict[str, str]:
        """Package to version, the same on client, scheduler and workers as proven when it was made."""
        return self._inner.versions

    @property
    def direct_address(self) -> str | None:
        """Where Dask's scheduler takes TLS from the ranges in the spec's ``direct``, or None if that names none."""
        return self._inner.direct_address

    @classmethod
    def from_new(
        cls,
        spec: ClusterSpec | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        dask_config: DaskConfig | None = None,
        client: Client | str | os.PathLike[str] | None = None,
        keep: bool = False,
        agree: Agree = always_agree,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **fields: Any,
    ) -> Cluster:
        """Rent and start a new cluster; see `scherbelberg.Cluster.from_new`. An interrupt gives everything back."""
        wanted = parse_legacy_arguments(spec, fields, call="Cluster.from_new")
        making = cluster.Cluster.from_new(
            wanted.spec,
            environ=environ,
            secrets=secrets,
            dask_config=dask_config,
            client=client,
            keep=keep,
            agree=agree,
            listen=listen,
            log=log,
            # Read in the caller's thread, as it may ask a GUI.
            settings=resolve_settings(settings, token=token, endpoint=endpoint, variable=wanted.token_variable),
            **wanted.fields,
        )
        return cls(_wait(making, too_late=cluster.Cluster.destroy))

    @classmethod
    def begin_new(
        cls,
        spec: ClusterSpec | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        dask_config: DaskConfig | None = None,
        client: Client | str | os.PathLike[str] | None = None,
        keep: bool = False,
        agree: Agree = always_agree,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **fields: Any,
    ) -> Operation[Cluster]:
        """Begin what `from_new` does and return at once; the operation tells its end, and cancels it."""
        wanted = parse_legacy_arguments(spec, fields, call="Cluster.begin_new")
        making = cluster.Cluster.from_new(
            wanted.spec,
            environ=environ,
            secrets=secrets,
            dask_config=dask_config,
            client=client,
            keep=keep,
            agree=agree,
            listen=listen,
            log=log,
            settings=resolve_settings(settings, token=token, endpoint=endpoint, variable=wanted.token_variable),
            **wanted.fields,
        )
        return Operation(making, convert=cls, undo=cluster.Cluster.destroy)

    @classmethod
    def from_existing(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **old: Any,
    ) -> Cluster:
        """Attach to a cluster that was made on this computer; see `scherbelberg.Cluster.from_existing`."""
        variable = old_token_variable(old, call="Cluster.from_existing")
        ambient = resolve_settings(settings, token=token, endpoint=endpoint, variable=variable)
        return cls(_wait(cluster.Cluster.from_existing(prefix, listen=listen, log=log, settings=ambient)))

    @classmethod
    def nuke(
        cls,
        prefix: str = "cluster",
        *,
        listen: Listener = ignore_events,
        log: Log | None = None,
        token: Token | None = None,
        endpoint: str | None = None,
        settings: Settings | None = None,
        **old: Any,
    ) -> None:
        """Delete all clusters of a name, other people's included; see `scherbelberg.Cluster.nuke`."""
        variable = old_token_variable(old, call="Cluster.nuke")
        ambient = resolve_settings(settings, token=token, endpoint=endpoint, variable=variable)
        _wait(cluster.Cluster.nuke(prefix, listen=listen, log=log, settings=ambient), goes_on=True)

    def get_client(self) -> DaskClient:
        """Connect a Dask client through the tunnel; see `scherbelberg.Cluster.get_client`."""
        return _wait(self._inner.get_client())

    def door(self) -> SchedulerEndpoint:
        """Open the tunnels to scheduler and dashboard for other programs here; see `scherbelberg.Cluster.door`."""
        return _wait(self._inner.door())

    def upload(self, path: str | os.PathLike[str], *, within_s: float = UPLOAD_S) -> None:
        """Put a module or package on the scheduler and all workers; see `scherbelberg.Cluster.upload`."""
        _wait(self._inner.upload(path, within_s=within_s))

    def export(self, file: str | os.PathLike[str], *, passphrase: str) -> None:
        """Write an encrypted file for another computer; see `scherbelberg.Cluster.export`."""
        _wait(self._inner.export(file, passphrase=passphrase))

    def protect(self, *, wanted: bool = True) -> None:
        """Guard it against every deletion, or lift that; see `scherbelberg.Cluster.protect`."""
        _wait(self._inner.protect(wanted=wanted))

    def extend(
        self,
        *,
        ttl_s: int | Unchanged | None = UNCHANGED,
        idle_s: int | Unchanged | None = UNCHANGED,
        may_shorten: bool = False,
    ) -> int | None:
        """Let it live longer, or change its idle time; see `scherbelberg.Cluster.extend`."""
        return _wait(self._inner.extend(ttl_s=ttl_s, idle_s=idle_s, may_shorten=may_shorten))

    def destroy(self, *, forget: bool = False) -> Entry | None:
        """Give all of it back, and tell what it has cost; see `scherbelberg.Cluster.destroy`."""
        return _wait(self._inner.destroy(forget=forget), goes_on=True)

    def close(self) -> None:
        """End the connections of this handle; the cluster lives on."""
        _wait(self._inner.close())

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def import_cluster(file: str | os.PathLike[str], *, passphrase: str, home: str | os.PathLike[str] | None = None) -> str:
    """Take in a file that another computer has exported; see `scherbelberg.import_cluster`."""
    return _wait(share.import_cluster(file, passphrase=passphrase, home=home))


def _node(inner: node.Node) -> Node:
    return Node(
        name=inner.name,
        role=inner.role,
        server_type=inner.server_type,
        public_ip=inner.public_ip,
        public_ipv6=inner.public_ipv6,
        private_ip=inner.private_ip,
        inner=inner,
    )


def _wait(
    work: Coroutine[Any, Any, T],
    too_late: Callable[[T], Coroutine[Any, Any, object]] | None = None,
    *,
    goes_on: bool = False,
) -> T:
    """Block until a coroutine of the other face is done; it runs on the private loop, so any thread may wait."""
    return private_loop().submit(work, too_late=too_late, goes_on=goes_on).result()
