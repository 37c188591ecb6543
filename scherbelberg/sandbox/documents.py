# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Options, faults and clock of a sandbox as JSON documents, whose keys are the fields of the values."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from attrs import asdict

from scherbelberg.errors import BadInput
from scherbelberg.sandbox.words import ActionFault, Faults, HostFault, Options, RequestFault, SoldOut

T = TypeVar("T", Faults, Options, RequestFault, SoldOut, ActionFault, HostFault)
#: A century: dates stay dates.
_FARTHEST_S = 100 * 365.0 * 86400
_NESTED: dict[str, Any] = {"requests": RequestFault, "sold_out": SoldOut, "actions": ActionFault, "hosts": HostFault}


def read_faults(text: str) -> Faults:
    """Read what goes wrong on purpose.

    Args:
        text: A JSON object.

    Raises:
        BadInput: It is none, or has keys or values that there are not.
    """
    return _faults(_object(text))


def read_options(text: str) -> Options:
    """Read how a sandbox is.

    Args:
        text: A JSON object.

    Raises:
        BadInput: It is none, or has keys or values that there are not.
    """
    row = _object(text)
    return _make(Options, row | {"faults": _faults(row.get("faults", {}))})


def write(value: Faults | Options) -> str:
    """Write options or faults."""
    return json.dumps(asdict(value))


def read_ahead(text: str) -> float:
    """Read by how much the clock is to be ahead of this computer's.

    Args:
        text: A JSON object with ``ahead_s``, in seconds.

    Raises:
        BadInput: It is none, or says no such number.
    """
    row = _object(text)
    ahead_s = row.get("ahead_s")
    fits = isinstance(ahead_s, int | float) and not isinstance(ahead_s, bool) and 0 <= ahead_s <= _FARTHEST_S
    if set(row) != {"ahead_s"} or ahead_s is None or not fits:
        raise BadInput('The clock of the sandbox: {"ahead_s": 3600} is needed here, in seconds.')
    return float(ahead_s)


def write_ahead(ahead_s: float) -> str:
    """Write by how much the clock is ahead.

    Args:
        ahead_s: In seconds.
    """
    return json.dumps({"ahead_s": ahead_s})


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise BadInput(f"This is no JSON: {error}.") from None
    if not isinstance(row, dict):
        raise BadInput("A JSON object is needed here.")
    return row


def _faults(row: dict[str, Any]) -> Faults:
    values = dict(row)
    for name, kind in _NESTED.items():
        values[name] = tuple(_make(kind, one) for one in _rows(values, name))
    values["dead"] = tuple(_rows(values, "dead"))
    return _make(Faults, values)


def _rows(values: dict[str, Any], name: str) -> list[Any]:
    rows = values.get(name, [])
    if not isinstance(rows, list):
        raise BadInput(f"Faults of the sandbox: '{name}' must be a list.")
    return rows


def _make(kind: type[T], row: dict[str, Any]) -> T:
    if not isinstance(row, dict):
        raise BadInput(f"{kind.__name__} of the sandbox: {row!r} must be an object.")
    try:
        return kind(**row)
    except (TypeError, ValueError) as error:
        # attrs names the class's method: what went wrong comes last.
        raise BadInput(f"{kind.__name__} of the sandbox: {str(error.args[0]).split('() ')[-1]}.") from None
