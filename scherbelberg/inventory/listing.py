# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Looks at all that a project holds, and points at what somebody has forgotten."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from attrs import frozen

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Resource
from scherbelberg.inventory.clusters import Holding, holdings, selector
from scherbelberg.inventory.deadlines import overdue_line, soon_line, soon_s
from scherbelberg.inventory.validity import ending_line
from scherbelberg.lifecycle.deletion import inventory
from scherbelberg.notices import notice
from scherbelberg.settings import Settings
from scherbelberg.state.store import Folder, Store

_LOG = logging.getLogger("scherbelberg")


@frozen(kw_only=True)
class Kept:
    """A cluster that the cloud holds.

    Args:
        holding: What the cloud holds of it.
        folder: Its folder on this computer, or None.
        now_s: The API's clock when this was read, epoch seconds.
    """

    holding: Holding
    folder: Folder | None
    now_s: float


async def survey(hetzner: Hetzner, settings: Settings, *, untold: str | None = None) -> tuple[Kept, ...]:
    """List the clusters that the project holds, and tell users of those that are overdue or end, or soon will.

    All are listed, whatever the name that is meant: it is one question, and the answer shows what is forgotten.

    Args:
        hetzner: The project.
        settings: The surroundings.
        untold: Name of clusters of which users are not told, since their time is what is being changed.
    """
    found = kept(await inventory(hetzner, selector()), settings, now_s=hetzner.now_s)
    others = [one for one in found if one.holding.prefix != untold]
    point_out((one.holding for one in others), hetzner.now_s)
    for one in others:
        left_s = soon_s(one.holding, one.now_s)
        if one.folder is not None and left_s is not None:
            notice(soon_line(one.holding.prefix, left_s), about=one.holding.uid)
        if one.folder is not None and (line := ending_line(one.holding, one.now_s)):
            notice(line, about=f"certificates of {one.holding.uid}")
    return found


def point_out(found: Iterable[Holding], now_s: float) -> None:
    """Tell users of clusters that are overdue.

    Args:
        found: What the cloud holds.
        now_s: The API's clock, epoch seconds.
    """
    if late := overdue_line(found, now_s):
        notice(late, about="overdue")


def kept(found: Iterable[Resource], settings: Settings, *, now_s: float) -> tuple[Kept, ...]:
    """Sort what the cloud holds into clusters, beside what this computer has of them.

    Args:
        found: What it holds.
        settings: The surroundings.
        now_s: The API's clock, epoch seconds.
    """
    folders = {folder.uid: folder for folder in readable_folders(settings)}
    return tuple(Kept(holding=one, folder=folders.get(one.uid), now_s=now_s) for one in holdings(found))


def readable_folders(settings: Settings, *, prefix: str | None = None) -> tuple[Folder, ...]:
    """List the folders of clusters of this API on this computer, or none, with a warning, if they cannot be read.

    What the cloud holds is found, and can be deleted, without them.

    Args:
        settings: The surroundings.
        prefix: Only of clusters of this name.
    """
    try:
        return Store(settings.home).folders(prefix=prefix, endpoint=settings.access.endpoint)
    except OSError as error:
        _LOG.warning("The folders of clusters in %s cannot be read: %s", settings.home, error)
        return ()
