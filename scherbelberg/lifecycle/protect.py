# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Guards a cluster that lives against deletion, and lifts that; needs nothing on this computer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Resource
from scherbelberg.concurrency.waiting import together
from scherbelberg.inventory.clusters import Holding
from scherbelberg.lifecycle.extend import find_one, remember
from scherbelberg.planning.plan import PROTECTED
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts


async def protect(settings: Settings, prefix: str, *, wanted: bool) -> Holding:
    """Guard a cluster against `destroy`, `nuke` and `gc`, and its servers against everybody; or lift that.

    Firewalls and SSH keys have no protection of the cloud's: a label tells who uses this library. What somebody has
    protected in the cloud's console is allowed again, too.

    Args:
        settings: The surroundings.
        prefix: The cluster's name.
        wanted: Whether it is to be protected.

    Returns:
        The cluster as it was before.

    Raises:
        ClusterNotFound: There is none of this name.
        ClusterBroken: It is being made, or half made.
        BadInput: It is not clear which cluster is meant.
    """
    found = await find_one(settings, prefix)
    holding = found.holding
    async with open_api(settings.access, Timeouts()) as hetzner:
        # A single label speaks for the whole cluster: interrupted in the middle, it is protected.
        if wanted:
            await _label(hetzner, holding.resources, {PROTECTED: "yes"})
        guarded = () if wanted else (one for one in holding.resources if one.is_guarded and one.kind != "servers")
        await together(*(hetzner.protect(one, wanted=wanted) for one in (*holding.servers, *guarded)))
        if not wanted:
            await _label(hetzner, holding.resources, {})
    remember(found, evolve(holding, is_protected=wanted))
    return holding


async def _label(hetzner: Hetzner, resources: Iterable[Resource], added: Mapping[str, str]) -> None:
    def labels(resource: Resource) -> dict[str, str]:
        return {key: value for key, value in resource.labels.items() if key != PROTECTED} | dict(added)

    await together(*(hetzner.set_labels(resource, labels(resource)) for resource in resources))
