# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what clusters have cost when they are gone, and notes it in this computer's history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from scherbelberg.catalog import PriceList, Resource
from scherbelberg.cloud import Hetzner
from scherbelberg.errors import ScherbelbergError, StateDamaged
from scherbelberg.history import History
from scherbelberg.holdings import holdings
from scherbelberg.ledger import Entry, entry
from scherbelberg.settings import Settings

#: For the cloud to name its prices, in seconds.
_PRICES_S = 10.0
_LOG = logging.getLogger("scherbelberg")


async def billed(hetzner: Hetzner, settings: Settings, gone: Iterable[Resource]) -> tuple[Entry, ...]:
    """Count what clusters have cost, and note it.

    Args:
        hetzner: The project.
        settings: The surroundings.
        gone: What was deleted just now, of any clusters.

    Returns:
        An entry for each cluster of which a server is gone; without a price if the cloud does not tell.
    """
    clusters = [one for one in holdings(gone) if one.servers]
    if not clusters:
        return ()
    ended_s = hetzner.now_s
    prices = await known_prices(hetzner)
    endpoint = settings.access.endpoint
    entries = tuple(entry(one, prices, endpoint=endpoint, ended_s=ended_s) for one in clusters)
    history = History(settings.home)
    for one in entries:
        try:
            history.append(one)
        except StateDamaged as error:
            # What is gone is gone, and why it went may be an error that counts for more.
            _LOG.warning("%s", error.message)
    return entries


def noted(settings: Settings, uids: Iterable[str]) -> tuple[Entry, ...]:
    """What was given back of clusters before, as far as this computer's history can be read.

    Args:
        settings: The surroundings.
        uids: Of which.
    """
    wanted = set(uids)
    try:
        entries, _ = History(settings.home).read()
    except StateDamaged:
        return ()
    return tuple(one for one in entries if one.endpoint == settings.access.endpoint and one.uid in wanted)


async def known_prices(hetzner: Hetzner) -> PriceList | None:
    """Read what the cloud charges, or None if it does not tell: who looks or gives back is not kept by that.

    Args:
        hetzner: The project.
    """
    try:
        async with asyncio.timeout(_PRICES_S):
            return await hetzner.prices()
    except (TimeoutError, ScherbelbergError):
        return None
