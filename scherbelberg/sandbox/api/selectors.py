# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Label selectors: ``k``, ``!k``, ``k=v``, ``k==v``, ``k!=v``, ``k in (a,b)``, ``k notin (a,b)``, joined by commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from scherbelberg.sandbox.api.checks import label_key, label_value
from scherbelberg.sandbox.cloud.errors import invalid

Matches = Callable[[Mapping[str, str]], bool]

_COMMA = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUALS = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)")


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
        return _chosen(key, {word.strip() for word in inner.split(",")}, inside=operator == "in")
    if match := _EQUALS.fullmatch(part):
        key, operator, word = match.groups()
        return _chosen(key, {word}, inside=operator != "!=")
    absent = part.startswith("!")
    key = _checked_key(part.removeprefix("!").strip())
    return lambda labels: (key in labels) is not absent


def _chosen(key: str, words: set[str], *, inside: bool) -> Matches:
    _checked_key(key)
    if not all(label_value(word) for word in words):
        raise invalid("label_selector", "a value is not correctly formatted")
    # As with Kubernetes: a resource without the label is one whose label has another value.
    return lambda labels: (labels.get(key) in words) is inside


def _checked_key(key: str) -> str:
    if not label_key(key):
        raise invalid("label_selector", f"'{key}' is not a label key")
    return key
