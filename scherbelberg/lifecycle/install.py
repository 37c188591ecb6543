# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes rented servers nodes of one cluster: reached, given all they need, their host keys pinned, running Dask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Server
from scherbelberg.environments.shipped import script_digest, shipped_files, tool_version
from scherbelberg.errors import BadInput, error_context
from scherbelberg.events import Event, Phase, State, Stopwatch
from scherbelberg.lifecycle.order import Order
from scherbelberg.lifecycle.server_watch import ServerWatch
from scherbelberg.nodes.bootstrap import BootstrapCallbacks, bootstrap
from scherbelberg.nodes.connections import Connections
from scherbelberg.nodes.payload import Addresses, Release, RemoteFile, node_settings, payload, warden_file
from scherbelberg.planning.plan import NodePlan, node_platform
from scherbelberg.settings import Settings
from scherbelberg.spec.workload import WorkEnvironment
from scherbelberg.state.keys import sign_request


class Installer:
    """Makes servers nodes.

    Args:
        hetzner: The project; its clock dates certificates.
        order: The cluster.
        connections: Hold its record, and connections to nodes.
        server_watch: Knows private addresses.
        watch: Is told what happens.
        work_environment: What work finds on the nodes.
        release: What of ours they are told.
        certificates: By which they know mirrors, by path in the payload.
    """

    def __init__(
        self,
        hetzner: Hetzner,
        order: Order,
        connections: Connections,
        server_watch: ServerWatch,
        watch: Stopwatch,
        *,
        work_environment: WorkEnvironment,
        release: Release,
        certificates: Mapping[str, bytes],
    ) -> None:
        self._hetzner = hetzner
        self._order = order
        self._connections = connections
        self._server_watch = server_watch
        self._watch = watch
        self._timeouts = order.plan.spec.timeouts
        self._share = shipped_files()
        self._work_environment = work_environment
        self._release = release
        self._certificates = certificates

    async def set_up(self, node: NodePlan, server: Server) -> None:
        """Make a server a node, independent of every other but for the scheduler's address.

        Args:
            node: Which.
            server: It.

        Raises:
            NodeUnreachable: It does not answer, or not any more.
            BootstrapFailed: The script failed on it.
            WaitTimeout: It took too long.
            CloudError: It, or the scheduler, does not come up.
            ClusterBroken: Somebody has deleted it, or the scheduler.
        """
        self._tell(Phase.REACH, "start", node)
        remote = self._connections.remote(node.name)
        with error_context(Phase.REACH):
            await remote.reach(within_s=self._timeouts.reach)
        self._server_watch.note_reachable(node.name)
        self._tell(Phase.REACH, "done", node)
        with error_context(Phase.RENT):
            own = await self._server_watch.private_ip(node.name)
            scheduler = await self._server_watch.private_ip("scheduler")
        public = tuple(address for address in (server.public_ip, server.public_ipv6) if address)
        addresses = Addresses(node=own, scheduler=scheduler, public=public)
        digest = self._order.environment.digest(node_platform(node))
        facts = await bootstrap(
            remote,
            self._payload(node, addresses, digest),
            packages=self._order.packages(node_platform(node)),
            callbacks=self._callbacks(node),
            listener=self._watch,
            timeouts=self._timeouts,
            digest=digest,
        )
        record = evolve(self._connections.node(node.name), lock=facts.digest, script=facts.script, tool=facts.tool)
        self._connections.manifest = self._connections.manifest.with_node(record)

    def _payload(self, node: NodePlan, addresses: Addresses, digest: str) -> tuple[RemoteFile, ...]:
        files = payload(
            node_settings(self._order.plan, node, addresses, digest=digest, release=self._release),
            authority=self._order.credentials.authority.certificate,
            share=self._share,
            environment=self._order.lock_files(node_platform(node)) | dict(self._certificates),
            work_environment=self._work_environment,
        )
        if not (self._order.plan.spec.warden and node.role == "scheduler"):
            return files
        access = self._hetzner.access
        return (*files, warden_file(token=access.token, endpoint=access.endpoint, uid=self._order.plan.identity.uid))

    def _callbacks(self, node: NodePlan) -> BootstrapCallbacks:
        def sign(request: bytes) -> bytes:
            return sign_request(
                self._order.credentials.authority,
                request,
                node=node.name,
                role=node.role,
                uid=self._order.plan.identity.uid,
                now_s=self._hetzner.now_s,
            )

        def pin(key: str) -> None:
            self._connections.pin_host_keys(
                node.name, tuple(dict.fromkeys((*self._connections.node(node.name).host_keys, key)))
            )
            self._connections.save()  # before sshd uses it: without it nobody gets in again

        return BootstrapCallbacks(
            pin=pin, pin_only=lambda key: self._connections.pin_host_keys(node.name, (key,)), sign=sign
        )

    def _tell(self, phase: Phase, state: State, node: NodePlan) -> None:
        self._watch(Event(phase=phase, state=state, node=node.name))


def present_release(settings: Settings) -> Release:
    """What of ours, and of the environment's sources, nodes are told."""
    return Release(
        script=script_digest(shipped_files()),
        tool=tool_version(),
        channel_mirror=settings.channel_mirror,
        miniforge_mirror=settings.miniforge_mirror,
    )


def mirror_certificates(settings: Settings) -> dict[str, bytes]:
    """The authorities by which nodes know a mirror, if this computer has been given some: a company's own, mostly."""
    if settings.access.authorities is None or not (settings.channel_mirror or settings.miniforge_mirror):
        return {}
    try:
        return {"mirror-ca.pem": Path(settings.access.authorities).read_bytes()}
    except OSError as error:
        raise BadInput(f"The certificates in {settings.access.authorities} cannot be read: {error}.") from None
