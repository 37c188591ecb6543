# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rents what a cluster needs: each node where there is capacity, and a worker that failed once more, somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from attrs import evolve

from scherbelberg.cloud.hetzner import Created, Hetzner
from scherbelberg.cloud.resources import Json, Kind, Resource
from scherbelberg.concurrency.waiting import Deadline, pause
from scherbelberg.errors import (
    BootstrapHopeless,
    LeftOver,
    NoCapacity,
    Outcome,
    QuotaReached,
    ScherbelbergError,
    error_context,
)
from scherbelberg.events import Event, Listener, Phase
from scherbelberg.inventory.clusters import CloudCluster, format_duration, selector
from scherbelberg.inventory.listing import list_resources
from scherbelberg.lifecycle.deletion import Before, Note, delete_servers
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.payload import user_data
from scherbelberg.planning.attempts import Attempts
from scherbelberg.planning.plan import Identity, NodePlan, server_request, time_label
from scherbelberg.state.manifest import Credentials, Manifest, new_record

#: The first pause and the longest one, in seconds, and their growth.
FIRST_S = 5.0
_LONGEST_S, _GROWTH = 120.0, 1.5


#: Orders that are under way at a time. Of a place without capacity no more than these are refused: the others go on.
_AT_ONCE = 16


class Queue:
    """The wait of a cluster's nodes for capacity; its time begins when one of them first finds none.

    Args:
        wait_s: Seconds for which they wait altogether, or None not to wait.
        first_s: The first pause in seconds.
    """

    def __init__(self, wait_s: float | None, *, first_s: float = FIRST_S) -> None:
        self._wait_s = wait_s
        self._pause_s = first_s
        self._end: Deadline | None = None
        self._next: Deadline | None = None

    async def wait(self, tell: Callable[[str], None], begin: Callable[[], None]) -> bool:
        """Wait until it is time to ask again.

        Args:
            tell: Is given words for people that say how long that is.
            begin: Is called once for all who wait, before the first of them asks again.

        Returns:
            Whether to ask again; False when the time is over.
        """
        if self._wait_s is None:
            return False
        if self._end is None:
            self._end = Deadline(self._wait_s)
        if self._next is None:
            if not self._end.left_s:
                return False
            self._next = Deadline(min(self._pause_s, self._end.left_s))
            self._pause_s = min(self._pause_s * _GROWTH, _LONGEST_S)
        mine = self._next
        pause_text, most_text = format_duration(mine.left_s + 0.5), format_duration(self._end.left_s + 0.5)
        tell(f"asking again in {pause_text}, for {most_text} at most")
        await pause(mine.left_s)
        if self._next is mine:  # the first one who wakes up speaks for all
            self._next = None
            begin()
        return True


class Rental:
    """Rents what a cluster needs, and keeps its record true.

    Args:
        hetzner: The project.
        connections: Hold the record, and connections to nodes.
        attempts: Where nodes are to be.
        credentials: The cluster's keys.
        held: What an interrupted try has made, or None.
        listener: Is told of each try.
        note: Is given what was given back of nodes that failed.
        before: Is awaited with servers of nodes that failed before they are deleted.
    """

    def __init__(
        self,
        hetzner: Hetzner,
        connections: Connections,
        attempts: Attempts,
        *,
        credentials: Credentials,
        held: CloudCluster | None,
        listener: Listener,
        note: Note,
        before: Before,
    ) -> None:
        self.attempts = attempts
        self._hetzner = hetzner
        self._connections = connections
        self._credentials = credentials
        self._held = {(one.kind, one.name): one for one in held.resources} if held else {}
        self._tell = listener
        self._note_gone = note
        self._before = before
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._queue = Queue(attempts.plan.spec.wait_s)
        self._has_scheduler = asyncio.Event()

    async def refresh_deadline(self) -> None:
        """Have all that an interrupted try has made live as long as what will be made."""
        if self._held:
            await self._set_deadline(self._held.values(), self.attempts.plan.identity.deadline_s)
            self._connections.save()

    async def restart_ttl_if_late(self) -> Identity:
        """Count the time to live from now on if the making took longer than that, as when this computer slept.

        Returns:
            Who the cluster is from now on.
        """
        identity, ttl_s = self.attempts.plan.identity, self.attempts.plan.spec.ttl_s
        # The cloud's clock is right: it has answered just now.
        if identity.deadline_s is None or ttl_s is None or self._hetzner.now_s < identity.deadline_s:
            return identity
        found = await list_resources(self._hetzner, selector(prefix=identity.prefix, uid=identity.uid))
        identity = evolve(identity, deadline_s=int(self._hetzner.now_s) + ttl_s)
        await self._set_deadline(found, identity.deadline_s)
        return identity

    async def _set_deadline(self, resources: Iterable[Resource], deadline_s: int | None) -> None:
        await self._hetzner.change_labels(resources, {"deadline": time_label(deadline_s)})

    async def create_or_reuse(self, kind: Kind, body: Json) -> Created:
        """Make a resource, unless an interrupted try has made it.

        Args:
            kind: Which.
            body: The request's body.

        Raises:
            CloudError: The API refuses.
            CloudUnreachable: It does not answer.
        """
        resource = self._held.pop((kind, body["name"]), None)
        return Created(resource=resource, actions=()) if resource else await self._hetzner.create(kind, body)

    async def rent(self, name: str, ids: Mapping[str, int]) -> Created:
        """Rent a server for a node, in the best place that has one.

        Args:
            name: The node.
            ids: The cloud's numbers of ``networks``, ``firewalls`` and ``ssh_keys``.

        Raises:
            NoCapacity: No place has one.
            QuotaReached: A limit of the account is reached.
            CloudError: The API refuses.
            CloudUnreachable: It does not answer.
        """
        spec = self.attempts.plan.spec
        if name != "scheduler" and spec.min_workers_effective < spec.workers:
            await self._has_scheduler.wait()  # where a limit leaves room for some, one of them has to be the scheduler
        with error_context(Phase.RENT, name):
            created = await self._rent_in_time(name, ids)
        if name == "scheduler":
            self._has_scheduler.set()
        return created

    async def _rent_in_time(self, name: str, ids: Mapping[str, int]) -> Created:
        """Rent a server for a node, and wait for one as long as the user wants to."""
        while True:
            try:
                async with self._gate:  # whoever waits lets others pass
                    return await self._rent(name, ids)
            except NoCapacity as error:
                if not await self._queue.wait(lambda rest: self._tell_rest(name, rest), self._ask_anew):
                    raise
                lack = error
            place = self.attempts.next_place(name)
            if place is None:
                raise lack
            self.attempts = self.attempts.with_node_at(name, place)
            self._remember(name)

    def _tell_rest(self, name: str, rest: str) -> None:
        self._tell(Event(phase=Phase.RENT, state="progress", node=name, detail=f"no capacity; {rest}"))

    def _ask_anew(self) -> None:
        self.attempts = self.attempts.with_capacity_unknown()

    async def _rent(self, name: str, ids: Mapping[str, int]) -> Created:
        planted = user_data(self._credentials.planted[name])
        while True:
            node = self.attempts.node(name)
            # What an interrupted try has rented is where it is, whatever was found since.
            if ("servers", node.server_name) not in self._held and self.attempts.is_sold_out(name):
                node = self._move_on(name)
            self._tell(Event(phase=Phase.RENT, state="start", node=name, detail=_place(node)))
            try:
                return await self.create_or_reuse("servers", server_request(self.attempts.plan, node, ids, planted))
            except NoCapacity as error:
                self._note(name, "sold_out", error.said)
            except QuotaReached as error:
                self._note(name, "quota", error.said)
                raise

    def _move_on(self, name: str) -> NodePlan:
        """Have a node where there may be capacity.

        Returns:
            Its plan from now on.

        Raises:
            NoCapacity: There is no such place.
        """
        place = self.attempts.next_place(name)
        if place is None:
            raise self.attempts.no_capacity(name)
        self.attempts = self.attempts.with_node_at(name, place)
        self._remember(name)
        return self.attempts.node(name)

    async def retry_or_drop(self, name: str, error: ScherbelbergError, said: str) -> bool:
        """Give back what there is of a node that failed or could not be had, and decide what comes next.

        Args:
            name: The node.
            error: What happened to it.
            said: The same in a few words.

        Returns:
            Whether it is to be made once more, where the plan says by now; if not, the cluster does without it.

        Raises:
            ScherbelbergError: That very error: neither can be, or would help.
        """
        if isinstance(error, (NoCapacity, QuotaReached)):
            self._drop_node(name, error)
            self._forget(name)
            return False
        self._note(name, "failed", said)
        if isinstance(error, BootstrapHopeless):
            raise error
        place = self.attempts.next_place(name)
        # Decided for all to see before anything is waited for: what one node costs, no other one can spend.
        if place is not None:
            self.attempts = self.attempts.with_node_at(name, place)
        else:
            self._drop_node(name, error)
        await self._give_back(name, error)
        if place is None:
            self._forget(name)
        else:
            self._remember(name)
        return place is not None

    def _drop_node(self, name: str, error: ScherbelbergError) -> None:
        rest = self.attempts.without_node(name)
        if rest is None:
            raise error
        self.attempts = rest

    async def _give_back(self, name: str, error: ScherbelbergError) -> None:
        await self._connections.forget(name)
        identity, timeouts = self.attempts.plan.identity, self.attempts.plan.spec.timeouts
        wanted = selector(prefix=identity.prefix, uid=identity.uid) | {"node": name}
        try:
            await delete_servers(
                self._hetzner, wanted, note=self._note_gone, within_s=timeouts.delete, before=self._before
            )
        except LeftOver as left_over:
            raise error from left_over  # all of the cluster is given back then, and whatever is left of it told

    def _remember(self, name: str) -> None:
        """Remember where a node is to be, before it is rented there."""
        record = new_record(self.attempts.node(name), self._credentials.planted[name])
        self._save(self._connections.manifest.with_node(record))

    def _forget(self, name: str) -> None:
        self._save(self._connections.manifest.without_node(name))

    def _save(self, manifest: Manifest) -> None:
        self._connections.manifest = evolve(manifest, tried=self.attempts.tried)
        self._connections.save()

    def _note(self, name: str, outcome: Outcome, said: str) -> None:
        self.attempts = self.attempts.with_failure(name, outcome, said)
        detail = f"{_place(self.attempts.node(name))}: {said}"
        self._tell(Event(phase=Phase.RENT, state="failed", node=name, detail=detail))


def _place(node: NodePlan) -> str:
    return f"{node.server_type.name} in {node.location}"
