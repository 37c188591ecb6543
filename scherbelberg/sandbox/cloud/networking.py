# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What servers are connected to: public addresses, networks, firewalls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from scherbelberg.sandbox.addresses import RESERVED, AddressPool, free_private
from scherbelberg.sandbox.cloud.actions import ActionRunner, Step
from scherbelberg.sandbox.cloud.catalog import Location
from scherbelberg.sandbox.cloud.errors import ApiError, over_limit
from scherbelberg.sandbox.cloud.model import Action, Firewall, Network, PrimaryIp, PrivateAddress, Server
from scherbelberg.sandbox.cloud.project import Project

#: Most members of a network.
MEMBERS = 100
#: Most firewalls that one server may have.
FIREWALLS_PER_SERVER = 5
#: Tells by a server's labels whether a firewall applies to it.
Selects = Callable[[Mapping[str, str]], bool]


class Networking:
    """Connects servers.

    Args:
        runner: Takes the time that it takes.
        addresses: Where addresses come from.
    """

    def __init__(self, runner: ActionRunner, addresses: AddressPool) -> None:
        self._runner = runner
        self._project: Project = runner.project
        self._addresses = addresses
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
            ApiError: The account may not have more.
        """
        limit = self._runner.faults().primary_ips
        if limit is not None and len(self._project.primary_ips) >= limit:
            raise over_limit("primary_ip_limit", "primary_ip_limit exceeded")
        number = self._project.next_number()
        names = {other.name for other in self._project.primary_ips.values()}
        while name is None and f"primary_ip-{number}" in names:
            number = self._project.next_number()
        # 2001:db8::/32 is for documentation: nothing answers there.
        network = f"2001:db8:{number >> 16 & 0xFFFF:x}:{number & 0xFFFF:x}::/64"
        primary = PrimaryIp(
            id=number,
            created=self._project.clock.now(),
            name=name or f"primary_ip-{number}",
            labels=dict(labels or {}),
            type=kind,
            ip=str(self._addresses.take_public()) if kind == "ipv4" else network,
            location=location,
            auto_delete=auto_delete,
        )
        self._project.primary_ips[number] = primary
        return primary

    def delete_address(self, primary: PrimaryIp) -> None:
        """Delete a primary IP."""
        del self._project.primary_ips[primary.id]
        if primary.type == "ipv4":
            self._addresses.give_back(IPv4Address(primary.ip))

    def release_addresses(self, server: Server) -> None:
        """Take a server's addresses from it; those that were made with it go."""
        for number in (server.ipv4, server.ipv6):
            if number is None:
                continue
            primary = self._project.primary_ips[number]
            primary.assignee = None
            if primary.auto_delete:
                self.delete_address(primary)

    def attach(self, server: Server, network: Network, ip: IPv4Address) -> Action:
        """Attach a server to a network.

        Args:
            server: It.
            network: The network.
            ip: Address that it will have.
        """
        step = self.join_step(server, network, ip)
        self._runner.begin(step)
        return step[0]

    def join_step(self, server: Server, network: Network, ip: IPv4Address) -> Step:
        """The step that attaches a server to a network; its address is taken from now on."""
        server.joining[network.id] = ip
        action = self._project.open_action("attach_to_network", ("server", server), ("network", network))
        action.undo = lambda: server.joining.pop(network.id, None)

        async def join() -> None:
            await self._runner.pause(self._runner.delays.attach_s)
            if network.id not in self._project.networks:
                raise ApiError(404, "not_found", "the network is gone")
            del server.joining[network.id]
            server.private.append(PrivateAddress(network=network.id, ip=ip))

        return action, join

    def detach(self, server: Server, network: Network) -> Action:
        """Take a server out of a network."""
        action = self._project.open_action("detach_from_network", ("server", server), ("network", network))
        (place,) = (at for at in server.private if at.network == network.id)
        place.status = "detaching"

        def keep() -> None:
            place.status = "attached"

        action.undo = keep

        async def leave() -> None:
            await self._runner.pause(self._runner.delays.attach_s)
            server.private = [place for place in server.private if place.network != network.id]

        self._runner.begin((action, leave))
        return action

    def remove_members(self, network: Network) -> None:
        """Take all members out of a network that is gone."""
        for server in self._project.servers.values():
            server.private = [place for place in server.private if place.network != network.id]
            server.joining.pop(network.id, None)

    def apply_firewall(self, firewall: Firewall, server: Server) -> Action:
        """Apply a firewall to a server."""
        server.firewalls[firewall.id] = False

        async def apply() -> None:
            await self._runner.pause(self._runner.delays.firewall_s)
            server.firewalls[firewall.id] = True

        return self._step("apply_firewall", firewall, server, apply, undo=lambda: server.firewalls.pop(firewall.id))

    def remove_firewall(self, firewall: Firewall, server: Server) -> Action:
        """Remove a firewall from a server."""

        async def remove() -> None:
            await self._runner.pause(self._runner.delays.firewall_s)
            server.firewalls.pop(firewall.id, None)

        return self._step("remove_firewall", firewall, server, remove)

    def select(self, firewall: Firewall, selects: Selects) -> None:
        """Say by what labels servers have a firewall, from now on."""
        self._selects[firewall.id] = selects
        for server in tuple(self._project.servers.values()):
            self._reselect(firewall, server)

    def forget_firewall(self, firewall: Firewall) -> None:
        """Drop what is known of a firewall that is gone."""
        self._selects.pop(firewall.id, None)

    def apply_selectors(self, server: Server) -> None:
        """Look which firewalls a server has by its labels."""
        for number in self._selects:
            self._reselect(self._project.firewalls[number], server)

    def _reselect(self, firewall: Firewall, server: Server) -> None:
        number = firewall.id
        wanted = self._selects[number](server.labels)
        if server.status == "deleting" or wanted == (number in server.selected):
            return
        if wanted and len({*server.firewalls, *server.selected, number}) > FIREWALLS_PER_SERVER:
            return
        if wanted:
            server.selected[number] = False

        async def settle() -> None:
            await self._runner.pause(self._runner.delays.firewall_s)
            # Labels may have changed again meanwhile, or the firewall be gone.
            selects = self._selects.get(number)
            if selects is not None and selects(server.labels):
                server.selected[number] = True
            else:
                server.selected.pop(number, None)

        undo = (lambda: server.selected.pop(number, None)) if wanted else (lambda: None)
        self._step("apply_firewall" if wanted else "remove_firewall", firewall, server, settle, undo=undo)

    def _step(
        self,
        command: str,
        firewall: Firewall,
        server: Server,
        work: Callable[[], Awaitable[None]],
        *,
        undo: Callable[[], object] = lambda: None,
    ) -> Action:
        action = self._project.open_action(command, ("firewall", firewall), ("server", server))
        action.undo = undo
        self._runner.begin((action, work))
        return action

    def enforce_firewalls(self, server: Server) -> None:
        """A new server has its firewalls from its first moment."""
        for table in (server.firewalls, server.selected):
            table.update(dict.fromkeys(table, True))


def require_room(project: Project, network: Network) -> None:
    """Refuse one more member of a network that is full.

    Raises:
        ApiError: It is.
    """
    joining = sum(network.id in server.joining for server in project.servers.values())
    if len(project.members(network)) + joining >= MEMBERS:
        raise over_limit("network_members", f"a network has at most {MEMBERS} members")


def choose_address(
    project: Project,
    network: Network,
    location: Location,
    *,
    wanted: IPv4Address | None = None,
    within: IPv4Network | None = None,
) -> IPv4Address:
    """Choose an address in a network for a server.

    Args:
        project: The state.
        network: The network.
        location: Where the server is.
        wanted: The address that it is to have, or None for any.
        within: The subnet that it is to lie in, or None for any.

    Raises:
        ApiError: There is none, or not this one.
    """
    zone = location.network_zone
    ranges = [one.ip_range for one in network.subnets if one.network_zone == zone and within in (None, one.ip_range)]
    if not ranges:
        raise ApiError(422, "no_subnet_available", f"no such subnet in network zone {zone}")
    used = project.private_addresses()
    if wanted is not None:
        if wanted in used | {RESERVED, network.gateway} or not any(_is_host(wanted, subnet) for subnet in ranges):
            raise ApiError(422, "ip_not_available", f"IP {wanted} is not available")
        return wanted
    free = next(filter(None, (free_private(subnet, used) for subnet in ranges)), None)
    if free is None:
        raise ApiError(422, "no_subnet_available", f"no free address in network zone {zone}")
    return free


def _is_host(address: IPv4Address, subnet: IPv4Network) -> bool:
    return address in subnet and address not in (subnet.network_address, subnet.broadcast_address)
