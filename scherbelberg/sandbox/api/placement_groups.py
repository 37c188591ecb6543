# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Placement groups."""

from __future__ import annotations

from collections.abc import Iterable

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.routing import Answer, Context, Request, Route, shared_routes
from scherbelberg.sandbox.api.views import Json, show_placement_group
from scherbelberg.sandbox.cloud.errors import in_use, over_limit, placement_error
from scherbelberg.sandbox.cloud.model import PlacementGroup
from scherbelberg.sandbox.cloud.project import Project

#: Most groups of a project, and most servers of a group that spreads them.
GROUPS = 50
SERVERS = 10


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project

    def show(group: PlacementGroup) -> Json:
        return show_placement_group(group, project)

    yield from shared_routes(project, "placement_groups", show, filters=("name", "type"), actions=False)
    yield "POST", "/placement_groups", lambda request: _make(project, request)
    yield "DELETE", r"/placement_groups/(\d+)", lambda _request, number: _remove(project, number)


def _make(project: Project, request: Request) -> Answer:
    known = {"name": checks.name, "labels": checks.labels, "type": checks.one_of("spread")}
    values = checks.read_fields(request.body, known, required=("name", "type"))
    project.require_unique("placement_groups", values["name"])
    if len(project.placement_groups) >= GROUPS:
        raise over_limit("placement_group_limit", f"a project has at most {GROUPS} placement groups")
    group = PlacementGroup(
        id=project.next_number(),
        created=project.clock.now(),
        name=values["name"],
        labels=values.get("labels", {}),
        type=values["type"],
    )
    project.placement_groups[group.id] = group
    return Answer(201, {"placement_group": show_placement_group(group, project), "action": None})


def _remove(project: Project, number: int) -> Answer:
    project.get("placement_groups", number)
    if project.group_members(project.placement_groups[number]):
        raise in_use("placement group", number)
    del project.placement_groups[number]
    return Answer(204)


def require_place(project: Project, group: PlacementGroup) -> None:
    """Refuse one more server in a group that is full.

    Raises:
        ApiError: It is.
    """
    if len(project.group_members(group)) >= SERVERS:
        raise placement_error(f"a spread placement group has at most {SERVERS} servers")
