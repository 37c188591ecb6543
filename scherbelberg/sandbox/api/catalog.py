# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be had: locations, server types and prices, and the lists that are empty or gone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scherbelberg.sandbox.api.listing import page_of
from scherbelberg.sandbox.api.routing import Answer, Context, Json, Request, Route, actions_page, answer_action
from scherbelberg.sandbox.cloud.errors import ApiError, missing

_ACTION_IDS = 25
_CHANGELOG = {"announcement": "https://docs.hetzner.cloud/changelog"}


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    catalog, project = context.project.catalog, context.project
    yield from _fixed("locations", "location", [row.row for row in catalog.locations], sorts=("id", "name"))
    yield from _fixed("server_types", "server_type", [row.row for row in catalog.server_types])
    yield from _fixed("isos", "iso", [])
    yield "GET", "/pricing", lambda _request: Answer(200, {"pricing": catalog.pricing})
    yield "GET", r"/datacenters(?:/\d+)?", _datacenters
    yield "GET", "/actions", lambda request: _actions(context, request)
    yield "GET", r"/actions/(\d+)", lambda _request, number: answer_action(project, number)


def _fixed(plural: str, singular: str, rows: list[Json], *, sorts: tuple[str, ...] | None = None) -> Iterable[Route]:
    def answer_list(request: Request) -> Answer:
        return Answer(200, page_of(plural, rows, request.query, filters=("name",), sorts=sorts))

    def answer_one(_request: Request, number: int) -> Answer:
        found = next((row for row in rows if row["id"] == number), None)
        if found is None:
            raise missing(singular, number)
        return Answer(200, {singular: found})

    yield "GET", f"/{plural}", answer_list
    yield "GET", rf"/{plural}/(\d+)", answer_one


def _datacenters(_request: Request) -> Answer:
    raise ApiError(410, "deprecated_api_endpoint", "datacenters were removed", _CHANGELOG)


def _actions(context: Context, request: Request) -> Answer:
    words = request.query.words.get("id", ())
    if not words:
        message = "listing arbitrary actions was removed, use the id parameter"
        raise ApiError(410, "deprecated_api_endpoint", message, _CHANGELOG)
    if len(words) > _ACTION_IDS or not all(re.fullmatch(r"[0-9]{1,18}", word) for word in words):
        raise ApiError(422, "invalid_input", f"id takes at most {_ACTION_IDS} numbers")
    known = context.project.actions
    return actions_page(request, [known[int(word)] for word in dict.fromkeys(words) if int(word) in known])
