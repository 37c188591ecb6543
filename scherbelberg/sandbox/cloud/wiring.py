# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What servers are connected to: public addresses, networks, firewalls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address
from typing import Literal

from scherbelberg.sandbox.addresses import Territory, free_private
from scherbelberg.sandbox.cloud.catalogue import Location
from scherbelberg.sandbox.cloud.model import Action, Firewall, Network, PrimaryIp, PrivateAddress, Server
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.cloud.work import Step, Work
from scherbelberg.sandbox.refusals import Refused, over_limit, unsupported

#: Most members of a network.
MEMBERS = 100
#: Tells by a server's labels whether a firewall applies to it.
Selects = Callable[[Mapping[str, str]], bool]


class Wiring:
    """Connects servers.

    Args:
        work: Takes the time that it takes.
        territory: Where addresses come from.
    """

    def __init__(self, work: Work, territory: Territory) -> None:
        self._work = work
        self._project: Project = work.project
        self._territory = territory
        self._selects: dict[int, Selects] = {}

    def make_address(
        self,
        kind: Literal["ipv4", "ipv6"],
        location: Location,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        auto_delete: bool = True,
    ) -> PrimaryIp:
        """Make a primary IP.

        Args:
            kind: Which.
            location: Where it can be used.
            name: Its name; made up when not given.
            labels: Its labels.
            auto_delete: Whether it goes with its server.

        Raises:
            Refused: The account may not have more.
        """
        limit = self._work.faults().primary_ips
        if limit is not None and len(self._project.primary_ips) >= limit:
            raise over_limit("primary_ip_limit", "primary_ip_limit exceeded")
        number = self._project.next_number()
        # 2001:db8::/32 is for documentation: nothing answers there.
        network = f"2001:db8:{number >> 16 & 0xFFFF:x}:{number & 0xFFFF:x}::/64"
        primary = PrimaryIp(
            id=number,
            name=name or f"primary_ip-{number}",
            labels=dict(labels or {}),
            type=kind,
            ip=str(self._territory.take_public()) if kind == "ipv4" else network,
            location=location,
            auto_delete=auto_delete,
        )
        self._project.primary_ips[number] = primary
        return primary

    def drop_address(self, primary: PrimaryIp) -> None:
        """Delete a primary IP."""
        del self._project.primary_ips[primary.id]
        if primary.type == "ipv4":
            self._territory.give_back(IPv4Address(primary.ip))

    def release_addresses(self, server: Server) -> None:
        """Take a server's addresses from it; those that were made with it go."""
        for number in (server.ipv4, server.ipv6):
            if number is None:
                continue
            primary = self._project.primary_ips[number]
            primary.assignee = None
            if primary.auto_delete:
                self.drop_address(primary)

    def attach(self, server: Server, network: Network, wanted: IPv4Address | None) -> Action:
        """Attach a server to a network.

        Args:
            server: It.
            network: The network.
            wanted: Address that it is to have, or None for any.
        """
        step = self.joining(server, network, wanted)
        self._work.begin(step)
        return step[0]

    def joining(self, server: Server, network: Network, wanted: IPv4Address | None = None) -> Step:
        """The step that attaches a server to a network."""
        server.joining.add(network.id)
        action = self._project.open_action("attach_to_network", ("server", server), ("network", network))

        async def join() -> None:
            await self._work.pause(self._work.delays.attach_s)
            try:
                place = PrivateAddress(network=network.id, ip=self._choose(server, network, wanted))
            finally:
                server.joining.discard(network.id)
            server.private.append(place)

        return action, join

    def _choose(self, server: Server, network: Network, wanted: IPv4Address | None) -> IPv4Address:
        if network.id not in self._project.networks:
            raise Refused(404, "not_found", "the network is gone")
        require_room(self._project, network)
        used = self._project.private_addresses()
        for subnet in network.subnets:
            if subnet.network_zone != server.location.network_zone:
                continue
            if wanted is None and (free := free_private(subnet.ip_range, used)):
                return free
            if wanted is not None and wanted in subnet.ip_range and wanted not in used:
                return wanted
        raise unsupported("no free address")

    def detach(self, server: Server, network: Network) -> Action:
        """Take a server out of a network."""
        action = self._project.open_action("detach_from_network", ("server", server), ("network", network))
        for place in server.private:
            place.status = "detaching" if place.network == network.id else place.status

        async def leave() -> None:
            await self._work.pause(self._work.delays.attach_s)
            server.private = [place for place in server.private if place.network != network.id]

        self._work.begin((action, leave))
        return action

    def dissolve(self, network: Network) -> None:
        """Take all members out of a network that is gone."""
        for server in self._project.servers.values():
            server.private = [place for place in server.private if place.network != network.id]
            server.joining.discard(network.id)

    def guard(self, firewall: Firewall, server: Server) -> Action:
        """Apply a firewall to a server."""
        server.firewalls[firewall.id] = False

        async def apply() -> None:
            await self._work.pause(self._work.delays.firewall_s)
            if firewall.id in server.firewalls:
                server.firewalls[firewall.id] = server.status == "running"

        return self._step("apply_firewall", firewall, server, apply)

    def unguard(self, firewall: Firewall, server: Server) -> Action:
        """Remove a firewall from a server."""

        async def remove() -> None:
            await self._work.pause(self._work.delays.firewall_s)
            server.firewalls.pop(firewall.id, None)

        return self._step("remove_firewall", firewall, server, remove)

    def select(self, firewall: Firewall, selects: Selects) -> None:
        """Say by what labels servers have a firewall, from now on."""
        self._selects[firewall.id] = selects
        for server in tuple(self._project.servers.values()):
            self._reselect(firewall.id, server)

    def forget_firewall(self, firewall: Firewall) -> None:
        """Drop what is known of a firewall that is gone."""
        self._selects.pop(firewall.id, None)

    def relabelled(self, server: Server) -> None:
        """Look which firewalls a server has by its labels."""
        for number in self._selects:
            self._reselect(number, server)

    def _reselect(self, number: int, server: Server) -> None:
        wanted, firewall = self._selects[number](server.labels), self._project.firewalls[number]
        if wanted and number not in server.selected:
            server.selected[number] = False

            async def apply() -> None:
                await self._work.pause(self._work.delays.firewall_s)
                if number in server.selected:
                    server.selected[number] = server.status == "running"

            self._step("apply_firewall", firewall, server, apply)
        elif not wanted and number in server.selected:

            async def remove() -> None:
                await self._work.pause(self._work.delays.firewall_s)
                server.selected.pop(number, None)

            self._step("remove_firewall", firewall, server, remove)

    def _step(self, command: str, firewall: Firewall, server: Server, work: Callable[[], Awaitable[None]]) -> Action:
        action = self._project.open_action(command, ("firewall", firewall), ("server", server))
        self._work.begin((action, work))
        return action

    def in_force(self, server: Server) -> None:
        """A server that starts has its firewalls from its first moment."""
        for table in (server.firewalls, server.selected):
            table.update(dict.fromkeys(table, True))


def require_room(project: Project, network: Network) -> None:
    """Refuse one more member of a network that is full.

    Raises:
        Refused: It is.
    """
    joining = sum(network.id in server.joining for server in project.servers.values())
    if len(project.members(network)) + joining > MEMBERS:
        raise over_limit("network_members", f"a network has at most {MEMBERS} members")
