# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What takes time: servers that are made, booted, attached, stopped and deleted, as actions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from ipaddress import IPv4Address
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.addresses import Territory, free_private
from scherbelberg.sandbox.drivers import Driver, HostPlan
from scherbelberg.sandbox.model import Action, Network, PrivateAddress, Server, Status
from scherbelberg.sandbox.project import Project
from scherbelberg.sandbox.refusals import Refused, unsupported
from scherbelberg.waiting import pause

_log = logging.getLogger(__name__)

Step = tuple[Action, Callable[[], Awaitable[None]]]
#: Most members of a network.
MEMBERS = 100


@frozen(kw_only=True)
class Delays:
    """How long things take, in seconds at time scale 1.

    Args:
        create_s: From a request until the server exists.
        start_s: Until the server counts as running.
        boot_s: From there until SSH answers, at least.
        boot_spread_s: What the slowest host takes longer.
        attach_s: Until a running server is in its network.
        stop_s: Until a server is off.
        delete_s: Until a server is gone.
    """

    create_s: float = 2.0
    start_s: float = 1.0
    boot_s: float = 2.0
    boot_spread_s: float = 2.0
    attach_s: float = 1.0
    stop_s: float = 0.5
    delete_s: float = 1.0


class Machines:
    """Makes what the API was asked for come true.

    Args:
        project: The state.
        driver: Runs the hosts.
        territory: Where public addresses come from.
        time_scale: Factor of all delays.
        delays: The delays.
    """

    def __init__(
        self,
        project: Project,
        *,
        driver: Driver,
        territory: Territory,
        time_scale: float,
        delays: Delays = Delays(),
    ) -> None:
        self._project = project
        self._driver = driver
        self._territory = territory
        self._scale = time_scale
        self._delays = delays
        self._tasks: set[asyncio.Task[None]] = set()
        self._boots: dict[int, asyncio.Task[None]] = {}

    def create(
        self, server: Server, plan: HostPlan, *, start: bool, networks: Sequence[Network]
    ) -> tuple[Action, list[Action]]:
        """Make a server.

        Args:
            server: As the project has it.
            plan: As the driver makes it.
            start: Whether it is started then.
            networks: What it is attached to then.

        Returns:
            The action that makes it, and those that follow.
        """
        create = self._open("create_server", server)
        steps: list[Step] = [(create, lambda: self._make(server, plan))]
        if start:
            steps.append((self._open("start_server", server), lambda: self._start(server)))
        for network in networks:
            server.joining.add(network.id)
            action = self._project.open_action("attach_to_network", ("server", server), ("network", network))
            steps.append((action, self._joiner(server, network)))
        self._run(*steps)
        return create, [action for action, _ in steps[1:]]

    def attach(self, server: Server, network: Network, wanted: IPv4Address | None) -> Action:
        """Attach a server to a network.

        Args:
            server: It.
            network: The network.
            wanted: Address that it is to have, or None for any.
        """
        server.joining.add(network.id)
        action = self._project.open_action("attach_to_network", ("server", server), ("network", network))
        self._run((action, self._joiner(server, network, wanted)))
        return action

    def start(self, server: Server) -> Action:
        """Switch a server on."""
        return self._single("start_server", server, lambda: self._start(server))

    def stop(self, server: Server) -> Action:
        """Switch a server off."""
        return self._single("stop_server", server, lambda: self._stop(server))

    def shut_down(self, server: Server) -> Action:
        """Ask a server to switch itself off."""
        return self._single("shutdown_server", server, lambda: self._stop(server))

    def reboot(self, server: Server, *, command: str) -> Action:
        """Switch a server off and on.

        Args:
            server: It.
            command: ``reboot_server`` or ``reset_server``.
        """

        async def off_and_on() -> None:
            await self._stop(server)
            await self._start(server)

        return self._single(command, server, off_and_on)

    def delete(self, server: Server) -> Action:
        """Delete a server."""
        action = self._single("delete_server", server, lambda: self._delete(server))
        server.status = "deleting"
        return action

    async def close(self) -> None:
        """Drop all that is under way."""
        tasks = (*self._tasks, *self._boots.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, command: str, server: Server) -> Action:
        return self._project.open_action(command, ("server", server))

    def _single(self, command: str, server: Server, work: Callable[[], Awaitable[None]]) -> Action:
        action = self._open(command, server)
        self._run((action, work))
        return action

    def _run(self, *steps: Step) -> None:
        task = asyncio.create_task(self._take(steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, steps: Sequence[Step]) -> None:
        """Take the steps one after the other; when one fails, so do those that were to follow."""
        failed = False
        for action, work in steps:
            error = None if not failed else ("action_failed", "an earlier action failed")
            if error is None:
                error = await _attempt(action, work)
                failed = error is not None
            self._project.close_action(action, error)

    def _pause(self, seconds: float) -> Coroutine[Any, Any, None]:
        return pause(seconds * self._scale)

    async def _make(self, server: Server, plan: HostPlan) -> None:
        await self._pause(self._delays.create_s)
        await self._driver.prepare(plan)
        server.status = "off"

    async def _start(self, server: Server) -> None:
        if server.status == "running":
            return
        server.status = "starting"
        await self._pause(self._delays.start_s)
        server.status = "running"
        for number in server.firewalls:
            server.firewalls[number] = True
        self._boots[server.id] = asyncio.create_task(self._boot(server))

    async def _boot(self, server: Server) -> None:
        # Neighbours differ, and the same server differs not from run to run.
        share = server.id * 0.618 % 1
        await self._pause(self._delays.boot_s + share * self._delays.boot_spread_s)
        try:
            await self._driver.boot(server.id)
        except (OSError, ValueError):
            _log.exception("host of server %s did not boot", server.id)

    async def _stop(self, server: Server, *, meanwhile: Status = "stopping") -> None:
        server.status = meanwhile
        boot = self._boots.pop(server.id, None)
        if boot is not None:
            boot.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await boot
        await self._pause(self._delays.stop_s)
        await self._driver.halt(server.id)
        if meanwhile == "stopping":
            server.status = "off"

    def _joiner(
        self, server: Server, network: Network, wanted: IPv4Address | None = None
    ) -> Callable[[], Awaitable[None]]:
        async def join() -> None:
            await self._pause(self._delays.attach_s)
            server.joining.discard(network.id)
            server.private.append(PrivateAddress(network=network.id, ip=self._choose(server, network, wanted)))

        return join

    def _choose(self, server: Server, network: Network, wanted: IPv4Address | None) -> IPv4Address:
        used = self._project.private_addresses()
        if network.id not in self._project.networks:
            raise Refused(404, "not_found", "the network is gone")
        if len(self._project.members(network)) >= MEMBERS:
            raise Refused(403, "resource_limit_exceeded", f"a network has at most {MEMBERS} members")
        for subnet in network.subnets:
            if subnet.network_zone != server.location.network_zone:
                continue
            if wanted is None and (free := free_private(subnet.ip_range, used)):
                return free
            if wanted is not None and wanted in subnet.ip_range and wanted not in used:
                return wanted
        raise unsupported("no free address")

    async def _delete(self, server: Server) -> None:
        await self._stop(server, meanwhile="deleting")
        await self._pause(self._delays.delete_s)
        await self._driver.remove(server.id)
        if server.ip is not None:
            self._territory.give_back(server.ip)
        del self._project.servers[server.id]


async def _attempt(action: Action, work: Callable[[], Awaitable[None]]) -> tuple[str, str] | None:
    """Do an action's work.

    Returns:
        None, or code and message of its failure.
    """
    try:
        await work()
    except Refused as refused:
        return refused.code, refused.message
    except Exception as error:  # noqa: BLE001 - as at Hetzner, a failure of ours is an action that failed
        _log.exception("action %s failed", action.command)
        return "action_failed", f"{type(error).__name__}: {error}"
    return None
