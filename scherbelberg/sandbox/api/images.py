# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Images: those that come with the cloud, and snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.routing import (
    Answer,
    Changes,
    Context,
    Route,
    change_protection,
    require_unprotected,
    shared_routes,
)
from scherbelberg.sandbox.api.views import Json, show_image
from scherbelberg.sandbox.cloud.errors import ApiError, in_use, invalid_combination
from scherbelberg.sandbox.cloud.model import Image

_FILTERS = ("name", "architecture", "type", "status", "bound_to")


def description(value: Any) -> str:
    """A line about an image."""
    if len(checks.text(value)) > 255:
        raise ValueError("Longer than maximum length 255.")
    return str(value)


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project
    known = {"description": description, "labels": checks.labels, "type": checks.one_of("snapshot")}
    changes = Changes(known=known, apply=_describe)
    yield from shared_routes(project, "images", show_image, changes=changes, filters=_FILTERS)
    yield "DELETE", r"/images/(\d+)", lambda _request, number: _remove(context, number)
    yield change_protection(context, "images", "delete", check=lambda image, _wanted: _require_own(image))


def _describe(image: Image, values: Json) -> None:
    _require_own(image)
    image.description = values.get("description", image.description)


def _require_own(image: Image) -> None:
    if image.kind != "snapshot":
        raise ApiError(403, "forbidden", "a system image cannot be changed")


def _remove(context: Context, number: int) -> Answer:
    context.project.get("images", number)
    image = context.project.images[number]
    _require_own(image)
    require_unprotected(image)
    if image.status == "creating":
        raise invalid_combination("the image is still being created")
    if any(server.image is image and server.status == "initializing" for server in context.project.servers.values()):
        raise in_use("image", number)
    context.servers.forget_image(image)
    return Answer(204)
