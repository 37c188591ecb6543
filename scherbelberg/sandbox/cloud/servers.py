# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers that are made, booted, stopped, copied, changed and deleted, as actions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address

from scherbelberg.errors import ScherbelbergError
from scherbelberg.sandbox.cloud.actions import ActionRunner, Step
from scherbelberg.sandbox.cloud.catalog import ServerType
from scherbelberg.sandbox.cloud.errors import locked
from scherbelberg.sandbox.cloud.model import Action, Image, Network, Server, Status
from scherbelberg.sandbox.cloud.networking import Networking
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.hosts.driver import Driver, HostPlan

_log = logging.getLogger(__name__)
#: What a fresh system takes of a disk, compressed, in GB.
_SNAPSHOT_GB = 0.9


class Servers:
    """Makes what the API was asked for come true.

    Args:
        runner: Takes the time that it takes.
        driver: Runs the hosts.
        networking: Connects them.
    """

    def __init__(self, runner: ActionRunner, driver: Driver, networking: Networking) -> None:
        self._runner = runner
        self._project: Project = runner.project
        self._driver = driver
        self._networking = networking
        self._boots: dict[int, asyncio.Task[None]] = {}
        self._made: set[int] = set()

    def create(
        self, server: Server, plan: HostPlan, *, start: bool, networks: Sequence[tuple[Network, IPv4Address]]
    ) -> tuple[Action, list[Action]]:
        """Make a server.

        Args:
            server: As the project has it.
            plan: As the driver makes it.
            start: Whether it is started then.
            networks: What it is attached to then, and the address that it will have there.

        Returns:
            The action that makes it, and those that follow.
        """
        create = self._open("create_server", server)
        steps: list[Step] = [(create, lambda: self._make(server, plan))]
        if start:
            steps.append((self._open("start_server", server), lambda: self._start(server)))
        steps += [self._networking.join_step(server, network, ip) for network, ip in networks]
        self._runner.begin(*steps)
        return create, [action for action, _ in steps[1:]]

    def start(self, server: Server) -> Action:
        """Switch a server on."""
        return self._single("start_server", server, lambda: self._start(server))

    def stop(self, server: Server) -> Action:
        """Switch a server off."""
        return self._single("stop_server", server, lambda: self._stop(server))

    def shut_down(self, server: Server) -> Action:
        """Ask a server to switch itself off."""
        return self._single("shutdown_server", server, lambda: self._stop(server))

    def reboot(self, server: Server) -> Action:
        """Ask a server to go off and on; one that is off hears nothing."""

        async def ask() -> None:
            if server.status == "running":
                await self._off_and_on(server)

        return self._single("reboot_server", server, ask)

    def reset(self, server: Server) -> Action:
        """Switch a server off and on."""
        return self._single("reset_server", server, lambda: self._off_and_on(server))

    def delete(self, server: Server) -> Action:
        """Delete a server, and end the actions that would never end."""
        for action in tuple(server.running):
            self._runner.abandon(action, "the server is deleted")
        before = server.status

        async def delete() -> None:
            nonlocal before
            await self._stop(server, meanwhile="deleting")
            before = "off"
            await self._delete(server)

        def keep() -> None:
            server.status = before
            self._networking.apply_selectors(server)

        action = self._open("delete_server", server)
        action.undo = keep
        self._runner.begin((action, delete))
        server.status = "deleting"
        return action

    def snapshot(self, server: Server, image: Image) -> Action:
        """Copy a server's disk.

        Args:
            server: It.
            image: As the project has it; usable once the action has ended.
        """
        image.status = "creating"
        self._project.images[image.id] = image
        action = self._project.open_action("create_image", ("server", server), ("image", image))
        action.undo = lambda: self._project.images.pop(image.id, None)

        async def copy() -> None:
            await self._runner.pause(self._runner.delays.image_s)
            try:
                await self._driver.save(server.id, image.id)
            except Exception:
                await self._driver.forget(image.id)
                raise
            image.size_gb = _SNAPSHOT_GB
            image.status = "available"

        self._runner.begin((action, copy))
        return action

    def forget_image(self, image: Image) -> None:
        """Delete a snapshot."""
        action = self._project.open_action("delete_image", ("image", image))
        del self._project.images[image.id]
        self._runner.begin((action, lambda: self._driver.forget(image.id)))

    def change_type(self, server: Server, server_type: ServerType, *, upgrade_disk: bool) -> Action:
        """Make a server that is off one of another type, and start it.

        Args:
            server: It.
            server_type: What it becomes.
            upgrade_disk: Whether its disk grows to the new type's.
        """

        async def change() -> None:
            await self._runner.pause(self._runner.delays.image_s)
            server.server_type = server_type
            if upgrade_disk:
                server.disk_gb = server_type.disk
            await self._start(server)

        return self._single("change_server_type", server, change)

    def require_free(self, server: Server) -> None:
        """Refuse what must wait until a server's actions have ended, but not for those that never will.

        Raises:
            ApiError: Some have not.
        """
        if not all(self._runner.is_stuck(action) for action in server.running):
            raise locked()

    async def close(self) -> None:
        """Drop all that is under way."""
        await self._runner.close()  # which boots servers, too
        boots = tuple(self._boots.values())
        for boot in boots:
            boot.cancel()
        await asyncio.gather(*boots, return_exceptions=True)

    def _open(self, command: str, server: Server) -> Action:
        return self._project.open_action(command, ("server", server))

    def _single(self, command: str, server: Server, work: Callable[[], Awaitable[None]]) -> Action:
        action = self._open(command, server)
        self._runner.begin((action, work))
        return action

    async def _make(self, server: Server, plan: HostPlan) -> None:
        await self._runner.pause(self._runner.delays.create_s)
        await self._driver.prepare(plan)
        self._made.add(server.id)
        server.status = "off"
        self._networking.enforce_firewalls(server)

    async def _start(self, server: Server) -> None:
        if server.status == "running":
            return
        server.status = "starting"
        await self._runner.pause(self._runner.delays.start_s)
        server.status = "running"
        addresses = self._project.address(server), self._project.address_ipv6(server)
        await self._driver.power_on(server.id, *addresses)
        if not any(fnmatchcase(server.name, pattern) for pattern in self._runner.faults().dead):
            self._boots[server.id] = asyncio.create_task(self._boot(server))

    async def _boot(self, server: Server) -> None:
        delays = self._runner.delays
        # Neighbours differ, and the same server differs not from run to run.
        share = server.id * 0.618 % 1
        await self._runner.pause(delays.boot_s + share * delays.boot_spread_s)
        try:
            await self._driver.boot(server.id)
        except (OSError, ValueError, ScherbelbergError):
            _log.exception("host of server %s did not boot", server.id)
        else:
            passed = self._project.clock.now() - server.created
            _log.info("%s answers %.3f s after its order", server.name, passed.total_seconds())

    async def _stop(self, server: Server, *, meanwhile: Status = "stopping") -> None:
        if server.status == "off" or server.id not in self._made:
            return
        server.status = meanwhile
        boot = self._boots.pop(server.id, None)
        if boot is not None:
            boot.cancel()
            await asyncio.wait((boot,))
        await self._runner.pause(self._runner.delays.stop_s)
        await self._driver.halt(server.id)
        if meanwhile == "stopping":
            server.status = "off"

    async def _off_and_on(self, server: Server) -> None:
        await self._stop(server)
        await self._start(server)

    async def _delete(self, server: Server) -> None:
        await self._runner.pause(self._runner.delays.delete_s)
        if server.id in self._made:
            await self._driver.remove(server.id)
            self._made.discard(server.id)
        self._networking.release_addresses(server)
        del self._project.servers[server.id]
