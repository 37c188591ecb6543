# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the servers of one cluster are, asked of the cloud as seldom as possible.

That a server runs shows by its SSH, which costs no request. Once it answers, the cloud has most likely chosen the
private addresses of all: one look at the list tells them. Without such a reason the cloud is looked at only when
nothing was heard for a while, and then it is asked, too, what became of those that make no progress.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from scherbelberg.catalog import Server
from scherbelberg.cloud import Hetzner
from scherbelberg.errors import CloudError, ScherbelbergError, WaitTimeout
from scherbelberg.holdings import selector
from scherbelberg.waiting import Deadline, heard

#: Seconds between two looks for those who wait: the first and the longest pause, and their growth.
_REST_S, _LONGEST_REST_S, _GROWTH = 0.3, 5.0, 1.5
#: Seconds without news after which the cloud is asked whether something went wrong: at first, and at most.
_PATIENCE_S, _LONGEST_PATIENCE_S = 12.0, 60.0
#: At every so many looks, those without progress are asked what their actions say.
_ASK_ACTIONS_EVERY = 8


class _Expected:
    """A node's server, as far as it is known, and its private address once it runs in its network."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.actions: tuple[int, ...] = ()
        self.deadline = Deadline(0)
        self.is_asked_for = False
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def is_missing(self) -> bool:
        """Whether it is rented and its address not known."""
        return self.number is not None and not self.address.done()

    def fail(self, error: ScherbelbergError) -> None:
        """Tell those who wait, if any, why it does not come up."""
        self.address.set_exception(error)
        self.address.exception()  # looked at: perhaps nobody waits


class Roster:
    """The private addresses of a cluster's nodes.

    Args:
        hetzner: The project.
        uid: The cluster's.
        found: Is told of each node's server once that runs in its network.
        within_s: Seconds that each server has for this.
    """

    def __init__(self, hetzner: Hetzner, uid: str, found: Callable[[str, Server], None], *, within_s: float) -> None:
        self._hetzner = hetzner
        self._uid = uid
        self._found = found
        self._within_s = within_s
        self._expected: defaultdict[str, _Expected] = defaultdict(_Expected)
        self._begun = asyncio.Event()
        self._asked = asyncio.Event()
        self._over = asyncio.Event()

    def rented(self, node: str, number: int, actions: tuple[int, ...]) -> None:
        """Note a node's server.

        Args:
            node: The node's name.
            number: The cloud's number of the server.
            actions: Which bring it up.
        """
        one = self._expected[node]
        one.number, one.actions, one.deadline = number, actions, Deadline(self._within_s)
        self._begun.set()
        if one.is_asked_for:
            self._asked.set()

    def forget(self, node: str) -> None:
        """Wait for a node's server no longer: it is given back."""
        self._expected.pop(node, None)

    def end(self) -> None:
        """Have `watch` return."""
        for event in (self._over, self._begun, self._asked):
            event.set()

    async def private_ip(self, node: str) -> str:
        """Wait for a node's private address; ask when its server answers, not before.

        Raises:
            WaitTimeout: It does not run in its network in time.
            CloudError: An action that brings it up has failed.
        """
        one = self._expected[node]
        if not one.address.done():
            one.is_asked_for = True
            self._asked.set()
        return await asyncio.shield(one.address)

    async def lives(self, node: str) -> None:
        """Wait for the same without asking for it; its errors are those of `private_ip`."""
        await asyncio.shield(self._expected[node].address)

    async def watch(self) -> None:
        """Look, as long as there is something to look for, until `end`."""
        while not self._over.is_set():
            await self._begun.wait()
            self._begun.clear()
            await self._look_for_missing()

    async def _look_for_missing(self) -> None:
        rest_s, patience_s, looks = 0.0, _PATIENCE_S, 0
        while left_s := self._left_s():
            if await heard(self._over, within_s=min(rest_s, left_s)):
                return
            asked = self._is_asked() or await heard(self._asked, within_s=min(patience_s, left_s))
            self._asked.clear()
            if self._over.is_set():
                return
            await self._look()
            looks += 1
            rest_s = min(max(rest_s * _GROWTH, _REST_S), _LONGEST_REST_S)
            if not asked:
                patience_s = min(patience_s * 2, _LONGEST_PATIENCE_S)
            if not asked or looks % _ASK_ACTIONS_EVERY == 0:
                await self._check_actions()

    def _left_s(self) -> float:
        """Seconds until the next server is overdue, after telling of those that are; 0 if none is missing."""
        for name, one in self._missing().items():
            if not one.deadline.left_s:
                what = f"The start of node {name} in the private network"
                one.fail(WaitTimeout(what=what, within_s=self._within_s, node=name))
        return min((one.deadline.left_s for one in self._missing().values()), default=0.0)

    def _missing(self) -> dict[str, _Expected]:
        return {name: one for name, one in self._expected.items() if one.is_missing}

    def _is_asked(self) -> bool:
        return any(one.is_asked_for for one in self._missing().values())

    async def _look(self) -> None:
        for server in await self._hetzner.find("servers", selector(uid=self._uid)):
            name = server.labels.get("node", "")
            one = self._missing().get(name)
            if one is None or one.number != server.id or not isinstance(server, Server):
                continue
            if server.status == "running" and server.private_ip is not None:
                one.address.set_result(server.private_ip)
                self._found(name, server)

    async def _check_actions(self) -> None:
        owners = {number: name for name, one in self._missing().items() for number in one.actions}
        for number, reason in (await self._hetzner.failed_actions(tuple(owners))).items():
            name = owners[number]
            one = self._missing().get(name)
            if one is not None:
                one.fail(
                    CloudError(f"The cloud could not start node {name}: {reason}.", api_code="action_failed", node=name)
                )
