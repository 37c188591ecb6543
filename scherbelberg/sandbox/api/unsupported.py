# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What Hetzner Cloud has and the sandbox has not, answered with 501 ``not_implemented``, a code of the sandbox's own.

A client that meets it has made no mistake, as "not found" would say: the same request works at Hetzner.
"""

from __future__ import annotations

from collections.abc import Iterable

from scherbelberg.sandbox.api.routing import Answer, Context, Request, Route
from scherbelberg.sandbox.cloud.errors import ApiError

_METHODS = ("GET", "POST", "PUT", "DELETE")
#: Kinds of resources, with all that lies below them.
KINDS = (
    "certificates",
    "floating_ips",
    "load_balancer_types",
    "load_balancers",
    "storage_box_types",
    "storage_boxes",
    "volumes",
    "zones",
)
#: Actions of servers.
ACTIONS = (
    "attach_iso",
    "change_alias_ips",
    "change_dns_ptr",
    "detach_iso",
    "disable_backup",
    "disable_rescue",
    "enable_backup",
    "enable_rescue",
    "rebuild",
    "request_console",
    "reset_password",
)


def routes(context: Context) -> Iterable[Route]:
    """List what would answer."""

    def refuse_kind(_request: Request) -> Answer:
        raise _not_implemented()

    def refuse_for_server(_request: Request, number: int) -> Answer:
        context.project.get("servers", number)
        raise _not_implemented()

    for method in _METHODS:
        yield method, rf"/(?:{'|'.join(KINDS)})(?:/.*)?", refuse_kind
    yield "POST", rf"/servers/(\d+)/actions/(?:{'|'.join(ACTIONS)})", refuse_for_server
    yield "GET", r"/servers/(\d+)/metrics", refuse_for_server


def _not_implemented() -> ApiError:
    return ApiError(501, "not_implemented", "the sandbox does not have this part of Hetzner Cloud")
