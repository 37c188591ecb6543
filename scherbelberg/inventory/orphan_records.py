# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Looks for what outlives servers, remembers it in their cluster's folder, and tells it until it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection, Iterable

from attrs import frozen

from scherbelberg.cloud.hetzner import Hetzner, open_api
from scherbelberg.cloud.resources import Resource, Server
from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.errors import (
    LeftOver,
)
from scherbelberg.inventory.billing import known_prices
from scherbelberg.inventory.clusters import selector
from scherbelberg.inventory.listing import readable_folders
from scherbelberg.inventory.orphans import (
    Lists,
    Orphan,
    find_orphans,
    merge_orphans,
    read_orphan,
    sentence,
    still_listed,
    where_to_look,
    write_orphan,
)
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts
from scherbelberg.state.store import Folder, write_private

#: For the cloud to list what may stay, in seconds: servers that cost more wait to be deleted.
_LOOK_S = 10.0
#: In a cluster's folder: what outlives its servers.
_FILE = "outliving.json"
#: Is given what is forgotten.
Forget = Callable[[tuple[Orphan, ...]], object]


@frozen(kw_only=True)
class PaidOrphan:
    """Something that outlives a server of a cluster that is gone.

    Args:
        prefix: The cluster's name.
        uid: Its uid.
        what: It.
    """

    prefix: str
    uid: str
    what: Orphan


class OrphanRecorder:
    """What outlives the servers of a cluster that is given back.

    Args:
        hetzner: The project.
        prefix: The cluster's name.
        folders: Its folders on this computer; there may be none.
        forget: Is given what is paid for on, which then is no error; None makes it one.
    """

    def __init__(
        self, hetzner: Hetzner, prefix: str, folders: Collection[Folder], *, forget: Forget | None = None
    ) -> None:
        self._hetzner = hetzner
        self._prefix = prefix
        self._folders = folders
        self._forget = forget
        self._known = merge_orphans(*(read(folder) for folder in folders))

    async def record(self, found: Iterable[Resource]) -> None:
        """Look what will outlive servers, and write it down before the first one is deleted.

        Whatever goes wrong here, what is rented is given back all the same.

        Args:
            found: What there is of the cluster.
        """
        with contextlib.suppress(Exception):
            await self._record(found)

    async def _record(self, found: Iterable[Resource]) -> None:
        servers = [one for one in found if isinstance(one, Server)]
        lists = await _lists(self._hetzner, where_to_look(servers))
        fresh = find_orphans(servers, lists, None)
        if fresh:
            fresh = find_orphans(servers, lists, await known_prices(self._hetzner))
        self._known = merge_orphans(self._known, fresh)
        if not self._known:
            return
        text = json.dumps({"rows": [write_orphan(one) for one in self._known]}, indent=1)
        for folder in self._folders:
            with contextlib.suppress(OSError):  # another folder may take it
                write_private(folder.path / _FILE, text.encode())

    async def require_none(self) -> str:
        """Look whether anything has outlived the servers.

        Returns:
            What to tell of the end.

        Raises:
            LeftOver: Something has, and is not to be forgotten.
        """
        left = await _still_there(self._hetzner, self._known)
        if not left:
            return "nothing is left"
        if self._forget is None:
            names = tuple(one.description for one in left)
            raise LeftOver(sentence(left, self._prefix), left_over=names, is_rest=True)
        self._forget(left)
        return f"forgotten, and paid for until somebody deletes it: {', '.join(one.description for one in left)}"


def read(folder: Folder) -> tuple[Orphan, ...]:
    """What outlives the servers of a cluster, as far as its folder tells.

    Args:
        folder: The cluster's.
    """
    try:
        document = json.loads((folder.path / _FILE).read_text(encoding="utf-8"))
        return tuple(read_orphan(row) for row in document["rows"])
    except Exception:  # noqa: BLE001 - mostly there is none, and what makes no sense is lost
        return ()


async def check_paid_orphans(
    hetzner: Hetzner, settings: Settings, *, prefix: str | None = None
) -> tuple[PaidOrphan, ...]:
    """List what has outlived clusters of this computer; the cloud is asked only if there may be something.

    Args:
        hetzner: The project.
        settings: The ambient configuration.
        prefix: Only of clusters of this name.
    """
    known = {folder: rows for folder in readable_folders(settings, prefix=prefix) if (rows := read(folder))}
    counts = await gather_or_cancel(*(hetzner.count("servers", selector(uid=folder.uid)) for folder in known))
    gone = {folder: rows for (folder, rows), count in zip(known.items(), counts, strict=True) if not count}
    left = set(await _still_there(hetzner, merge_orphans(*gone.values())))
    return tuple(
        PaidOrphan(prefix=folder.prefix, uid=folder.uid, what=one)
        for folder, rows in gone.items()
        for one in rows
        if one in left
    )


async def _still_there(hetzner: Hetzner, known: Collection[Orphan]) -> tuple[Orphan, ...]:
    return still_listed(known, await _lists(hetzner, {one.collection for one in known}))


async def _lists(hetzner: Hetzner, names: Collection[str]) -> Lists:
    found = await gather_or_cancel(*(_list(hetzner, name) for name in names))
    return dict(zip(names, found, strict=True))  # type: ignore[arg-type] # the names are those of collections


async def _list(hetzner: Hetzner, name: str) -> list[dict[str, object]] | None:
    params = {"type": ["snapshot", "backup"]} if name == "images" else {}
    try:
        async with asyncio.timeout(_LOOK_S):
            return [dict(row) for row in await hetzner.rows(name, params)]
    except Exception:  # noqa: BLE001 - whatever keeps the cloud from telling: what costs more waits to be deleted
        return None


async def read_paid_orphans(settings: Settings, *, prefix: str | None = None) -> tuple[PaidOrphan, ...]:
    """List what has outlived clusters of this computer and is still paid for.

    Args:
        settings: The ambient configuration.
        prefix: Only of clusters of this name.
    """
    async with open_api(settings.access, Timeouts()) as hetzner:
        return await check_paid_orphans(hetzner, settings, prefix=prefix)
