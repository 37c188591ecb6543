# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes a cluster: from an order to a proof that it computes, or to nothing at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from attrs import evolve

from scherbelberg.cloud.hetzner import Created, Hetzner
from scherbelberg.cloud.resources import Resource, Server
from scherbelberg.concurrency.waiting import gather_or_cancel, retry_after_suspend, shield_to_end
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
    error_context,
)
from scherbelberg.events import Event, Listener, Phase, State, Stopwatch
from scherbelberg.inventory.billing import record_costs
from scherbelberg.inventory.orphan_records import OrphanRecorder
from scherbelberg.lifecycle.deletion import Before, Note, undo_on_failure
from scherbelberg.lifecycle.install import Installer, mirror_certificates, present_release
from scherbelberg.lifecycle.order import Agree, Order, always_agree, place_order
from scherbelberg.lifecycle.rent import Rental
from scherbelberg.lifecycle.server_watch import ServerWatch
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.log_reading import add_last_words
from scherbelberg.nodes.logs import nodes_to_ask
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
from scherbelberg.spec.workload import NOTHING, WorkEnvironment
from scherbelberg.state.store import Folder

_LOG = logging.getLogger("scherbelberg")
#: How a node fails.
_NODE_ERRORS = (BootstrapFailed, NodeUnreachable, WaitTimeout)


async def create(
    hetzner: Hetzner,
    settings: Settings,
    spec: ClusterSpec,
    listener: Listener,
    *,
    client: Client,
    work_environment: WorkEnvironment = NOTHING,
    keep: bool = False,
    agree: Agree = always_agree,
) -> Connections:
    """Make a cluster, or go on making one whose making was interrupted on this computer.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        spec: What the user wants.
        listener: Is told what happens.
        client: With what it will be used.
        work_environment: What work finds on the nodes.
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
    order = await place_order(hetzner, settings, spec, client, watch, agree=agree)
    gone: list[Resource] = []
    rest = OrphanRecorder(hetzner, order.plan.identity.prefix, (order.folder,))
    making = _Creation(
        hetzner,
        order,
        watch,
        settings=settings,
        work_environment=work_environment,
        release=present_release(settings),
        certificates=certificates,
        note=gone.extend,
        before=rest.record,
        keep=keep,
    )
    try:
        async with undo_on_failure(
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
            await _record_costs(hetzner, settings, gone)  # of workers that were replaced
            order.folder.end_making()
    except BaseException as error:
        try:
            await shield_to_end(_end_failed(hetzner, settings, making, gone))
        finally:  # an interrupt may come now, too
            _leave_folder(order.folder, making.connections, error, keep=keep)
        raise
    return making.connections


async def _end_failed(hetzner: Hetzner, settings: Settings, making: _Creation, gone: list[Resource]) -> None:
    """End what belongs to a create that failed; why it failed counts for more than whatever goes wrong here."""
    try:
        await making.connections.close()
    except Exception as trouble:  # noqa: BLE001 - see above
        _LOG.warning("Connections of a create that failed could not be closed: %r", trouble)
    await _record_costs(hetzner, settings, gone)


def _leave_folder(folder: Folder, connections: Connections, error: BaseException, *, keep: bool) -> None:
    """Keep the folder as long as something may be left in the cloud, and delete it when that is disproved."""
    try:
        folder.end_making()
        if keep and isinstance(error, Exception):
            connections.save()  # who wants to look around needs the addresses
        elif not isinstance(error, LeftOver):
            folder.drop()
    except StateDamaged as trouble:  # why the create failed counts for more
        _LOG.warning("The folder %s of a create that failed cannot be changed: %s", folder.path, trouble)


async def _record_costs(hetzner: Hetzner, settings: Settings, gone: list[Resource]) -> None:
    """Note once what has been given back so far."""
    now, gone[:] = tuple(gone), ()
    await record_costs(hetzner, settings, now)


class _Creation:
    """One cluster while it is being made."""

    def __init__(
        self,
        hetzner: Hetzner,
        order: Order,
        watch: Stopwatch,
        *,
        settings: Settings,
        work_environment: WorkEnvironment,
        release: Release,
        certificates: Mapping[str, bytes],
        note: Note,
        before: Before,
        keep: bool,
    ) -> None:
        self.connections = Connections(order.folder, order.manifest, order.credentials.ssh.private)
        self.connections.api = hetzner
        self._hetzner = hetzner
        self._order = order
        self._rental = Rental(
            hetzner,
            self.connections,
            # A worker that failed would be given back first: who wants to look at failures gets to see it.
            Attempts(plan=order.plan, tried=order.manifest.tried, may_replace=not keep),
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
        self._server_watch = ServerWatch(hetzner, uid, self._note_address, within_s=within_s)
        self._work_environment = work_environment
        self._settings = settings
        self._installer = Installer(
            hetzner,
            order,
            self.connections,
            self._server_watch,
            watch,
            work_environment=work_environment,
            release=release,
            certificates=certificates,
        )

    @property
    def _plan(self) -> ClusterPlan:
        """What is made, as far as it could be had."""
        return self._rental.attempts.plan

    async def run(self) -> None:
        """Make everything, and prove that it computes."""
        try:
            await self._make()
        except ScherbelbergError as error:
            error.tried = self._rental.attempts.tried
            raise

    async def _make(self) -> None:
        with error_context(Phase.NETWORK):
            await self._rental.refresh_deadline()
            shared = await self._make_shared()
        self._ids = {resource.kind: resource.id for resource in shared}
        await gather_or_cancel(self._watch_servers(), self._make_nodes())
        await self._hetzner.set_labels(shared[0], network_labels(self._plan.identity, "ready"))
        self.connections.manifest = evolve(
            self.connections.manifest,
            identity=await self._rental.restart_ttl_if_late(),
            state="ready",
            phases=self._watch.seconds,
            api_requests=self._hetzner.request_count,
        )
        self.connections.save()
        self._order.folder.forget_planted()

    async def _make_shared(self) -> tuple[Resource, ...]:
        """Make network, SSH key and firewall, in this order."""
        self._tell(Phase.NETWORK, "start")
        plan = self._plan
        # The network comes first and alone: its name is unique in the project, so only one of two can get past it.
        network = await self._rental.create_or_reuse("networks", network_request(plan))
        key, firewall = await gather_or_cancel(
            self._rental.create_or_reuse("ssh_keys", ssh_key_request(plan, self._order.credentials.ssh.public)),
            self._rental.create_or_reuse("firewalls", firewall_request(plan, self.connections.manifest.ssh_port)),
        )
        self._tell(Phase.NETWORK, "done")
        return network.resource, key.resource, firewall.resource

    async def _make_nodes(self) -> None:
        """Make all nodes, prove that they compute, and end the watch of servers."""
        await gather_or_cancel(*(self._make_node(node.name) for node in self._plan.nodes))
        await self._prove()
        self._server_watch.end()

    async def _watch_servers(self) -> None:
        with error_context(Phase.RENT):
            await self._server_watch.watch()

    async def _make_node(self, name: str) -> None:
        """Make a node, a second time if need be, or do without it."""
        try:
            created = await self._rental.rent(name, self._ids)
        except (NoCapacity, QuotaReached) as error:
            await self._remake_node(name, error, error.said)
            return
        try:
            await self._bring_up(name, created)
        except (*_NODE_ERRORS, CloudError, ClusterBroken) as error:
            if error.node != name:  # but the scheduler's, for which all wait
                raise
            reason = await self._server_watch.reason(name, error)
            if reason.node != name:
                raise reason from error
            said = reason.message
            await self.collect_logs(reason)
            await self._remake_node(name, reason, said)

    async def _remake_node(self, name: str, error: ScherbelbergError, said: str) -> None:
        self._server_watch.forget(name)
        if await self._rental.retry_or_drop(name, error, said):
            await self._make_node(name)

    async def _bring_up(self, name: str, created: Created) -> None:
        """One node's whole way, independent of every other but for the scheduler's address."""
        if not isinstance(created.resource, Server):
            raise TypeError("what is made among the servers is a server")
        self._server_watch.add_server(name, created.resource, created.actions, network=self._ids["networks"])
        record = self.connections.node(name)
        self.connections.manifest = self.connections.manifest.with_node(
            evolve(record, public_ip=created.resource.public_ip, public_ipv6=created.resource.public_ipv6)
        )
        node = self._rental.attempts.node(name)
        server = created.resource
        set_up = retry_after_suspend(lambda: self._installer.set_up(node, server), *_NODE_ERRORS)
        await gather_or_cancel(set_up, self._live(name))

    async def _live(self, name: str) -> None:
        with error_context(Phase.RENT):
            await self._server_watch.wait_reachable(name)

    def _note_address(self, name: str, server: Server, private_ip: str) -> None:
        record = evolve(self.connections.node(name), private_ip=private_ip)
        self.connections.manifest = self.connections.manifest.with_node(record)
        self._tell(Phase.RENT, "done", name, detail=f"{server.public_ip}, {private_ip}")

    async def _prove(self) -> None:
        """Prove that it computes; workers that do not join are made once more."""
        while True:
            try:
                with error_context(Phase.PROOF):
                    await retry_after_suspend(self._prove_once, NodeUnreachable, WaitTimeout)
            except (NodeUnreachable, WaitTimeout) as error:
                await self._mend(await self._server_watch.reason("scheduler", error))
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
        await gather_or_cancel(*(self._remake_node(name, error, said) for name in missing))

    async def _prove_once(self) -> None:
        self._tell(Phase.PROOF, "start")
        workers = tuple(worker for node in self._plan.nodes for worker in node.workers)
        versions = await prove(
            await self.connections.open_endpoint(),
            workers=workers,
            environment=self._order.environment,
            within_s=self._timeouts.join,
        )
        self.connections.manifest = evolve(self.connections.manifest, versions=versions)
        there, wanted = len(self._plan.nodes) - 1, self._plan.spec.workers
        words = f", on {there} of {wanted} machines" if there < wanted else ""
        self._tell(Phase.PROOF, "done", detail=f"{len(workers)} workers compute{words}")

    async def collect_logs(self, error: ScherbelbergError) -> None:
        """Add to an error what the nodes concerned have logged, as far as that can be had quickly, and keep it."""
        names = nodes_to_ask(error, tuple(node.name for node in self._plan.nodes))
        if not names or error.log_file is not None:
            return
        self._tell(Phase.LOGS, "start")
        hidden = (*self._work_environment.secrets.values(), self._settings.access.token)
        kept = await add_last_words(
            error, self.connections, names, hidden=hidden, home=self._settings.home, within_s=self._timeouts.logs
        )
        self._tell(Phase.LOGS, "done", detail=str(kept or "not kept"))

    def _tell(self, phase: Phase, state: State, node: str | None = None, *, detail: str = "") -> None:
        self._watch(Event(phase=phase, state=state, node=node, detail=detail))
