# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Stock and quotas: what an order may be refused for although nothing is wrong with it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from scherbelberg.sandbox.cloud.catalogue import Location, ServerType
from scherbelberg.sandbox.cloud.errors import ApiError, invalid_combination, over_limit
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.faults import Disguise, Faults


def require_quota(project: Project, faults: Faults, *, addresses: int) -> None:
    """Refuse one more server.

    Args:
        project: The state.
        faults: The quotas.
        addresses: Number of primary IPs that come with it.

    Raises:
        ApiError: The account may not have it.
    """
    if faults.servers is not None and len(project.servers) >= faults.servers:
        raise over_limit("server_limit", "server_limit exceeded")
    if faults.primary_ips is not None and len(project.primary_ips) + addresses > faults.primary_ips:
        raise over_limit("primary_ip_limit", "primary_ip_limit exceeded")


def require_stock(faults: Faults, server_type: ServerType, location: Location) -> None:
    """Refuse what is sold out, in one of Hetzner's ways.

    Raises:
        ApiError: It is.
    """
    for row in faults.sold_out:
        if fnmatchcase(server_type.name, row.server_type) and fnmatchcase(location.name, row.location):
            raise _disguised(row.disguise, server_type)


def _disguised(disguise: Disguise, server_type: ServerType) -> ApiError:
    match disguise:
        case "placement":
            return ApiError(412, "resource_unavailable", "error during placement")
        case "location_disabled":
            return ApiError(412, "resource_unavailable", "server location disabled")
        case "unsupported_location":
            return invalid_combination("unsupported location for server type")
        case "deprecated_type":
            return invalid_combination(f"server type {server_type.id} is deprecated")
