# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lists: filtered by labels and fields, sorted, in pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from scherbelberg.sandbox.api.checks import label_key, label_value
from scherbelberg.sandbox.cloud.errors import invalid

Json = dict[str, Any]
_PER_PAGE, _PER_PAGE_LIMIT = 25, 50
_NUMBER = re.compile(r"[0-9]{1,18}")
Matches = Callable[[Mapping[str, str]], bool]
_COMMA = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUALS = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)")


@frozen(kw_only=True)
class Query:
    """The part of a URL behind its question mark.

    Args:
        words: Every parameter with all of its values.
    """

    words: Mapping[str, Sequence[str]]

    def last(self, name: str) -> str | None:
        """The last value of a parameter, or None."""
        values = self.words.get(name)
        return values[-1] if values else None

    def number(self, name: str, default: int, *, at_most: int | None = None) -> int:
        """A positive number.

        Raises:
            ApiError: It is none, or too large.
        """
        word = self.last(name)
        if word is None:
            return default
        if not _NUMBER.fullmatch(word) or int(word) < 1 or (at_most and int(word) > at_most):
            limit = f" and at most {at_most}" if at_most else ""
            raise invalid(name, f"must be a number of at least 1{limit}")
        return int(word)


def page_of(
    name: str, rows: Iterable[Json], query: Query, *, filters: Iterable[str], sorts: Iterable[str] | None
) -> Json:
    """Answer a list.

    Args:
        name: The field that holds the rows.
        rows: All of them.
        query: What the client asked for.
        filters: Fields by whose values the client may filter.
        sorts: Fields by which the client may sort; None for a list that knows no sorting, where wishes are ignored.
    """
    matches = read_selector(query.last("label_selector") or "")
    chosen = [row for row in rows if _passes(row, query, filters) and matches(row.get("labels", {}))]
    if sorts is not None:
        _sort(chosen, query, tuple(sorts))
    return {name: _cut(chosen, query), "meta": {"pagination": _pagination(len(chosen), query)}}


def _passes(row: Json, query: Query, filters: Iterable[str]) -> bool:
    return all(row.get(name) in query.words[name] for name in filters if name in query.words)


def _sort(rows: list[Json], query: Query, sorts: tuple[str, ...]) -> None:
    for word in reversed(query.words.get("sort", ())):
        name, _, direction = word.partition(":")
        if name not in sorts or direction not in ("", "asc", "desc"):
            raise invalid("sort", f"cannot sort by '{word}'")
        rows.sort(key=lambda row, name=name: _sortable(row[name]), reverse=direction == "desc")  # type: ignore[misc]


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, value  # a snapshot has no name, and nothing compares with None


def _page_size(query: Query) -> int:
    return query.number("per_page", _PER_PAGE, at_most=_PER_PAGE_LIMIT)


def _cut(rows: list[Json], query: Query) -> list[Json]:
    size = _page_size(query)
    start = (query.number("page", 1) - 1) * size
    return rows[start : start + size]


def _pagination(count: int, query: Query) -> Json:
    page, size = query.number("page", 1), _page_size(query)
    last = max(1, -(-count // size))
    return {
        "page": page,
        "per_page": size,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": count,
    }


def read_selector(words: str) -> Matches:
    """Read a label selector.

    Args:
        words: As the client sent it; the empty one matches everything.

    Returns:
        A test for a resource's labels.

    Raises:
        ApiError: The selector cannot be read.
    """
    if not words.strip():
        return lambda _labels: True
    parts = [_read_part(part.strip()) for part in _COMMA.split(words)]
    return lambda labels: all(part(labels) for part in parts)


def _read_part(part: str) -> Matches:
    if match := _SET.fullmatch(part):
        key, operator, inner = match.groups()
        return _value_in(key, {word.strip() for word in inner.split(",")}, inside=operator == "in")
    if match := _EQUALS.fullmatch(part):
        key, operator, word = match.groups()
        return _value_in(key, {word}, inside=operator != "!=")
    absent = part.startswith("!")
    key = _checked_key(part.removeprefix("!").strip())
    return lambda labels: (key in labels) is not absent


def _value_in(key: str, words: set[str], *, inside: bool) -> Matches:
    _checked_key(key)
    if not all(label_value(word) for word in words):
        raise invalid("label_selector", "a value is not correctly formatted")
    # As with Kubernetes: a resource without the label is one whose label has another value.
    return lambda labels: (labels.get(key) in words) is inside


def _checked_key(key: str) -> str:
    if not label_key(key):
        raise invalid("label_selector", f"'{key}' is not a label key")
    return key
