# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be done with a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.images import description
from scherbelberg.sandbox.api.orders import NETWORKS_PER_SERVER, find_type, require_apart, require_stock
from scherbelberg.sandbox.api.placement_groups import require_place
from scherbelberg.sandbox.api.routing import (
    Answer,
    Context,
    Handler,
    Request,
    Route,
    change_protection,
    require_unlocked,
)
from scherbelberg.sandbox.api.views import show_action, show_image
from scherbelberg.sandbox.cloud.errors import ApiError, invalid_combination, missing, over_limit
from scherbelberg.sandbox.cloud.model import Action, Image, Server
from scherbelberg.sandbox.cloud.networking import choose_address, require_room

_ATTACH = {
    "network": checks.number,
    "ip": lambda value: IPv4Address(checks.text(value)),
    "ip_range": lambda value: IPv4Network(checks.text(value)),
    "alias_ips": checks.empty,
}
_SNAPSHOT = {"type": checks.one_of("snapshot"), "description": description, "labels": checks.labels}


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    servers, actions = context.servers, _Actions(context)
    plain: dict[str, Callable[[Server], Action]] = {
        "poweroff": servers.stop,
        "shutdown": servers.shut_down,
        "reboot": servers.reboot,
        "reset": servers.reset,
    }
    handlers: dict[str, Handler] = {word: actions.plain(act) for word, act in plain.items()} | {
        "poweron": actions.start,
        "attach_to_network": actions.attach,
        "detach_from_network": actions.detach,
        "create_image": actions.snapshot,
        "change_type": actions.change_type,
        "add_to_placement_group": actions.join_group,
        "remove_from_placement_group": actions.leave_group,
    }
    for word, handler in handlers.items():
        yield "POST", rf"/servers/(\d+)/actions/{word}", handler
    # What never ends must not keep a server from being given back, so it may not keep its protection either.
    yield change_protection(
        context, "servers", "delete", "rebuild", check=lambda server, _wanted: servers.require_free(server)
    )


class _Actions:
    """Requests that begin an action.

    Args:
        context: State and servers.
    """

    def __init__(self, context: Context) -> None:
        self._project = context.project
        self._runner = context.runner
        self._servers = context.servers
        self._networking = context.networking
        self._faults = context.faults

    def plain(self, act: Callable[[Server], Action]) -> Handler:
        """One without a body."""
        return lambda _request, number: _answer(act(self._unlocked(number)))

    def start(self, _request: Request, number: int) -> Answer:
        """Switch a server on that something can reach."""
        server = self._unlocked(number)
        if not (server.private or server.ipv4 or server.ipv6):
            raise invalid_combination("a server needs a public address or a network")
        return _answer(self._servers.start(server))

    def attach(self, request: Request, number: int) -> Answer:
        """Attach a server to a network."""
        server = self._unlocked(number)
        values = checks.read_fields(request.body, _ATTACH, required=("network",))
        if values["network"] not in self._project.networks:
            raise missing("network", values["network"])
        if any(place.network == values["network"] for place in server.private):
            raise ApiError(422, "server_already_attached", "server is already attached to network")
        network = self._project.networks[values["network"]]
        require_apart([network, *(self._project.networks[at.network] for at in server.private)])
        require_room(self._project, network)
        if len(server.private) >= NETWORKS_PER_SERVER:
            raise over_limit("networks_per_server", f"a server is in at most {NETWORKS_PER_SERVER} networks")
        ip = choose_address(
            self._project, network, server.location, wanted=values.get("ip"), within=values.get("ip_range")
        )
        return _answer(self._networking.attach(server, network, ip))

    def detach(self, request: Request, number: int) -> Answer:
        """Take a server out of a network."""
        server = self._unlocked(number)
        values = checks.read_fields(request.body, {"network": checks.number}, required=("network",))
        if not any(place.network == values["network"] for place in server.private):
            raise missing("network", values["network"])
        return _answer(self._networking.detach(server, self._project.networks[values["network"]]))

    def snapshot(self, request: Request, number: int) -> Answer:
        """Copy a server's disk."""
        server = self._unlocked(number)
        values = checks.read_fields(request.body, _SNAPSHOT)
        source = server.image
        image = Image(
            id=self._project.next_number(),
            created=self._project.clock.now(),
            name="",
            # What the image of its server held, its disk holds, too.
            labels={**(source.labels if source else {}), **values.get("labels", {})},
            kind="snapshot",
            architecture=server.server_type.architecture,
            flavour=source.flavour if source else "unknown",
            version=source.version if source else None,
            description=values.get("description") or f"{server.name} {server.id}",
            disk_gb=server.disk_gb,
            source=(server.id, server.name),
        )
        action = self._servers.snapshot(server, image)
        return Answer(201, {"image": show_image(image), "action": show_action(action)})

    def change_type(self, request: Request, number: int) -> Answer:
        """Make a server one of another type."""
        server = self._unlocked(number)
        known = {"server_type": checks.key, "upgrade_disk": checks.boolean}
        values = checks.read_fields(request.body, known, required=tuple(known))
        _require_off(server)
        wanted = find_type(self._project, values["server_type"], retired_code="invalid_server_type")
        if wanted.architecture != server.server_type.architecture:
            raise ApiError(422, "invalid_server_type", "server type has another architecture")
        if wanted.disk < server.disk_gb or wanted.name == server.server_type.name:
            raise ApiError(422, "invalid_server_type", "server type has a smaller disk, or is what the server has")
        if server.location.name not in wanted.locations:
            raise invalid_combination("unsupported location for server type")
        require_stock(self._faults(), wanted, server.location)
        return _answer(self._servers.change_type(server, wanted, upgrade_disk=values["upgrade_disk"]))

    def join_group(self, request: Request, number: int) -> Answer:
        """Add a server to a placement group."""
        server = self._unlocked(number)
        known = {"placement_group": checks.number}
        values = checks.read_fields(request.body, known, required=tuple(known))
        group = self._project.placement_groups.get(values["placement_group"])
        if group is None:
            raise missing("placement group", values["placement_group"])
        _require_off(server)
        if server.placement_group is not None:
            raise invalid_combination("server is in a placement group already")
        require_place(self._project, group)
        concerned: tuple[Any, ...] = (("server", server), ("placement_group", group))
        join = partial(setattr, server, "placement_group", group.id)
        return _answer(self._runner.instant("add_to_placement_group", *concerned, do=join))

    def leave_group(self, _request: Request, number: int) -> Answer:
        """Take a server out of its placement group."""
        server = self._unlocked(number)
        if server.placement_group is None:
            raise invalid_combination("server is in no placement group")
        leave = partial(setattr, server, "placement_group", None)
        return _answer(self._runner.instant("remove_from_placement_group", ("server", server), do=leave))

    def _unlocked(self, number: int) -> Server:
        self._project.get("servers", number)
        server = require_unlocked(self._project.servers[number])
        if server.status == "initializing":
            raise ApiError(409, "conflict", "the server's creation failed, it can only be deleted")
        return server


def _answer(action: Action) -> Answer:
    return Answer(201, {"action": show_action(action)})


def _require_off(server: Server) -> None:
    if server.status != "off":
        raise ApiError(422, "server_not_stopped", "server must be off")
