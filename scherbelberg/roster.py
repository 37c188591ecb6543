# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the servers of one cluster are, asked of the cloud as seldom as possible.

That a server runs shows by its SSH, which costs no request. Once it answers, the cloud has most likely chosen the
private addresses of all: one look at the list tells them. Without such a reason the cloud is looked at only when
nothing was heard for a while, and then it is asked, too, what became of those that make no progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scherbelberg.catalog import Server
from scherbelberg.cloud import Hetzner
from scherbelberg.errors import CloudError, WaitTimeout
from scherbelberg.holdings import selector
from scherbelberg.plan import ClusterPlan, NodePlan
from scherbelberg.waiting import Deadline, heard, pause

#: Seconds between two looks for those who wait: the first and the longest pause, and their growth.
_REST_S, _LONGEST_REST_S, _GROWTH = 0.3, 5.0, 1.5
#: Seconds without news after which the cloud is asked whether something went wrong: at first, and at most.
_PATIENCE_S, _LONGEST_PATIENCE_S = 12.0, 60.0
#: At every so many looks, those without progress are asked what their actions say.
_ASK_ACTIONS_EVERY = 8


class Roster:
    """The private addresses of a cluster's nodes.

    Args:
        hetzner: The project.
        plan: The cluster's plan.
        found: Is told of each node's server once that runs in its network.
    """

    def __init__(self, hetzner: Hetzner, plan: ClusterPlan, found: Callable[[NodePlan, Server], None]) -> None:
        loop = asyncio.get_running_loop()
        self._hetzner = hetzner
        self._plan = plan
        self._found = found
        self._addresses: dict[str, asyncio.Future[str]] = {node.name: loop.create_future() for node in plan.nodes}
        self._actions: dict[str, tuple[int, ...]] = {}
        self._waiting: set[str] = set()
        self._asked = asyncio.Event()

    def rented(self, node: str, actions: tuple[int, ...]) -> None:
        """Note which actions bring a node's server up."""
        self._actions[node] = actions

    async def private_ip(self, node: str) -> str:
        """Wait for a node's private address; ask when its server answers, not before."""
        address = self._addresses[node]
        if not address.done():
            self._waiting.add(node)
            self._asked.set()
        return await asyncio.shield(address)

    async def watch(self, *, within_s: float) -> None:
        """Look until all addresses are known.

        Args:
            within_s: Deadline in seconds.

        Raises:
            WaitTimeout: It passed.
            CloudError: An action that brings a server up has failed.
        """
        deadline = Deadline(within_s)
        rest_s, patience_s, looks = 0.0, _PATIENCE_S, 0
        while self._missing():
            if not deadline.left_s:
                raise self._timeout(within_s)
            await pause(min(rest_s, deadline.left_s))
            asked = self._wanted() or await heard(self._asked, within_s=min(patience_s, deadline.left_s))
            self._asked.clear()
            await self._look()
            looks += 1
            rest_s = min(max(rest_s * _GROWTH, _REST_S), _LONGEST_REST_S)
            if not asked:
                patience_s = min(patience_s * 2, _LONGEST_PATIENCE_S)
            if not asked or looks % _ASK_ACTIONS_EVERY == 0:
                await self._check_actions()

    def _missing(self) -> list[str]:
        return [name for name, address in self._addresses.items() if not address.done()]

    def _wanted(self) -> bool:
        return any(not self._addresses[name].done() for name in self._waiting)

    async def _look(self) -> None:
        for server in await self._hetzner.find("servers", selector(uid=self._plan.identity.uid)):
            node = self._plan.node(server.name)
            if node is None or not isinstance(server, Server) or self._addresses[node.name].done():
                continue
            if server.status == "running" and server.private_ip is not None:
                self._addresses[node.name].set_result(server.private_ip)
                self._found(node, server)

    async def _check_actions(self) -> None:
        owners = {number: name for name in self._missing() for number in self._actions.get(name, ())}
        for number, reason in (await self._hetzner.failed_actions(tuple(owners))).items():
            node = owners[number]
            raise CloudError(f"The cloud could not start node {node}: {reason}.", api_code="action_failed", node=node)

    def _timeout(self, within_s: float) -> WaitTimeout:
        missing = self._missing()
        return WaitTimeout(
            what="The start of all servers in the private network",
            within_s=within_s,
            last=f"waiting for {', '.join(missing)}",
            node=missing[0],
        )
