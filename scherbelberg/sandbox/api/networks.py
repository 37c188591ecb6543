# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Private networks: ranges, subnets, routes, members."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from scherbelberg.sandbox.addresses import RESERVED, RFC_1918
from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.listing import page_of
from scherbelberg.sandbox.api.routing import (
    RENAME,
    Answer,
    Changes,
    Context,
    Request,
    Route,
    change_protection,
    require_unprotected,
    shared_routes,
)
from scherbelberg.sandbox.api.views import Json, head, show_action
from scherbelberg.sandbox.cloud.errors import ApiError, in_use, invalid, invalid_combination, missing
from scherbelberg.sandbox.cloud.model import Network, Server, Subnet
from scherbelberg.sandbox.cloud.project import Project

_MIN_NETWORK_BITS = 24
_MIN_SUBNET_BITS = 30
_SUBNETS = 50
_ROUTES = 100
#: The one destination that may overlap with others: for a way to the internet through a server.
_ANYWHERE = IPv4Network("0.0.0.0/0")
_MEMBER_FILTERS = ("type", "status", "subnet")
_MEMBER_SORTS = ("id", "type", "status", "ip")


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project
    networks = _Networks(context)
    changes = Changes(known={**RENAME.known, "expose_routes_to_vswitch": checks.boolean}, apply=_expose)
    yield from shared_routes(project, "networks", networks.show, changes=changes)
    yield "POST", "/networks", networks.make
    yield "DELETE", r"/networks/(\d+)", networks.remove
    yield "GET", r"/networks/(\d+)/members", networks.list_members
    yield "POST", r"/networks/(\d+)/actions/add_subnet", networks.add_subnet
    yield "POST", r"/networks/(\d+)/actions/delete_subnet", networks.delete_subnet
    yield "POST", r"/networks/(\d+)/actions/add_route", networks.add_route
    yield "POST", r"/networks/(\d+)/actions/delete_route", networks.delete_route
    yield "POST", r"/networks/(\d+)/actions/change_ip_range", networks.change_range
    yield change_protection(context, "networks", "delete")


def _expose(network: Network, values: Json) -> None:
    network.expose_routes = values.get("expose_routes_to_vswitch", network.expose_routes)


class _Networks:
    """Requests about networks.

    Args:
        context: State and addresses.
    """

    def __init__(self, context: Context) -> None:
        self._project: Project = context.project
        self._runner = context.runner
        self._networking = context.networking
        self._addresses = context.addresses
        self._subnet = {
            "type": checks.one_of("cloud", "server", "vswitch"),
            "ip_range": _range,
            "network_zone": checks.one_of(*sorted(self._project.catalog.zones)),
            "vswitch_id": checks.absent,
            "gateway": checks.text,  # not in the API's description, but sent by Hetzner's Go library, and empty
        }

    def show(self, network: Network) -> Json:
        """Show one."""
        return {
            **head(network),
            "ip_range": str(network.ip_range),
            "subnets": [_show_subnet(network, subnet) for subnet in network.subnets],
            "routes": [dict(route) for route in network.routes],
            "servers": [server.id for server in self._project.members(network)],
            "load_balancers": [],
            "protection": {"delete": network.protected},
            "expose_routes_to_vswitch": network.expose_routes,
        }

    def make(self, request: Request) -> Answer:
        """Add a network."""
        known = {
            "name": checks.name,
            "labels": checks.labels,
            "ip_range": _range,
            "subnets": checks.list_of(
                checks.fields_of(self._subnet, required=("type", "network_zone")), at_most=_SUBNETS
            ),
            "routes": checks.list_of(checks.fields_of(_ROUTE, required=tuple(_ROUTE)), at_most=_ROUTES),
            "expose_routes_to_vswitch": checks.boolean,
        }
        values = checks.read_fields(request.body, known, required=("name", "ip_range"))
        self._require_allowed(values["ip_range"])
        self._project.require_unique("networks", values["name"])
        network = Network(
            id=self._project.next_number(),
            created=self._project.clock.now(),
            name=values["name"],
            labels=values.get("labels", {}),
            ip_range=values["ip_range"],
            subnets=[],
            expose_routes=values.get("expose_routes_to_vswitch", False),
        )
        for row in values.get("subnets", []):
            network.subnets.append(_make_subnet(network, row))
        for row in values.get("routes", []):
            network.routes.append(_make_route(network, row))
        self._project.networks[network.id] = network
        return Answer(201, {"network": self.show(network)})

    def remove(self, _request: Request, number: int) -> Answer:
        """Delete a network; its members are taken out of it."""
        network = self._find(number)
        require_unprotected(network)
        del self._project.networks[number]
        self._networking.remove_members(network)
        return Answer(204)

    def list_members(self, request: Request, number: int) -> Answer:
        """List who is in a network, or about to be."""
        network = self._find(number)
        rows = [row for server in self._project.servers.values() for row in _members(network, server)]
        return Answer(200, page_of("members", rows, request.query, filters=_MEMBER_FILTERS, sorts=_MEMBER_SORTS))

    def add_subnet(self, request: Request, number: int) -> Answer:
        """Add a subnet."""
        network = self._find(number)
        row = checks.read_fields(request.body, self._subnet, required=("type", "network_zone"))
        if len(network.subnets) >= _SUBNETS:
            raise invalid_combination(f"a network has at most {_SUBNETS} subnets")
        return self._done("add_subnet", network, partial(network.subnets.append, _make_subnet(network, row)))

    def delete_subnet(self, request: Request, number: int) -> Answer:
        """Delete a subnet that nobody is in."""
        network = self._find(number)
        ip_range = checks.read_fields(request.body, {"ip_range": _range}, required=("ip_range",))["ip_range"]
        subnet = next((one for one in network.subnets if one.ip_range == ip_range), None)
        if subnet is None:
            raise missing("subnet", ip_range)
        if any(address in ip_range for address in _addresses(self._project, network)):
            raise in_use("subnet", ip_range)
        return self._done("delete_subnet", network, partial(network.subnets.remove, subnet))

    def add_route(self, request: Request, number: int) -> Answer:
        """Add a route."""
        network = self._find(number)
        row = checks.read_fields(request.body, _ROUTE, required=tuple(_ROUTE))
        if len(network.routes) >= _ROUTES:
            raise invalid_combination(f"a network has at most {_ROUTES} routes")
        return self._done("add_route", network, partial(network.routes.append, _make_route(network, row)))

    def delete_route(self, request: Request, number: int) -> Answer:
        """Delete a route."""
        network = self._find(number)
        row = checks.read_fields(request.body, _ROUTE, required=tuple(_ROUTE))
        wanted = {name: str(value) for name, value in row.items()}
        if wanted not in network.routes:
            raise missing("route", wanted["destination"])
        return self._done("delete_route", network, partial(network.routes.remove, wanted))

    def change_range(self, request: Request, number: int) -> Answer:
        """Enlarge a network; its first address stays."""
        network = self._find(number)
        wanted = checks.read_fields(request.body, {"ip_range": _range}, required=("ip_range",))["ip_range"]
        self._require_allowed(wanted)
        if not network.ip_range.subnet_of(wanted) or wanted.network_address != network.ip_range.network_address:
            raise invalid("ip_range", "must contain the present range and begin where it begins")
        return self._done("change_ip_range", network, partial(setattr, network, "ip_range", wanted))

    def _require_allowed(self, ip_range: IPv4Network) -> None:
        allowed = self._addresses.private_ranges
        if not any(ip_range.subnet_of(whole) for whole in allowed):
            raise invalid("ip_range", f"network must be within {' or '.join(map(str, allowed))}")
        if ip_range.prefixlen > _MIN_NETWORK_BITS:
            raise invalid("ip_range", f"network must be at least /{_MIN_NETWORK_BITS}")

    def _done(self, command: str, network: Network, do: Callable[[], object]) -> Answer:
        return Answer(201, {"action": show_action(self._runner.instant(command, ("network", network), do=do))})

    def _find(self, number: int) -> Network:
        self._project.get("networks", number)
        return self._project.networks[number]


def _addresses(project: Project, network: Network) -> Iterable[IPv4Address]:
    for server in project.servers.values():
        yield from (place.ip for place in server.private if place.network == network.id)
        yield from (ip for number, ip in server.joining.items() if number == network.id)


def _members(network: Network, server: Server) -> Iterable[Json]:
    for place in server.private:
        if place.network == network.id:
            status = "ok" if place.status == "attached" else place.status
            yield _show_member(network, server, place.ip, status)
    if network.id in server.joining:
        yield _show_member(network, server, server.joining[network.id], "attaching")


def _show_member(network: Network, server: Server, ip: IPv4Address, status: str) -> Json:
    subnet = next((str(one.ip_range) for one in network.subnets if ip in one.ip_range), None)
    return {"id": server.id, "type": "server", "ip": str(ip), "alias_ips": [], "subnet": subnet, "status": status}


def _show_subnet(network: Network, subnet: Subnet) -> Json:
    return {
        "type": subnet.type,
        "ip_range": str(subnet.ip_range),
        "network_zone": subnet.network_zone,
        "gateway": str(network.gateway),
        "vswitch_id": None,
    }


def _range(value: Any) -> IPv4Network:
    if not re.fullmatch(r"[0-9.]+/[0-9]+", checks.text(value)):
        raise ValueError("Must be an IPv4 range such as 10.0.0.0/16.")
    return IPv4Network(value)


_ROUTE = {"destination": _range, "gateway": lambda value: IPv4Address(checks.text(value))}


def _make_route(network: Network, row: Json) -> dict[str, str]:
    destination = row["destination"]
    if row["gateway"] not in network.ip_range or row["gateway"] in (network.gateway, RESERVED):
        raise invalid("gateway", "must be an address of the network, and not its first one")
    private = any(destination.subnet_of(whole) for whole in (*RFC_1918, network.ip_range))
    if destination != _ANYWHERE and (not private or RESERVED in destination):
        raise invalid("destination", f"must be a private range without {RESERVED}, or {_ANYWHERE}")
    if destination in _destinations(network) or (destination != _ANYWHERE and _taken(network, destination)):
        raise invalid("destination", "overlaps with a subnet or another route")
    return {name: str(value) for name, value in row.items()}


def _destinations(network: Network) -> list[IPv4Network]:
    return [IPv4Network(route["destination"]) for route in network.routes]


def _taken(network: Network, ip_range: IPv4Network) -> bool:
    """Whether a subnet or a route, but for the one to anywhere, overlaps with a range."""
    ranges = (*(subnet.ip_range for subnet in network.subnets), *_destinations(network))
    return any(known != _ANYWHERE and known.overlaps(ip_range) for known in ranges)


def _make_subnet(network: Network, row: Json) -> Subnet:
    if row["type"] == "vswitch":
        raise invalid("subnets", "the sandbox has no vSwitch")
    ip_range = row.get("ip_range") or _free_subnet(network)
    if not ip_range.subnet_of(network.ip_range) or ip_range.prefixlen > _MIN_SUBNET_BITS:
        raise invalid("subnets", f"subnet must be within the network and at least /{_MIN_SUBNET_BITS}")
    if _taken(network, ip_range):
        raise invalid_combination("subnet overlaps with other subnet or route")
    return Subnet(ip_range=ip_range, network_zone=row["network_zone"], type=row["type"])


def _free_subnet(network: Network) -> IPv4Network:
    bits = max(_MIN_NETWORK_BITS, network.ip_range.prefixlen)
    for candidate in network.ip_range.subnets(new_prefix=bits):
        if not _taken(network, candidate):
            return candidate
    raise ApiError(422, "no_subnet_available", "no subnet available")
