# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: TRY004 - every check raises ValueError, the one kind that the caller turns into an answer
"""Checks of request fields: each takes what came in, and answers it or raises ``ValueError`` with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from scherbelberg.sandbox.cloud.errors import invalid

Check = Callable[[Any], Any]

_DNS_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST_NAME = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_LABEL_WORD = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_RESERVED = "hetzner.cloud"


def read_fields(body: object, known: Mapping[str, Check], *, required: Collection[str] = ()) -> dict[str, Any]:
    """Check an object field by field.

    Args:
        body: What came in.
        known: A check for each field that there is.
        required: Names of the fields that must be there.

    Returns:
        The checked values of the fields that are there.

    Raises:
        ApiError: A field is unknown, missing or wrong.
    """
    if not isinstance(body, dict):
        raise invalid("body", "must be a JSON object")
    for name in body:
        if name not in known:
            raise invalid(name, "unknown field")
    for name in required:
        if name not in body:
            raise invalid(name, "Missing data for required field.")
    return {name: _read(name, known[name], value) for name, value in body.items()}


def _read(name: str, check: Check, value: object) -> Any:
    try:
        return check(value)
    except ValueError as reason:
        raise invalid(name, str(reason)) from None


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("Not a valid string.")
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("Not a valid boolean.")
    return value


def number(value: Any) -> int:
    """The number of a resource."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("Not a valid integer.")
    return value


def key(value: Any) -> int | str:
    """The number or the name of a resource."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else value
    return number(value)


def empty(value: Any) -> None:
    """A list without entries, for what the sandbox does not have."""
    if not isinstance(value, list) or value:
        raise ValueError("the sandbox does not have this")


def absent(_value: Any) -> None:
    """Nothing at all, for what the sandbox does not have."""
    raise ValueError("the sandbox does not have this")


def one_of(*words: str) -> Check:
    """Any of some words."""

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"Must be one of: {', '.join(words)}.")
        return str(value)

    return check


def list_of(check: Check, *, at_most: int = 100) -> Check:
    """A list whose entries pass a check."""

    def check_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("Not a valid list.")
        if len(value) > at_most:
            raise ValueError(f"Must have at most {at_most} entries.")
        return [check(entry) for entry in value]

    return check_list


def fields_of(known: Mapping[str, Check], *, required: Collection[str] = ()) -> Check:
    """An object within the body."""

    def check(value: Any) -> dict[str, Any]:
        return read_fields(value, known, required=required)

    return check


def name(value: Any) -> str:
    """The name of anything but a server."""
    if not 1 <= len(text(value)) <= 128 or not value.isprintable():
        raise ValueError("Must be 1 to 128 printable characters.")
    return str(value)


def host_name(value: Any) -> str:
    """The name of a server."""
    if len(text(value)) > 253 or not _HOST_NAME.fullmatch(value):
        raise ValueError("Must be a valid host name as of RFC 1123: letters, digits, dots and hyphens.")
    return str(value)


def labels(value: Any) -> dict[str, str]:
    """Labels."""
    if not isinstance(value, dict):
        raise ValueError("Not a valid mapping.")
    for label, word in value.items():
        if not label_key(label):
            raise ValueError(f"label key '{label}' is not correctly formatted")
        if label.split("/")[0] == _RESERVED or label.split("/")[0].endswith("." + _RESERVED):
            raise ValueError(f"label key '{label}' is reserved")
        if not isinstance(word, str) or (word and not _LABEL_WORD.fullmatch(word)):
            raise ValueError(f"label value '{word}' of key '{label}' is not correctly formatted")
    return dict(value)


def label_key(word: str) -> bool:
    """Tell whether this may be the key of a label."""
    prefix, slash, rest = word.rpartition("/")
    if slash and (len(prefix) > 253 or not _HOST_NAME.fullmatch(prefix)):
        return False
    return bool(_LABEL_WORD.fullmatch(rest))


def label_value(word: str) -> bool:
    """Tell whether this may be the value of a label."""
    return not word or bool(_LABEL_WORD.fullmatch(word))
