# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers that do not carry a cluster's labels, and use what is the cluster's or bear its names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from scherbelberg.cloud.resources import Firewall, Resource


def is_ours(server: Resource, wanted: Mapping[str, str]) -> bool:
    """Whether a server is a cluster's, as far as its uid says, or else its name.

    Args:
        server: One that is not found by the cluster's labels.
        wanted: Those labels.
    """
    uid = server.labels.get("uid")
    if uid is not None:
        return uid == wanted.get("uid")
    return re.fullmatch(rf"{re.escape(wanted['prefix'])}-(scheduler|worker[0-9]*)", server.name) is not None


def selected(firewall: Firewall) -> str:
    """Say that a firewall stays as long as it is applied to labels, which a cluster's never is by us.

    Args:
        firewall: It.
    """
    labels = ", ".join(f"'{one}'" for one in firewall.selectors)
    return (
        f"Somebody has applied {firewall.described} to whatever has the labels {labels}: take that out of it in"
        " Hetzner's console."
    )


def sentence(server: Resource, used: Iterable[Resource], wanted: Mapping[str, str]) -> str:
    """Say what a server is to a cluster that is given back, and what to do about it.

    Args:
        server: One that is not found by the cluster's labels.
        used: What of the cluster's it uses.
        wanted: Those labels.
    """
    which = f"Server {server.name} (number {server.id})"
    what = " and ".join(one.described for one in used)
    if not is_ours(server, wanted):
        return (
            f"{which} uses {what}, and is none of cluster '{wanted['prefix']}': take it out of them in Hetzner's"
            " console, or delete it."
        )
    uses = f", which uses {what}," if what else ""
    return (
        f"{which}{uses} has lost the labels of cluster '{wanted['prefix']}' and is still paid for: if it is the"
        f" cluster's, 'hcloud server delete {server.id}' or Hetzner's console deletes it."
    )
