# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the servers of one cluster are, and whether they are still there, asked of the cloud as seldom as possible.

That a server runs shows by its SSH, which costs no request. Once it answers, the cloud has most likely chosen the
private addresses of all: one look at the list tells them. Without such a reason the cloud is looked at only when
nothing was heard for a while, and then it is asked, too, what became of those that make no progress; before that, now
and then, in one request. A server that is listed no more was deleted by somebody else: whoever gives one back says so
before.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Container, Mapping

from scherbelberg.cloud.hetzner import IDS_AT_ONCE, Hetzner
from scherbelberg.cloud.resources import Server
from scherbelberg.concurrency.waiting import Deadline, timeout_after, wait_event
from scherbelberg.errors import (
    CloudError,
    CloudUnreachable,
    ClusterBroken,
    NodeUnreachable,
    ScherbelbergError,
    WaitTimeout,
)
from scherbelberg.events import Phase
from scherbelberg.inventory.clusters import selector

#: Seconds between two looks for those who wait: the first and the longest pause, and their growth.
_REST_S, _LONGEST_REST_S, _GROWTH = 0.3, 5.0, 1.5
#: Seconds without news after which the cloud is asked whether something went wrong: at first, and at most.
_PATIENCE_S, _LONGEST_PATIENCE_S = 12.0, 60.0
#: Seconds without news after which one request asks whether orders have failed, the first time; then ever less often.
_SOON_S = 3.0
#: At these looks, and at every so many, those without progress are asked what their actions say.
_ASK_ACTIONS_AT, _ASK_ACTIONS_EVERY = (2, 4), 8
#: Seconds for which a list may lack a server that it never had.
_LAG_S = 5.0
#: For the cloud to say what actions have failed, in seconds: machines are looked at meanwhile in vain.
_REASON_S = 5.0
#: For a look by which somebody wants to know more of an error.
_LOOK_S = 10.0


class _Expected:
    """A node's server, as far as it is known, its address in a network, and whether it takes SSH."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.network = 0
        self.actions: tuple[int, ...] = ()
        self.deadline = Deadline(0)
        self.is_asked_for = False
        self.was_listed = False
        self.doubt: Deadline | None = None
        self.loss: ClusterBroken | None = None
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_missing(self) -> bool:
        """Whether it is rented and its address not known."""
        return self.server is not None and not self.address.done()

    @property
    def is_awaited(self) -> bool:
        """Whether it is rented and anybody may wait for it."""
        return self.is_missing or (self.server is not None and not self.answer.done())

    def is_deleted(self, *, is_listed: bool) -> bool:
        """Tell by a list whether somebody has deleted it; lists may lag behind what was just rented."""
        if is_listed:
            self.was_listed, self.doubt = True, None
            return False
        self.doubt = self.doubt or Deadline(_LAG_S)
        return self.was_listed or not self.doubt.left_s

    def fail(self, error: ScherbelbergError) -> None:
        """Tell those who wait, if any, why it does not come up."""
        for future in (self.address, self.answer):
            if not future.done():
                future.set_exception(error)
                future.exception()  # looked at: perhaps nobody waits


class ServerWatch:
    """The servers of a cluster's nodes, and their private addresses.

    Args:
        hetzner: The project.
        uid: The cluster's.
        found: Is told of each node's server once that runs in its network, and of its address there.
        within_s: Seconds that each server has for this.
    """

    def __init__(
        self, hetzner: Hetzner, uid: str, found: Callable[[str, Server, str], None], *, within_s: float
    ) -> None:
        self._hetzner = hetzner
        self._uid = uid
        self._found = found
        self._within_s = within_s
        self._expected: defaultdict[str, _Expected] = defaultdict(_Expected)
        self._begun = asyncio.Event()
        self._asked = asyncio.Event()
        self._over = asyncio.Event()
        self._soon_s = _SOON_S
        self._turn = 0

    def add_server(self, node: str, server: Server, actions: tuple[int, ...], *, network: int) -> None:
        """Note a node's server.

        Args:
            node: The node's name.
            server: As it was when it was made.
            actions: Which bring it up.
            network: The cloud's number of the cluster's network; of others that it is in, nobody asks.
        """
        one = self._expected[node]
        one.server, one.network, one.actions, one.deadline = server, network, actions, Deadline(self._within_s)
        self._begun.set()
        if one.is_asked_for:
            self._asked.set()

    def note_reachable(self, node: str) -> None:
        """Note that a node takes SSH: if it is lost from now on, that shows by its connection."""
        one = self._expected[node]
        if not one.answer.done():
            one.answer.set_result(None)

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
            ClusterBroken: Somebody has deleted it.
        """
        one = self._expected[node]
        if not one.address.done():
            one.is_asked_for = True
            self._asked.set()
        return await asyncio.shield(one.address)

    async def wait_reachable(self, node: str) -> None:
        """Wait for the same, and for the node to take SSH, without asking; its errors are those of `private_ip`."""
        one = self._expected[node]
        await asyncio.shield(one.address)
        await asyncio.shield(one.answer)

    async def reason(self, node: str, error: ScherbelbergError) -> ScherbelbergError:
        """Look once whether a node has failed since its server, or the scheduler's, is not there any more.

        Args:
            node: The node's name.
            error: How it failed.

        Returns:
            That it was deleted; otherwise the error.
        """
        if not isinstance(error, NodeUnreachable | WaitTimeout):
            return error
        try:
            async with timeout_after(_LOOK_S):
                await self._look()
        except ClusterBroken as loss:
            return loss
        except (ScherbelbergError, TimeoutError):
            return error  # who cannot ask the cloud either keeps to what is known
        return self._expected[node].loss or error

    async def watch(self) -> None:
        """Look, as long as there is something to look for, until `end`.

        Raises:
            ClusterBroken: Somebody has deleted the scheduler's server.
        """
        while not self._over.is_set():
            await self._begun.wait()
            self._begun.clear()
            await self._look_for_missing()

    async def _look_for_missing(self) -> None:
        rest_s, patience_s, looks = 0.0, _PATIENCE_S, 0
        self._soon_s = _SOON_S
        while left_s := self._left_s():
            if await wait_event(self._over, within_s=min(rest_s, left_s)):
                return
            longest_s = min(patience_s, _LAG_S) if self._is_in_doubt() else patience_s
            asked = self._is_asked() or await self._is_news(min(longest_s, left_s))
            self._asked.clear()
            if self._over.is_set() or not self._awaited():
                return
            await self._look()
            looks += 1
            rest_s = min(max(rest_s * _GROWTH, _REST_S), _LONGEST_REST_S)
            if not asked:
                patience_s = min(patience_s * 2, _LONGEST_PATIENCE_S)
            if not asked or looks in _ASK_ACTIONS_AT or looks % _ASK_ACTIONS_EVERY == 0:
                await self._check_actions(tuple(number for ids in self._missing_actions().values() for number in ids))

    async def _is_news(self, within_s: float) -> bool:
        """Wait for a while for somebody who wants a look; whether there was one.

        Meanwhile a few are asked what their actions say: nobody waits long for what has failed.
        """
        rest = Deadline(within_s)
        while rest.left_s and self._awaited():
            if await wait_event(self._asked, within_s=min(self._soon_s, rest.left_s)):
                return True
            if rest.left_s:
                self._soon_s, self._turn = 2 * self._soon_s, self._turn + 1
                await self._check_actions(next_to_ask(self._missing_actions(), self._turn))
        return False

    def _missing_actions(self) -> dict[str, tuple[int, ...]]:
        return {name: one.actions for name, one in self._missing().items()}

    def _left_s(self) -> float:
        """Seconds until the next address is overdue, after telling of those that are; 0 if nothing is awaited."""
        for name, one in self._missing().items():
            if not one.deadline.left_s:
                what = f"The start of node {name} in the private network"
                one.fail(WaitTimeout(what=what, within_s=self._within_s, node=name))
        return min((one.deadline.left_s if one.is_missing else math.inf for one in self._awaited()), default=0.0)

    def _awaited(self) -> list[_Expected]:
        return [one for one in self._expected.values() if one.is_awaited]

    def _missing(self) -> dict[str, _Expected]:
        return {name: one for name, one in self._expected.items() if one.is_missing}

    def _is_asked(self) -> bool:
        return any(one.is_asked_for for one in self._missing().values())

    def _is_in_doubt(self) -> bool:
        return any(one.doubt is not None for one in self._awaited())

    async def _look(self) -> None:
        rented = {name: one for name, one in self._expected.items() if one.server}  # before what is rented meanwhile
        rows = await self._hetzner.find("servers", selector(uid=self._uid))
        servers = {row.id: row for row in rows if isinstance(row, Server) and row.status != "deleting"}
        still = {name: one for name, one in rented.items() if self._expected.get(name) is one}
        self._note_losses(still, servers)
        for name, one in still.items():
            server = servers.get(one.server.id) if one.server and one.is_missing else None
            if server is None or server.status != "running":
                continue
            if (address := server.private_ip([one.network])) is not None:
                one.address.set_result(address)
                self._found(name, server, address)

    def _note_losses(self, rented: Mapping[str, _Expected], listed: Container[int]) -> None:
        for name, one in rented.items():
            if one.server and one.is_deleted(is_listed=one.server.id in listed):
                one.loss = _deleted_error(name, one.server)
        scheduler = rented.get("scheduler")
        if scheduler is not None and scheduler.loss is not None:
            raise scheduler.loss  # before any worker is replaced
        for one in rented.values():
            if one.loss is not None:
                one.fail(one.loss)

    async def _check_actions(self, ids: tuple[int, ...]) -> None:
        owners = {number: name for name, own in self._missing_actions().items() for number in own}
        failed: dict[int, str] = {}
        with contextlib.suppress(CloudError, CloudUnreachable, TimeoutError):  # what comes up comes without it
            async with timeout_after(_REASON_S):
                failed = await self._hetzner.failed_actions(ids)
        for number, reason in failed.items():
            name = owners.get(number, "")
            if one := self._missing().get(name):
                one.fail(
                    CloudError(f"The cloud could not start node {name}: {reason}.", api_code="action_failed", node=name)
                )


def next_to_ask(actions: Mapping[str, tuple[int, ...]], turn: int) -> tuple[int, ...]:
    """Choose the actions that one request asks for: those of the scheduler, for which all wait, and some others.

    Args:
        actions: Numbers by name of a node.
        turn: Whose turn it is; with every next one it is others'.
    """
    first = actions.get("scheduler", ())
    rest = [number for name, own in actions.items() if name != "scheduler" for number in own]
    room = IDS_AT_ONCE - len(first)
    parts = [rest[at : at + room] for at in range(0, len(rest), room)] or [[]]
    return (*first, *parts[turn % len(parts)])


def _deleted_error(node: str, server: Server) -> ClusterBroken:
    return ClusterBroken(
        f"Server {server.name} of node {node} was deleted by somebody else while the cluster was being made.",
        node=node,
        phase=Phase.RENT.value,
    )
