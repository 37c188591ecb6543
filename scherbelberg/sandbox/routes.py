# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which request does what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from scherbelberg.sandbox import checks, making, ordering, views
from scherbelberg.sandbox.addresses import Territory
from scherbelberg.sandbox.listing import Query, page_of
from scherbelberg.sandbox.machines import Machines
from scherbelberg.sandbox.model import Action, Firewall, Kind, Network, Resource, Server, SshKey
from scherbelberg.sandbox.project import SINGULAR, Project
from scherbelberg.sandbox.refusals import Refused, in_use, missing

Json = dict[str, Any]
_ACTION_IDS = 25
_KINDS: tuple[Kind, ...] = ("ssh_keys", "networks", "firewalls", "servers")


@frozen(kw_only=True)
class Request:
    """A request whose token is good.

    Args:
        query: Parameters of its URL.
        body: Its body, or None.
    """

    query: Query
    body: object = None


@frozen
class Answer:
    """What goes back.

    Args:
        status: HTTP status.
        body: JSON, or None for nothing.
    """

    status: int
    body: Json | None = None


Handler = Callable[..., Answer]


class Routes:
    """The API, apart from HTTP.

    Args:
        project: The state.
        machines: Makes it come true.
        territory: The sandbox's addresses.
    """

    def __init__(self, project: Project, machines: Machines, territory: Territory) -> None:
        self._project = project
        self._machines = machines
        self._territory = territory
        self._table = [(method, re.compile(pattern), handler) for method, pattern, handler in self._all()]

    def find(self, method: str, path: str) -> Callable[[Request], Answer]:
        """Find what answers a request.

        Args:
            method: HTTP method.
            path: Below ``/v1``.

        Raises:
            Refused: Nothing does.
        """
        others = False
        for known, pattern, handler in self._table:
            match = pattern.fullmatch(path)
            if match and known == method:
                numbers = [int(group) for group in match.groups()]
                return lambda request: handler(request, *numbers)
            others = others or match is not None
        if others:
            raise Refused(405, "method_not_allowed", f"{method} is not allowed here")
        raise Refused(404, "not_found", "API endpoint not found")

    def _all(self) -> Iterable[tuple[str, str, Handler]]:
        yield from self._catalogue_routes()
        for kind in _KINDS:
            yield "GET", f"/{kind}", self._lister(kind)
            yield "POST", f"/{kind}", self._maker(kind)
            yield "GET", rf"/{kind}/(\d+)", self._getter(kind)
            yield "PUT", rf"/{kind}/(\d+)", self._updater(kind)
            yield "DELETE", rf"/{kind}/(\d+)", self._remover(kind)
        yield "GET", "/actions", self._list_actions
        yield "GET", r"/(?:servers/|networks/|firewalls/)?actions/(\d+)", self._get_action
        yield "GET", r"/servers/(\d+)/actions", self._list_server_actions
        yield "GET", r"/servers/\d+/actions/(\d+)", self._get_action
        for word, act in self._server_actions().items():
            yield "POST", rf"/servers/(\d+)/actions/{word}", act

    def _catalogue_routes(self) -> Iterable[tuple[str, str, Handler]]:
        catalogue = self._project.catalogue
        yield from _fixed("locations", "location", [row.row for row in catalogue.locations], ("name",))
        yield from _fixed("server_types", "server_type", [row.row for row in catalogue.server_types], ("name",))
        filters = ("name", "architecture", "type", "status")
        yield from _fixed("images", "image", [row.row for row in catalogue.images], filters)
        yield from _fixed("isos", "iso", [], ())
        yield "GET", "/pricing", lambda _request: Answer(200, {"pricing": catalogue.pricing})
        yield "GET", r"/datacenters(?:/\d+)?", _datacenters

    def show(self, resource: Resource) -> Json:
        """Show a resource of any kind."""
        match resource:
            case SshKey():
                return views.show_ssh_key(resource)
            case Network():
                return views.show_network(resource, self._project.members(resource))
            case Firewall():
                return views.show_firewall(resource, self._project.guarded(resource))
            case Server():
                return views.show_server(resource)
        raise TypeError(f"{type(resource).__name__} is no kind of resource")

    def _lister(self, kind: Kind) -> Handler:
        extra = {"ssh_keys": ("fingerprint",), "servers": ("status",)}.get(kind, ())

        def answer(request: Request) -> Answer:
            rows = [self.show(resource) for resource in self._project.table(kind).values()]
            filters, sorts = ("name", *extra), ("id", "name", "created")
            return Answer(200, page_of(kind, rows, request.query, filters=filters, sorts=sorts))

        return answer

    def _getter(self, kind: Kind) -> Handler:
        return lambda _request, number: Answer(200, {SINGULAR[kind]: self.show(self._project.get(kind, number))})

    def _maker(self, kind: Kind) -> Handler:
        return {
            "ssh_keys": self._make_ssh_key,
            "networks": self._make_network,
            "firewalls": self._make_firewall,
            "servers": self._order,
        }[kind]

    def _make_ssh_key(self, request: Request) -> Answer:
        return Answer(201, {"ssh_key": self.show(making.make_ssh_key(self._project, request.body))})

    def _make_network(self, request: Request) -> Answer:
        network = making.make_network(self._project, request.body, territory=self._territory.private)
        return Answer(201, {"network": self.show(network)})

    def _make_firewall(self, request: Request) -> Answer:
        firewall = making.make_firewall(self._project, request.body)
        actions = []
        for server in self._project.guarded(firewall):
            action = self._project.open_action("apply_firewall", ("firewall", firewall), ("server", server))
            self._project.close_action(action)
            actions.append(views.show_action(action))
        return Answer(201, {"firewall": self.show(firewall), "actions": actions})

    def _order(self, request: Request) -> Answer:
        ordered = ordering.order_server(self._project, self._machines, self._territory, request.body)
        body = {
            "server": self.show(ordered.server),
            "action": views.show_action(ordered.action),
            "next_actions": [views.show_action(action) for action in ordered.next_actions],
            "root_password": ordered.root_password,
        }
        return Answer(201, body)

    def _updater(self, kind: Kind) -> Handler:
        known: dict[str, checks.Check] = {
            "name": checks.host_name if kind == "servers" else checks.name,
            "labels": checks.labels,
        }

        def answer(request: Request, number: int) -> Answer:
            resource = self._project.get(kind, number)
            values = checks.read_fields(request.body, known)
            name = values.get("name", resource.name)
            self._project.require_unique(kind, name, besides=resource)
            resource.name = name
            resource.labels = values.get("labels", resource.labels)
            return Answer(200, {SINGULAR[kind]: self.show(resource)})

        return answer

    def _remover(self, kind: Kind) -> Handler:
        return {
            "ssh_keys": self._remove_ssh_key,
            "networks": self._remove_network,
            "firewalls": self._remove_firewall,
            "servers": self._delete_server,
        }[kind]

    def _remove_ssh_key(self, _request: Request, number: int) -> Answer:
        self._project.get("ssh_keys", number)
        del self._project.ssh_keys[number]
        return Answer(204)

    def _remove_network(self, _request: Request, number: int) -> Answer:
        self._project.get("networks", number)
        ordering.detach(self._project, self._project.networks.pop(number))
        return Answer(204)

    def _remove_firewall(self, _request: Request, number: int) -> Answer:
        self._project.get("firewalls", number)
        if self._project.guarded(self._project.firewalls[number]):
            raise in_use("firewall", number)
        del self._project.firewalls[number]
        return Answer(204)

    def _delete_server(self, _request: Request, number: int) -> Answer:
        return self._act_on(number, self._machines.delete, status=200)

    def _server_actions(self) -> dict[str, Handler]:
        machines = self._machines
        return {
            "poweron": lambda _request, number: self._act_on(number, machines.start),
            "poweroff": lambda _request, number: self._act_on(number, machines.stop),
            "shutdown": lambda _request, number: self._act_on(number, machines.shut_down),
            "reboot": lambda _request, number: self._act_on(
                number, lambda server: machines.reboot(server, command="reboot_server")
            ),
            "reset": lambda _request, number: self._act_on(
                number, lambda server: machines.reboot(server, command="reset_server")
            ),
            "attach_to_network": self._attach,
        }

    def _act_on(self, number: int, act: Callable[[Server], Action], *, status: int = 201) -> Answer:
        self._project.get("servers", number)
        action = act(ordering.require_unlocked(self._project.servers[number]))
        return Answer(status, {"action": views.show_action(action)})

    def _attach(self, request: Request, number: int) -> Answer:
        self._project.get("servers", number)
        action = ordering.attach(self._project, self._machines, self._project.servers[number], request.body)
        return Answer(201, {"action": views.show_action(action)})

    def _list_actions(self, request: Request) -> Answer:
        words = request.query.words.get("id", ())
        if not words:
            announcement = "https://docs.hetzner.cloud/changelog"
            message = "listing arbitrary actions was removed, use the id parameter"
            raise Refused(410, "deprecated_api_endpoint", message, {"announcement": announcement})
        if len(words) > _ACTION_IDS or not all(word.isascii() and word.isdigit() for word in words):
            raise Refused(422, "invalid_input", f"id takes at most {_ACTION_IDS} numbers")
        actions = [self._project.actions[int(word)] for word in words if int(word) in self._project.actions]
        return self._actions_page(request, actions)

    def _list_server_actions(self, request: Request, number: int) -> Answer:
        self._project.get("servers", number)
        concerning = ("server", number)
        actions = [action for action in self._project.actions.values() if concerning in action.resources]
        return self._actions_page(request, actions)

    def _actions_page(self, request: Request, actions: Iterable[Action]) -> Answer:
        rows = [views.show_action(action) for action in actions]
        sorts = ("id", "command", "status", "started", "finished")
        return Answer(200, page_of("actions", rows, request.query, filters=("status",), sorts=sorts))

    def _get_action(self, _request: Request, number: int) -> Answer:
        if number not in self._project.actions:
            raise missing("action", number)
        return Answer(200, {"action": views.show_action(self._project.actions[number])})


def _fixed(
    plural: str, singular: str, rows: list[Json], filters: tuple[str, ...]
) -> Iterable[tuple[str, str, Handler]]:
    def answer_list(request: Request) -> Answer:
        return Answer(200, page_of(plural, rows, request.query, filters=filters, sorts=("id", "name", "created")))

    def answer_one(_request: Request, number: int) -> Answer:
        found = next((row for row in rows if row["id"] == number), None)
        if found is None:
            raise missing(singular, number)
        return Answer(200, {singular: found})

    yield "GET", f"/{plural}", answer_list
    yield "GET", rf"/{plural}/(\d+)", answer_one


def _datacenters(_request: Request) -> Answer:
    announcement = "https://docs.hetzner.cloud/changelog"
    raise Refused(410, "deprecated_api_endpoint", "datacenters were removed", {"announcement": announcement})
