# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Primary IPs: public addresses of their own, which servers can be given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.routing import (
    RENAME,
    Answer,
    Changes,
    Context,
    Request,
    Route,
    change_protection,
    require_unlocked,
    require_unprotected,
    shared_routes,
)
from scherbelberg.sandbox.api.views import Json, show_action, show_primary_ip
from scherbelberg.sandbox.cloud.errors import ApiError, invalid, invalid_combination, missing
from scherbelberg.sandbox.cloud.model import PrimaryIp, Server
from scherbelberg.sandbox.cloud.project import choose_row


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project
    addresses = _PrimaryIps(context)
    changes = Changes(known={**RENAME.known, "auto_delete": checks.boolean}, apply=_keep)
    yield from shared_routes(
        project, "primary_ips", show_primary_ip, changes=changes, filters=("name", "ip"), sorts=("id", "created")
    )
    yield "POST", "/primary_ips", addresses.make
    yield "DELETE", r"/primary_ips/(\d+)", addresses.remove
    yield "POST", r"/primary_ips/(\d+)/actions/assign", addresses.assign
    yield "POST", r"/primary_ips/(\d+)/actions/unassign", addresses.unassign
    yield "POST", r"/primary_ips/(\d+)/actions/change_dns_ptr", addresses.change_name
    yield change_protection(context, "primary_ips", "delete", required=("delete",), check=_require_protectable)


def _keep(primary: PrimaryIp, values: Json) -> None:
    if values.get("auto_delete") and primary.protected:
        raise invalid("auto_delete", "must be false while the primary IP is protected")
    primary.auto_delete = values.get("auto_delete", primary.auto_delete)


def _require_protectable(primary: PrimaryIp, wanted: bool) -> None:
    if wanted and primary.auto_delete:
        raise invalid_combination("only a primary IP whose auto_delete is false can be protected")


class _PrimaryIps:
    """Requests about primary IPs.

    Args:
        context: State and addresses.
    """

    def __init__(self, context: Context) -> None:
        self._project = context.project
        self._runner = context.runner
        self._networking = context.networking

    def make(self, request: Request) -> Answer:
        """Add an address."""
        known = {
            "name": checks.name,
            "labels": checks.labels,
            "type": checks.one_of("ipv4", "ipv6"),
            "location": checks.key,
            "auto_delete": checks.boolean,
            "assignee_id": _number_or_none,
            "assignee_type": checks.one_of("server", "unassigned"),
        }
        values = checks.read_fields(request.body, known, required=("name", "type"))
        self._project.require_unique("primary_ips", values["name"])
        number = values.get("assignee_id")
        server = None if number is None else self._free_server(number, values["type"])
        location = self._location(values, server)
        primary = self._networking.make_address(
            values["type"],
            location,
            name=values["name"],
            labels=values.get("labels", {}),
            auto_delete=values.get("auto_delete", False),
        )
        body = {"primary_ip": show_primary_ip(primary)}
        if server is not None:
            connect = partial(self._connect, primary, server)
            action = self._runner.instant("create_primary_ip", ("primary_ip", primary), ("server", server), do=connect)
            body = {"primary_ip": show_primary_ip(primary), "action": show_action(action)}
        return Answer(201, body)

    def _location(self, values: Json, server: Server | None) -> Any:
        if (server is None) is not ("location" in values) or (server and values.get("assignee_type") == "unassigned"):
            raise invalid_combination("either location or assignee_id is required, and not both")
        if server is not None:
            return server.location
        location = choose_row(self._project.catalog.locations, values["location"])
        if location is None:
            raise invalid("location", f"location {values['location']} not found")
        return location

    def remove(self, _request: Request, number: int) -> Answer:
        """Delete an address that no server has."""
        primary = self._find(number)
        require_unprotected(primary)
        if primary.assignee is not None:
            raise ApiError(422, "must_be_unassigned", "primary IP must be unassigned first")
        self._networking.delete_address(primary)
        return Answer(204)

    def assign(self, request: Request, number: int) -> Answer:
        """Give an address to a server that is off and has none."""
        primary = self._find(number)
        known = {"assignee_id": checks.number, "assignee_type": checks.one_of("server")}
        values = checks.read_fields(request.body, known, required=("assignee_id",))
        if primary.assignee is not None:
            raise ApiError(422, "primary_ip_already_assigned", "primary IP is already assigned")
        server = self._free_server(values["assignee_id"], primary.type)
        if server.location.name != primary.location.name:
            raise invalid_combination("server and primary IP are not in the same location")
        return self._done("assign_primary_ip", primary, server, do=partial(self._connect, primary, server))

    def unassign(self, _request: Request, number: int) -> Answer:
        """Take an address from a server that is off."""
        primary = self._find(number)
        server = self._project.servers.get(primary.assignee or 0)
        if server is None:
            raise ApiError(422, "primary_ip_not_assigned", "primary IP is not assigned")
        _require_off(require_unlocked(server))
        disconnect = partial(self._connect, primary, None, former=server)
        return self._done("unassign_primary_ip", primary, server, do=disconnect)

    def change_name(self, request: Request, number: int) -> Answer:
        """Set the name that an address shows in reverse lookups."""
        primary = self._find(number)
        known = {"ip": _address, "dns_ptr": lambda value: None if value is None else checks.host_name(value)}
        values = checks.read_fields(request.body, known, required=("ip", "dns_ptr"))
        if values["ip"] not in ip_network(primary.ip):
            raise missing("IP", values["ip"])
        ip = str(values["ip"])

        def rename() -> None:
            primary.dns_ptr.pop(ip, None)
            if values["dns_ptr"] is not None:
                primary.dns_ptr[ip] = values["dns_ptr"]

        return self._done("change_dns_ptr", primary, do=rename)

    def _done(
        self, command: str, primary: PrimaryIp, server: Server | None = None, *, do: Callable[[], object]
    ) -> Answer:
        concerned = (("primary_ip", primary), *((("server", server),) if server else ()))
        return Answer(201, {"action": show_action(self._runner.instant(command, *concerned, do=do))})

    def _connect(self, primary: PrimaryIp, server: Server | None, *, former: Server | None = None) -> None:
        primary.assignee = server.id if server else None
        for one, value in ((former, None), (server, primary.id)):
            if one is not None and primary.type == "ipv4":
                one.ipv4 = value
            elif one is not None:
                one.ipv6 = value

    def _free_server(self, number: int, kind: str) -> Server:
        server = self._project.servers.get(number)
        if server is None:
            raise missing("server", number)
        _require_off(require_unlocked(server))
        if (server.ipv4 if kind == "ipv4" else server.ipv6) is not None:
            raise ApiError(422, f"server_has_{kind}", f"server has a primary {kind} already")
        return server

    def _find(self, number: int) -> PrimaryIp:
        self._project.get("primary_ips", number)
        return self._project.primary_ips[number]


def _address(value: Any) -> IPv4Address | IPv6Address:
    return ip_address(checks.text(value))


def _require_off(server: Server) -> None:
    if server.status != "off":
        raise ApiError(422, "server_not_stopped", "server must be off")


def _number_or_none(value: Any) -> int | None:
    return None if value is None else checks.number(value)
