# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What changes in a catalogue from one look to the next, in words."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

Json = dict[str, Any]


def changes(before: Json, after: Json) -> list[str]:
    """Tell what is sold, for how much, and what the cloud says of its stock, as far as that has changed.

    Args:
        before: As `catalog_document` makes it.
        after: The same, later.

    Returns:
        A sentence for each server type and location, the cheapest type first; those that are sold no more come last.
    """
    old, new = dict(_offers(before)), dict(_offers(after))
    lines = [f"{words} {change}." for words, offer in new.items() if (change := _change(old.get(words), offer, after))]
    return [*lines, *(f"{words} is not sold any more." for words in old if words not in new)]


def _offers(document: Json) -> Iterator[tuple[str, Json]]:
    for kind in document["server_types"]:
        for offer in kind["offers"]:
            yield f"{kind['name']} in {offer['location']}", offer


def _change(old: Json | None, new: Json, document: Json) -> str:
    words = []
    price = f"{Decimal(new['hourly']['gross']):.4f} {document['currency']} an hour gross"
    if old is None:
        words.append(f"is sold now, for {price}")
    elif old["hourly"] != new["hourly"]:
        words.append(f"costs {price} now")
    if old is None or old["available"] != new["available"]:
        words.append("is in stock" if new["available"] else "is not in stock any more")
    return ", and ".join(words)
