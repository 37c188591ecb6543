# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""All that the API answers."""

from __future__ import annotations

from collections.abc import Iterable

from scherbelberg.sandbox.api import (
    catalog,
    firewalls,
    images,
    lacking,
    networks,
    placement_groups,
    primary_ips,
    server_actions,
    servers,
    ssh_keys,
)
from scherbelberg.sandbox.api.routing import Context, Route

_KINDS = (
    catalog,
    images,
    ssh_keys,
    networks,
    firewalls,
    placement_groups,
    primary_ips,
    servers,
    server_actions,
    lacking,
)


def all_routes(context: Context) -> Iterable[Route]:
    """List every route of every kind."""
    for kind in _KINDS:
        yield from kind.routes(context)
