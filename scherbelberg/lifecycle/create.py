# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes a cluster: from an order to a proof that it computes, or to nothing at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from attrs import evolve

from scherbelberg.cloud.hetzner import Created, Hetzner
from scherbelberg.cloud.resources import Resource, Server
from scherbelberg.concurrency.waiting import despite_standstills, finish, together
from scherbelberg.environments.versions import Client
from scherbelberg.errors import (
    BootstrapFailed,
    CloudError,
    ClusterBroken,
    LeftOver,
    NoCapacity,
    NodeUnreachable,
    QuotaReached,
    ScherbelbergError,
    StateDamaged,
    WaitTimeout,
    happening,
)
from scherbelberg.events import Event, Listener, Phase, State, Stopwatch
from scherbelberg.inventory.billing import billed
from scherbelberg.inventory.orphan_records import Remaining
from scherbelberg.lifecycle.deletion import Before, Note, undone_on_failure
from scherbelberg.lifecycle.install import Installer, mirror_certificates, present_release
from scherbelberg.lifecycle.order import Agree, Order, place, unasked
from scherbelberg.lifecycle.rent import Renting
from scherbelberg.lifecycle.server_watch import Roster
from scherbelberg.nodes.connections import Links
from scherbelberg.nodes.log_reading import add_last_words
from scherbelberg.nodes.logs import concerned
from scherbelberg.nodes.payload import Release
from scherbelberg.planning.attempts import Attempts
from scherbelberg.planning.plan import (
    ClusterPlan,
    firewall_request,
    network_labels,
    network_request,
    ssh_key_request,
)
from scherbelberg.scheduler.proof import prove
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.workload import NOTHING, Provisions
from scherbelberg.state.store import Folder

_LOG = logging.getLogger("scherbelberg")
#: How a node fails.
_NODE_ERRORS = (BootstrapFailed, NodeUnreachable, WaitTimeout)


async def make(
    hetzner: Hetzner,
    settings: Settings,
    spec: ClusterSpec,
    listener: Listener,
    *,
    client: Client,
    provisions: Provisions = NOTHING,
    keep: bool = False,
    agree: Agree = unasked,
) -> Links:
    """Make a cluster, or go on making one whose making was interrupted on this computer.

    Args:
        hetzner: The project.
        settings: The surroundings.
        spec: What the user wants.
        listener: Is told what happens.
        client: With what it will be used.
        provisions: What work finds on the nodes.
        keep: Whether an error leaves what was made as it is; an interrupt never does.
        agree: Is awaited with the plan before anything is made; what it raises is raised.

    Returns:
        Open connections to it, with its manifest.

    Raises:
        BadInput: It cannot be made; nothing was.
        ClusterExists: There is one of this name already.
        LeftOver: It could not be made, and not everything could be given back.
        ScherbelbergError: It could not be made; everything was given back.
    """
    watch = Stopwatch(listener)
    certificates = mirror_certificates(settings)
    order = await place(hetzner, settings, spec, client, watch, agree=agree)
    gone: list[Resource] = []
    rest = Remaining(hetzner, order.plan.identity.prefix, (order.folder,))
    making = _Making(
        hetzner,
        order,
        watch,
        settings=settings,
        provisions=provisions,
        release=present_release(settings),
        certificates=certificates,
        note=gone.extend,
        before=rest.record,
        keep=keep,
    )
    try:
        async with undone_on_failure(
            hetzner,
            order.plan.identity,
            listener=watch,
            timeouts=spec.timeouts,
            note=gone.extend,
            keep=keep,
            before=rest.record,
            proof=rest.require_none,
        ):
            watch(Event(phase=Phase.CREDENTIALS, state="done"))
            try:
                await making.run()
            except ScherbelbergError as error:  # an interrupt waits for nothing
                await making.collect_logs(error)
                raise
            await _billed(hetzner, settings, gone)  # of workers that were replaced
            order.folder.end_making()
    except BaseException as error:
        try:
            await finish(_ended(hetzner, settings, making, gone))
        finally:  # an interrupt may come now, too
            _leave_folder(order.folder, making.links, error, keep=keep)
        raise
    return making.links


async def _ended(hetzner: Hetzner, settings: Settings, making: _Making, gone: list[Resource]) -> None:
    """End what belongs to a create that failed; why it failed counts for more than whatever goes wrong here."""
    try:
        await making.links.close()
    except Exception as trouble:  # noqa: BLE001 - see above
        _LOG.warning("Connections of a create that failed could not be closed: %r", trouble)
    await _billed(hetzner, settings, gone)


def _leave_folder(folder: Folder, links: Links, error: BaseException, *, keep: bool) -> None:
    """Keep the folder as long as something may be left in the cloud, and delete it when that is disproved."""
    try:
        folder.end_making()
        if keep and isinstance(error, Exception):
            links.save()  # who wants to look around needs the addresses
        elif not isinstance(error, LeftOver):
            folder.drop()
    except StateDamaged as trouble:  # why the create failed counts for more
        _LOG.warning("The folder %s of a create that failed cannot be changed: %s", folder.path, trouble)


async def _billed(hetzner: Hetzner, settings: Settings, gone: list[Resource]) -> None:
    """Note once what has been given back so far."""
    now, gone[:] = tuple(gone), ()
    await billed(hetzner, settings, now)


class _Making:
    """One cluster while it is being made."""

    def __init__(
        self,
        hetzner: Hetzner,
        order: Order,
        watch: Stopwatch,
        *,
        settings: Settings,
        provisions: Provisions,
        release: Release,
        certificates: Mapping[str, bytes],
        note: Note,
        before: Before,
        keep: bool,
    ) -> None:
        self.links = Links(order.folder, order.manifest, order.credentials.ssh.private)
        self.links.api = hetzner
        self._hetzner = hetzner
        self._order = order
        self._renting = Renting(
            hetzner,
            self.links,
            # A worker that failed would be given back first: who wants to look at failures gets to see it.
            Attempts(plan=order.plan, tried=order.manifest.tried, replaces=not keep),
            credentials=order.credentials,
            held=order.held,
            listener=watch,
            note=note,
            before=before,
        )
        self._ids: dict[str, int] = {}
        self._watch = watch
        self._timeouts = order.plan.spec.timeouts
        uid, within_s = order.plan.identity.uid, self._timeouts.rent
        self._roster = Roster(hetzner, uid, self._found, within_s=within_s)
        self._provisions = provisions
        self._settings = settings
        self._installer = Installer(
            hetzner,
            order,
            self.links,
            self._roster,
            watch,
            provisions=provisions,
            release=release,
            certificates=certificates,
        )

    @property
    def _plan(self) -> ClusterPlan:
        """What is made, as far as it could be had."""
        return self._renting.attempts.plan

    async def run(self) -> None:
        """Make everything, and prove that it computes."""
        try:
            await self._make()
        except ScherbelbergError as error:
            error.tried = self._renting.attempts.tried
            raise

    async def _make(self) -> None:
        with happening(Phase.NETWORK):
            await self._renting.renew()
            shared = await self._make_shared()
        self._ids = {resource.kind: resource.id for resource in shared}
        await together(self._watch_servers(), self._make_nodes())
        await self._hetzner.set_labels(shared[0], network_labels(self._plan.identity, "ready"))
        self.links.manifest = evolve(
            self.links.manifest,
            identity=await self._renting.let_live(),
            state="ready",
            phases=self._watch.seconds,
            api_requests=self._hetzner.request_count,
        )
        self.links.save()
        self._order.folder.forget_planted()

    async def _make_shared(self) -> tuple[Resource, ...]:
        """Make network, SSH key and firewall, in this order."""
        self._tell(Phase.NETWORK, "start")
        plan = self._plan
        # The network comes first and alone: its name is unique in the project, so only one of two can get past it.
        network = await self._renting.ensure("networks", network_request(plan))
        key, firewall = await together(
            self._renting.ensure("ssh_keys", ssh_key_request(plan, self._order.credentials.ssh.public)),
            self._renting.ensure("firewalls", firewall_request(plan, self.links.manifest.ssh_port)),
        )
        self._tell(Phase.NETWORK, "done")
        return network.resource, key.resource, firewall.resource

    async def _make_nodes(self) -> None:
        """Make all nodes, prove that they compute, and have the roster end."""
        await together(*(self._make_node(node.name) for node in self._plan.nodes))
        await self._prove()
        self._roster.end()

    async def _watch_servers(self) -> None:
        with happening(Phase.RENT):
            await self._roster.watch()

    async def _make_node(self, name: str) -> None:
        """Make a node, a second time if need be, or do without it."""
        try:
            created = await self._renting.rent(name, self._ids)
        except (NoCapacity, QuotaReached) as error:
            await self._remake_node(name, error, error.said)
            return
        try:
            await self._bring_up(name, created)
        except (*_NODE_ERRORS, CloudError, ClusterBroken) as error:
            if error.node != name:  # but the scheduler's, for which all wait
                raise
            reason = await self._roster.reason(name, error)
            if reason.node != name:
                raise reason from error
            said = reason.message
            await self.collect_logs(reason)
            await self._remake_node(name, reason, said)

    async def _remake_node(self, name: str, error: ScherbelbergError, said: str) -> None:
        self._roster.forget(name)
        if await self._renting.again(name, error, said):
            await self._make_node(name)

    async def _bring_up(self, name: str, created: Created) -> None:
        """One node's whole way, independent of every other but for the scheduler's address."""
        if not isinstance(created.resource, Server):
            raise TypeError("what is made among the servers is a server")
        self._roster.rented(name, created.resource, created.actions, network=self._ids["networks"])
        record = self.links.node(name)
        self.links.manifest = self.links.manifest.with_node(
            evolve(record, public_ip=created.resource.public_ip, public_ipv6=created.resource.public_ipv6)
        )
        node = self._renting.attempts.node(name)
        server = created.resource
        set_up = despite_standstills(lambda: self._installer.set_up(node, server), *_NODE_ERRORS)
        await together(set_up, self._live(name))

    async def _live(self, name: str) -> None:
        with happening(Phase.RENT):
            await self._roster.lives(name)

    def _found(self, name: str, server: Server, private_ip: str) -> None:
        record = evolve(self.links.node(name), private_ip=private_ip)
        self.links.manifest = self.links.manifest.with_node(record)
        self._tell(Phase.RENT, "done", name, detail=f"{server.public_ip}, {private_ip}")

    async def _prove(self) -> None:
        """Prove that it computes; workers that do not join are made once more."""
        while True:
            try:
                with happening(Phase.PROOF):
                    await despite_standstills(self._prove_once, NodeUnreachable, WaitTimeout)
            except (NodeUnreachable, WaitTimeout) as error:
                await self._mend(await self._roster.reason("scheduler", error))
            else:
                return

    async def _mend(self, error: ScherbelbergError) -> None:
        """Make the workers that did not join once more; raises the error if it is about something else."""
        absent = set(error.missing) if isinstance(error, WaitTimeout) else set()
        missing = [node.name for node in self._plan.nodes if absent & set(node.workers)]
        if not missing:
            raise error
        if len(missing) == 1:
            error.node = missing[0]
        said = error.message
        self._tell(Phase.PROOF, "failed", detail=said)
        await self.collect_logs(error)
        await together(*(self._remake_node(name, error, said) for name in missing))

    async def _prove_once(self) -> None:
        self._tell(Phase.PROOF, "start")
        workers = tuple(worker for node in self._plan.nodes for worker in node.workers)
        versions = await prove(
            await self.links.door(), workers=workers, environment=self._order.environment, within_s=self._timeouts.join
        )
        self.links.manifest = evolve(self.links.manifest, versions=versions)
        there, wanted = len(self._plan.nodes) - 1, self._plan.spec.workers
        words = f", on {there} of {wanted} machines" if there < wanted else ""
        self._tell(Phase.PROOF, "done", detail=f"{len(workers)} workers compute{words}")

    async def collect_logs(self, error: ScherbelbergError) -> None:
        """Add to an error what the nodes concerned have logged, as far as that can be had quickly, and keep it."""
        names = concerned(error, tuple(node.name for node in self._plan.nodes))
        if not names or error.log_file is not None:
            return
        self._tell(Phase.LOGS, "start")
        hidden = (*self._provisions.secrets.values(), self._settings.access.token)
        kept = await add_last_words(
            error, self.links, names, hidden=hidden, home=self._settings.home, within_s=self._timeouts.logs
        )
        self._tell(Phase.LOGS, "done", detail=str(kept or "not kept"))

    def _tell(self, phase: Phase, state: State, node: str | None = None, *, detail: str = "") -> None:
        self._watch(Event(phase=phase, state=state, node=node, detail=detail))
