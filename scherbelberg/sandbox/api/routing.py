# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which request does what, and the requests that all kinds of resources answer in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.addresses import AddressPool
from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.listing import Query, page_of
from scherbelberg.sandbox.api.views import show_action
from scherbelberg.sandbox.cloud.actions import ActionRunner
from scherbelberg.sandbox.cloud.errors import ApiError, locked, missing, protected
from scherbelberg.sandbox.cloud.model import Action, Kind, Resource, Server
from scherbelberg.sandbox.cloud.networking import Networking
from scherbelberg.sandbox.cloud.project import SINGULAR, Project
from scherbelberg.sandbox.cloud.servers import Servers
from scherbelberg.sandbox.faults import Faults

Json = dict[str, Any]
_ACTION_SORTS = ("id", "command", "status", "started", "finished")


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
#: Method, pattern of the path below ``/v1``, and what answers; it is given the request and the pattern's numbers.
Route = tuple[str, str, Handler]


@frozen(kw_only=True)
class Context:
    """What the kinds of resources share.

    Args:
        project: The state.
        runner: Changes it.
        servers: Makes it come true.
        networking: Connects servers.
        addresses: The sandbox's addresses.
        faults: Returns what goes wrong on purpose at the time of asking.
    """

    project: Project
    runner: ActionRunner
    servers: Servers
    networking: Networking
    addresses: AddressPool
    faults: Callable[[], Faults]


class Router:
    """Finds what answers a request.

    Args:
        routes: All there is.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        # Python reads no integer of thousands of digits, and no resource has such a number.
        self._table = [(method, re.compile(path.replace(r"\d+", r"\d{1,18}")), act) for method, path, act in routes]

    def find(self, method: str, path: str) -> Callable[[Request], Answer]:
        """Find what answers a request.

        Args:
            method: HTTP method.
            path: Below ``/v1``.

        Raises:
            ApiError: Nothing does.
        """
        others = False
        for known, pattern, handler in self._table:
            match = pattern.fullmatch(path)
            if match and known == method:
                numbers = [int(group) for group in match.groups()]
                return lambda request: handler(request, *numbers)
            others = others or match is not None
        if others:
            raise ApiError(405, "method_not_allowed", f"{method} is not allowed here")
        raise ApiError(404, "not_found", "API endpoint not found")


@frozen(kw_only=True)
class Changes:
    """What a client may change of a resource with PUT.

    Args:
        known: A check for each field.
        apply: Changes what is neither name nor labels; is given the resource and the checked values.
    """

    known: Mapping[str, checks.Check]
    apply: Callable[[Any, Json], None] = lambda _resource, _values: None


RENAME = Changes(known={"name": checks.name, "labels": checks.labels})


def shared_routes(
    project: Project,
    kind: Kind,
    show: Callable[[Any], Json],
    *,
    changes: Changes = RENAME,
    filters: tuple[str, ...] = ("name",),
    sorts: tuple[str, ...] = ("id", "name", "created"),
    actions: bool = True,
) -> Iterable[Route]:
    """List, get and change resources of a kind, and look at their actions.

    Args:
        project: The state.
        kind: Which.
        show: Shows one.
        changes: What PUT may change.
        filters: Fields by whose values a list can be filtered.
        sorts: Fields by which it can be sorted.
        actions: Whether the API shows actions of this kind.
    """
    singular = SINGULAR[kind]

    def answer_list(request: Request) -> Answer:
        rows = [show(resource) for resource in project.table(kind).values()]
        return Answer(200, page_of(kind, rows, request.query, filters=filters, sorts=sorts))

    def answer_one(_request: Request, number: int) -> Answer:
        return Answer(200, {singular: show(project.get(kind, number))})

    def change(request: Request, number: int) -> Answer:
        resource = project.get(kind, number)
        values = checks.read_fields(request.body, changes.known)
        if "name" in values:
            project.require_unique(kind, values["name"], besides=resource)
        changes.apply(resource, values)
        resource.name = values.get("name", resource.name)
        resource.labels = values.get("labels", resource.labels)
        return Answer(200, {singular: show(resource)})

    yield "GET", f"/{kind}", answer_list
    yield "GET", rf"/{kind}/(\d+)", answer_one
    yield "PUT", rf"/{kind}/(\d+)", change
    if actions:
        yield from _action_routes(project, kind)


def _action_routes(project: Project, kind: Kind) -> Iterable[Route]:
    singular = SINGULAR[kind]

    def of_kind(request: Request) -> Answer:
        chosen = [one for one in project.actions.values() if any(of == singular for of, _ in one.resources)]
        wanted = request.query.words.get("id", ())
        return actions_page(request, [one for one in chosen if not wanted or str(one.id) in wanted])

    def of_one(request: Request, number: int) -> Answer:
        project.get(kind, number)
        return actions_page(request, [one for one in project.actions.values() if (singular, number) in one.resources])

    yield "GET", f"/{kind}/actions", of_kind
    yield "GET", rf"/{kind}/actions/(\d+)", lambda _request, number: answer_action(project, number, singular)
    yield "GET", rf"/{kind}/(\d+)/actions", of_one
    yield (
        "GET",
        rf"/{kind}/(\d+)/actions/(\d+)",
        lambda _request, owner, number: answer_action(project, number, singular, owner),
    )


def actions_page(request: Request, actions: Iterable[Action]) -> Answer:
    """List some actions."""
    rows = [show_action(action) for action in actions]
    return Answer(200, page_of("actions", rows, request.query, filters=("status",), sorts=_ACTION_SORTS))


def answer_action(project: Project, number: int, kind: str | None = None, owner: int | None = None) -> Answer:
    """Show an action.

    Args:
        project: The state.
        number: Its number.
        kind: What it must concern, singular; None for anything.
        owner: Number of what it must concern, or None for any.

    Raises:
        ApiError: There is none.
    """
    action = project.actions.get(number)
    concerned = action.resources if action else ()
    if action is None or not any(kind in (None, of) and owner in (None, one) for of, one in concerned):
        raise missing("action", number)
    return Answer(200, {"action": show_action(action)})


def change_protection(
    context: Context,
    kind: Kind,
    *fields: str,
    required: tuple[str, ...] = (),
    check: Callable[[Any, bool], object] = lambda _resource, _wanted: None,
) -> Route:
    """Let a client protect resources of a kind from deletion.

    Args:
        context: State and runner.
        kind: Which.
        fields: Names of the protections, which the API shows as equal.
        required: Those that must be named.
        check: Refuses a resource that cannot be protected, or no longer; is told whether it is to be protected.
    """
    singular = SINGULAR[kind]

    def change(request: Request, number: int) -> Answer:
        resource = context.project.get(kind, number)
        values = checks.read_fields(request.body, dict.fromkeys(fields, checks.boolean), required=required)
        if len(set(values.values())) > 1:
            raise ApiError(422, "invalid_input", f"{' and '.join(fields)} must be equal")
        wanted = next(iter(values.values()), resource.protected)
        check(resource, wanted)

        def protect() -> None:
            resource.protected = wanted

        action = context.runner.instant("change_protection", (singular, resource), do=protect)
        return Answer(201, {"action": show_action(action)})

    return "POST", rf"/{kind}/(\d+)/actions/change_protection", change


def require_unprotected(resource: Resource) -> None:
    """Refuse to delete what is protected.

    Raises:
        ApiError: It is.
    """
    if resource.protected:
        raise protected()


def require_unlocked(server: Server) -> Server:
    """Refuse what must wait until a server's actions have ended.

    Raises:
        ApiError: They have not.
    """
    if server.running or server.status == "deleting":
        raise locked()
    return server
