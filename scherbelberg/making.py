# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes a cluster: from an order to a proof that it computes, or to nothing at all."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from scherbelberg.billing import billed
from scherbelberg.bootstrap import Answers, bootstrap
from scherbelberg.catalog import Json, Kind, Resource, Server
from scherbelberg.cloud import Created, Hetzner
from scherbelberg.environment import Client
from scherbelberg.errors import BadInput, LeftOver, ScherbelbergError, happening
from scherbelberg.events import Event, Listener, Phase, State, Stopwatch
from scherbelberg.keys import sign_request
from scherbelberg.lastwords import add_last_words
from scherbelberg.links import Links
from scherbelberg.logbook import concerned
from scherbelberg.ordering import Agree, Order, place, unasked
from scherbelberg.payload import Addresses, Release, RemoteFile, node_settings, payload, user_data, warden_file
from scherbelberg.pins import script_digest
from scherbelberg.plan import (
    NodePlan,
    firewall_request,
    network_labels,
    network_request,
    node_platform,
    server_request,
    ssh_key_request,
)
from scherbelberg.proving import prove
from scherbelberg.provisions import NOTHING, Provisions
from scherbelberg.roster import Roster
from scherbelberg.settings import Settings
from scherbelberg.shipped import shipped_files, tool_version
from scherbelberg.spec import ClusterSpec
from scherbelberg.teardown import undone_on_failure
from scherbelberg.waiting import finish, together


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
    certificates = _certificates(settings)
    order = await place(hetzner, settings, spec, client, watch, agree=agree)
    making = _Making(
        hetzner,
        order,
        watch,
        settings=settings,
        provisions=provisions,
        release=_release(settings),
        certificates=certificates,
    )
    gone: list[Resource] = []
    try:
        async with undone_on_failure(
            hetzner, order.plan.identity, listener=watch, timeouts=spec.timeouts, note=gone.extend, keep=keep
        ):
            watch(Event(phase=Phase.CREDENTIALS, state="done"))
            try:
                await making.run()
            except ScherbelbergError as error:  # an interrupt waits for nothing
                await making.collect_logs(error)
                raise
            order.folder.end_making()
    except BaseException as error:
        try:
            await finish(_ended(hetzner, settings, making, gone))
        finally:  # an interrupt may come now, too
            order.folder.end_making()
            if keep and isinstance(error, Exception):
                making.links.save()  # who wants to look around needs the addresses
            elif not isinstance(error, LeftOver):
                order.folder.drop()
        raise
    return making.links


async def _ended(hetzner: Hetzner, settings: Settings, making: _Making, gone: list[Resource]) -> None:
    await making.links.close()
    await billed(hetzner, settings, gone)


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
    ) -> None:
        self.links = Links(order.folder, order.manifest, order.credentials.ssh.private)
        self._hetzner = hetzner
        self._order = order
        self._plan = order.plan
        self._watch = watch
        self._timeouts = order.plan.spec.timeouts
        self._share = shipped_files()
        self._release = release
        self._provisions = provisions
        self._settings = settings
        self._certificates = certificates
        self._roster = Roster(hetzner, order.plan, self._found)

    async def run(self) -> None:
        """Make everything, and prove that it computes."""
        with happening(Phase.NETWORK):
            shared = await self._make_shared()
        ids: dict[str, int] = {resource.kind: resource.id for resource in shared}
        # Loading Dask takes seconds of this computer's time: while the cloud's machines boot, they cost nothing.
        dask = asyncio.create_task(asyncio.to_thread(importlib.import_module, "scherbelberg.daskclient"))
        await together(self._watch_servers(), *(self._make_node(node, ids) for node in self._plan.nodes))
        await dask
        with happening(Phase.PROOF):
            await self._prove()
        await self._hetzner.set_labels(shared[0], network_labels(self._plan.identity, "ready"))
        self.links.manifest = evolve(
            self.links.manifest,
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
        network = await self._ensure("networks", network_request(plan))
        key, firewall = await together(
            self._ensure("ssh_keys", ssh_key_request(plan, self._order.credentials.ssh.public)),
            self._ensure("firewalls", firewall_request(plan, self.links.manifest.ssh_port)),
        )
        self._tell(Phase.NETWORK, "done")
        return network.resource, key.resource, firewall.resource

    async def _ensure(self, kind: Kind, body: Json) -> Created:
        """Make a resource, unless an interrupted try has made it."""
        for resource in self._order.held.resources if self._order.held else ():
            if (resource.kind, resource.name) == (kind, body["name"]):
                return Created(resource=resource, actions=())
        return await self._hetzner.create(kind, body)

    async def _watch_servers(self) -> None:
        with happening(Phase.RENT):
            await self._roster.watch(within_s=self._timeouts.rent)

    async def _make_node(self, node: NodePlan, ids: dict[str, int]) -> None:
        """One node's whole way, independent of every other but for the scheduler's address."""
        self._tell(Phase.RENT, "start", node, detail=f"{node.server_type.name} in {node.location}")
        planted = self._order.credentials.planted[node.name]
        with happening(Phase.RENT, node.name):
            created = await self._ensure("servers", server_request(self._plan, node, ids, user_data(planted)))
        self._roster.rented(node.name, created.actions)
        if not isinstance(created.resource, Server):
            raise TypeError("what is made among the servers is a server")
        record = self.links.node(node.name)
        self.links.manifest = self.links.manifest.with_node(evolve(record, public_ip=created.resource.public_ip))
        self._tell(Phase.REACH, "start", node)
        remote = self.links.remote(node.name)
        with happening(Phase.REACH):
            await remote.reach(within_s=self._timeouts.reach)
        self._tell(Phase.REACH, "done", node)
        own = await self._roster.private_ip(node.name)
        scheduler = await self._roster.private_ip("scheduler")
        addresses = Addresses(node=own, scheduler=scheduler, public=created.resource.public_ip or "")
        digest = self._order.environment.digest(node_platform(node))
        facts = await bootstrap(
            remote,
            self._payload(node, addresses, digest),
            packages=self._order.packages(node_platform(node)),
            answers=self._answers(node),
            listener=self._watch,
            timeouts=self._timeouts,
            digest=digest,
        )
        record = evolve(self.links.node(node.name), lock=facts.digest, script=facts.script, tool=facts.tool)
        self.links.manifest = self.links.manifest.with_node(record)

    def _payload(self, node: NodePlan, addresses: Addresses, digest: str) -> tuple[RemoteFile, ...]:
        files = payload(
            node_settings(self._plan, node, addresses, digest=digest, release=self._release),
            authority=self._order.credentials.authority.certificate,
            share=self._share,
            environment=self._order.lock_files(node_platform(node)) | dict(self._certificates),
            provisions=self._provisions,
        )
        if not (self._plan.spec.warden and node.role == "scheduler"):
            return files
        access = self._hetzner.access
        return (*files, warden_file(token=access.token, endpoint=access.endpoint, uid=self._plan.identity.uid))

    def _answers(self, node: NodePlan) -> Answers:
        identity = self._plan.identity

        def sign(request: bytes) -> bytes:
            return sign_request(
                self._order.credentials.authority,
                request,
                node=node.name,
                role=node.role,
                uid=identity.uid,
                now_s=self._hetzner.now_s,
            )

        def pin(key: str) -> None:
            self.links.pin(node.name, _distinct(*self.links.node(node.name).host_keys, key))
            self.links.save()  # before sshd uses it: without it nobody gets in again

        return Answers(pin=pin, pin_only=lambda key: self.links.pin(node.name, (key,)), sign=sign)

    def _found(self, node: NodePlan, server: Server) -> None:
        record = evolve(self.links.node(node.name), private_ip=server.private_ip)
        self.links.manifest = self.links.manifest.with_node(record)
        self._tell(Phase.RENT, "done", node, detail=f"{server.public_ip}, {server.private_ip}")

    async def _prove(self) -> None:
        self._tell(Phase.PROOF, "start")
        workers = tuple(worker for node in self._plan.nodes for worker in node.workers)
        versions = await prove(
            await self.links.door(), workers=workers, environment=self._order.environment, within_s=self._timeouts.join
        )
        self.links.manifest = evolve(self.links.manifest, versions=versions)
        self._tell(Phase.PROOF, "done", detail=f"{len(workers)} workers compute")

    async def collect_logs(self, error: ScherbelbergError) -> None:
        """Add to an error what the nodes concerned have logged, as far as that can be had quickly, and keep it."""
        names = concerned(error, tuple(node.name for node in self._plan.nodes))
        if not names:
            return
        self._tell(Phase.LOGS, "start")
        hidden = (*self._provisions.secrets.values(), self._settings.access.token)
        kept = await add_last_words(
            error, self.links, names, hidden=hidden, home=self._settings.home, within_s=self._timeouts.logs
        )
        self._tell(Phase.LOGS, "done", detail=str(kept or "not kept"))

    def _tell(self, phase: Phase, state: State, node: NodePlan | None = None, *, detail: str = "") -> None:
        self._watch(Event(phase=phase, state=state, node=node.name if node else None, detail=detail))


def _release(settings: Settings) -> Release:
    return Release(
        script=script_digest(shipped_files()),
        tool=tool_version(),
        channel_mirror=settings.channel_mirror,
        miniforge_mirror=settings.miniforge_mirror,
    )


def _certificates(settings: Settings) -> dict[str, bytes]:
    """The authorities by which nodes know a mirror, if this computer has been given some: a company's own, mostly."""
    if settings.access.authorities is None or not (settings.channel_mirror or settings.miniforge_mirror):
        return {}
    try:
        return {"mirror-ca.pem": Path(settings.access.authorities).read_bytes()}
    except OSError as error:
        raise BadInput(f"The certificates in {settings.access.authorities} cannot be read: {error}.") from None


def _distinct(*keys: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))
