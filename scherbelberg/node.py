# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""One machine of a cluster, as programs use it: look at it, run commands, copy files, reboot it.

What is done here goes over connections of its own, so that whatever goes wrong with one leaves the tunnels alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Resource
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import BootstrapFailed, CloudError, NodeNotFound, NodeUnreachable, WaitTimeout
from scherbelberg.inventory.clusters import selector
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.log_reading import read_logs
from scherbelberg.nodes.logs import NodeLog, Source, check_sources, usual_sources
from scherbelberg.nodes.payload import command
from scherbelberg.nodes.ssh import CommandResult, Remote
from scherbelberg.settings import Settings

T = TypeVar("T")
#: Deadlines in seconds for those who set none.
RUN_S = 60.0
COPY_S = 600.0
PING_S = 10.0
#: How many lines of each log, for those who do not say.
LOG_LINES = 20
#: Is gone when the system has started again, since that empties the folder; a system that goes down may still answer.
_STILL_UP = '"$SCHERBELBERG_SYSROOT/run/scherbelberg-still-up"'


@frozen(kw_only=True)
class Node:
    """One machine of a cluster. `Cluster.nodes` and `Cluster.node` hand them out.

    Args:
        name: ``scheduler``, ``worker000``, ...
        role: ``scheduler`` or ``worker``.
        server_type: What is rented.
        public_ip: IPv4 address for SSH, or None.
        public_ipv6: IPv6 address for SSH, which is taken where this computer has no way by IPv4, or None.
        private_ip: Address in the cluster's network, or None.
        connections: The cluster's connections.
        settings: The ambient configuration.
    """

    name: str
    role: str
    server_type: str
    public_ip: str | None
    public_ipv6: str | None
    private_ip: str | None
    _connections: Connections = field(repr=False, eq=False)
    _settings: Settings = field(repr=False, eq=False)

    async def run(self, command: str, *, within_s: float = RUN_S) -> CommandResult:
        """Run a shell command as root to its end, whatever its exit code.

        Args:
            command: A shell command line; a secret in it would be seen by every process there.
            within_s: Deadline in seconds.

        Raises:
            NodeUnreachable: The node cannot be reached, or the connection was lost.
            WaitTimeout: The deadline passed. The command may go on.
        """

        async def work(remote: Remote) -> CommandResult:
            return await remote.run(command, within_s=within_s)

        return await self._visit(work)

    async def put(self, local: str | os.PathLike[str], remote: str, *, within_s: float = COPY_S) -> None:
        """Copy a file, or a folder with all that is in it, to the node; times and modes are kept, links are followed.

        Args:
            local: Where it is on this computer.
            remote: Where it shall be: its own path, or that of a folder that is there, in which it gets its own name.
                What does not begin with a slash begins in root's home.
            within_s: Deadline in seconds.

        Raises:
            TransferFailed: It cannot be read here, or not be written there.
            NodeUnreachable: The node cannot be reached, or the connection was lost.
            WaitTimeout: The deadline passed.
        """

        async def work(far: Remote) -> None:
            await far.put(Path(local), remote, within_s=within_s)

        await self._visit(work)

    async def get(self, remote: str, local: str | os.PathLike[str], *, within_s: float = COPY_S) -> None:
        """Copy a file, or a folder with all that is in it, from the node; times and modes are kept, links are followed.

        Args:
            remote: Where it is; what does not begin with a slash begins in root's home.
            local: Where it shall be: its own path, or that of a folder that is there, in which it gets its own name.
            within_s: Deadline in seconds.

        Raises:
            TransferFailed: It cannot be read there, or not be written here.
            NodeUnreachable: The node cannot be reached, or the connection was lost.
            WaitTimeout: The deadline passed.
        """

        async def work(far: Remote) -> None:
            await far.get(remote, Path(local), within_s=within_s)

        await self._visit(work)

    async def ping_ssh(self, *, within_s: float = PING_S) -> float:
        """Measure how long the node takes to answer over SSH.

        Args:
            within_s: Deadline in seconds, connecting included.

        Returns:
            Seconds for a command that does nothing, without those for connecting.

        Raises:
            NodeUnreachable: It does not answer, or with another host key than its own.
        """

        async def work(remote: Remote) -> float:
            return await remote.ping(within_s=within_s)

        return await self._visit(work)

    async def logs(self, *sources: Source, lines: int = LOG_LINES, within_s: float = RUN_S) -> tuple[NodeLog, ...]:
        """Read the last lines of the node's logs, as far as there are any.

        Args:
            sources: ``cloud-init``, ``bootstrap``, ``dask``; without any, Dask's, or all while the node is being made.
            lines: How many lines of each.
            within_s: Deadline in seconds.

        Raises:
            BadInput: There is no such source.
            NodeUnreachable: The node cannot be reached, or the connection was lost.
            WaitTimeout: The deadline passed.
            BootstrapFailed: A log cannot be read.
        """
        wanted = check_sources(sources) or usual_sources(is_made=bool(self._connections.node(self.name).script))

        async def work(remote: Remote) -> tuple[NodeLog, ...]:
            return await read_logs(remote, wanted, lines=lines, within_s=within_s)

        return await self._visit(work)

    async def reboot(self) -> None:
        """Let the node's system go down and start again, and wait until SSH answers with its key and Dask runs.

        What was in the memory of a worker is computed again, and what was in the scheduler's is lost. The cluster's
        own deadlines count. Where a machine has no init that starts services, as a sandbox's, Dask is started here.

        Raises:
            NodeUnreachable: It could not be reached to begin with, or was lost afterwards.
            WaitTimeout: It did not go down and come back.
            BootstrapFailed: Dask does not run; the error has the last lines of its log.
            CloudError: The cloud refuses.
        """
        await self._visit(self._reboot)

    async def _reboot(self, remote: Remote) -> None:
        timeouts = self._connections.manifest.spec.timeouts
        await remote.reach(within_s=timeouts.reach)
        async with open_api(self._settings.access, timeouts) as hetzner:
            self._connections.api = hetzner
            server = await self._server(hetzner)
            await self._demand(remote, f"touch {_STILL_UP}", "It cannot be told when it has rebooted")
            await self._wait_for_boot(remote, hetzner, await hetzner.reboot(server))
        for word in ("start", "ready"):
            await self._demand(remote, command(word), "Dask does not run after the reboot")

    async def _demand(self, remote: Remote, words: str, complaint: str) -> None:
        done = await remote.run(words, within_s=2 * self._connections.manifest.spec.timeouts.node_wait)
        if done.exit_code:
            raise BootstrapFailed(f"Node {self.name}: {complaint}.", node=self.name, log_tail=done.tail)

    async def _server(self, hetzner: Hetzner) -> Resource:
        identity = self._connections.manifest.identity
        wanted = {**selector(prefix=identity.prefix, uid=identity.uid), "node": self.name}
        for server in await hetzner.find("servers", wanted):
            return server
        raise NodeNotFound(f"The cloud has no server '{self.name}' of cluster '{identity.prefix}' any more.")

    async def _wait_for_boot(self, remote: Remote, hetzner: Hetzner, action: int) -> None:
        timeouts = self._connections.manifest.spec.timeouts

        async def booted() -> bool | None:
            if failed := (await hetzner.failed_actions((action,))).get(action):
                raise CloudError(f"Node {self.name} was not rebooted: {failed}.", api_code="action_failed")
            try:
                await remote.reach(within_s=PING_S)
                done = await remote.run(f"test -e {_STILL_UP}", within_s=PING_S)
            except (NodeUnreachable, WaitTimeout):
                return None  # it is down, or goes down
            return True if done.exit_code == 1 else None

        what = f"The reboot of node {self.name}"
        await until(booted, every_s=0.2, growth=1.3, longest_s=1, within_s=timeouts.reach, what=what, node=self.name)

    async def _visit(self, work: Callable[[Remote], Coroutine[Any, Any, T]]) -> T:
        async def visited() -> T:
            async with self._connections.connect(self.name) as remote:
                return await work(remote)

        return await private_loop().submit(visited()).join()
