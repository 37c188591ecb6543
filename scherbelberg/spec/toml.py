# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster's wishes as TOML: read with every mistake named, written so that it reads back. Pure."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from attrs import asdict, fields

from scherbelberg.errors import BadInput
from scherbelberg.spec.model import DEFAULT_RANGE, ClusterSpec, Ports, Timeouts

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9}) ?([smhd]?)\Z")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
#: What a value must be: types as Python has them, and the words for them.
_TEXT: tuple[tuple[type, ...], str] = ((str,), "a text in quotation marks")
_NUMBER: tuple[tuple[type, ...], str] = ((int,), "a whole number")
_AMOUNT: tuple[tuple[type, ...], str] = ((int, float), "a number")
_TABLE: tuple[tuple[type, ...], str] = ((dict,), "a table")
_TEXTS: tuple[tuple[type, ...], str] = ((list,), "a list of texts")
_TEXT_OR_TEXTS: tuple[tuple[type, ...], str] = ((str, list), "a text in quotation marks or a list of such")
_YES_NO: tuple[tuple[type, ...], str] = ((bool,), "true or false")
_MONEY: tuple[tuple[type, ...], str] = ((int, float, str), "an amount of money")
_EITHER: tuple[tuple[type, ...], str] = ((int, str), "a whole number or a text in quotation marks")
_KINDS = {
    "prefix": _TEXT,
    "workers": _NUMBER,
    "min_workers": _NUMBER,
    "worker": _TEXT_OR_TEXTS,
    "scheduler": _TEXT,
    "location": _TEXT_OR_TEXTS,
    "image": _TEXT,
    "network_range": _TEXT,
    "max_hourly": _MONEY,
    "wait_s": _EITHER,
    "ttl_s": _EITHER,
    "idle_s": _EITHER,
    "warden": _YES_NO,
    "max_total": _MONEY,
    "processes": _EITHER,
    "threads": _NUMBER,
    "memory_limit": _TEXT,
    "resources": _TABLE,
    "ssh_from": _TEXTS,
    "direct": _TEXTS,
    "dashboard_origin": _TEXTS,
    "env": _TEXT,
    "packages": _TEXTS,
    "channels": _TEXTS,
    "allow_mismatch": _YES_NO,
    "ports": _TABLE,
    "timeouts": _TABLE,
}


def read_duration(text: str) -> int | None:
    """Read a time to live, or an idle time.

    Args:
        text: Such as ``12h``, ``90m``, ``2d``, ``3600`` or ``none``.

    Returns:
        Seconds, or None for no end.

    Raises:
        BadInput: It is none of these.
    """
    if text == "none":
        return None
    match = _DURATION.match(text)
    if match is None:
        raise BadInput(f"Invalid duration '{text}'. Use 12h, 90m, 2d, a number of seconds, or none.")
    return int(match[1]) * _UNITS_S[match[2]]


def read_resources(texts: Iterable[str]) -> dict[str, float]:
    """Read abstract resources.

    Args:
        texts: Each such as ``GPU=2``, or several of these with spaces or commas between them.

    Raises:
        BadInput: One is no name with a number.
    """
    found: dict[str, float] = {}
    for word in " ".join(texts).replace(",", " ").split():
        name, sign, amount = word.partition("=")
        if name in found:
            raise BadInput(f"The resource '{name}' is given twice. Give it once.")
        try:
            found[name] = float(amount)
        except ValueError:
            raise BadInput(f"Invalid resource '{word}'. Use a name with a number, such as GPU=2.") from None
        if not name or not sign:
            raise BadInput(f"Invalid resource '{word}'. Use a name with a number, such as GPU=2.")
    return found


def read_spec(text: str, *, source: str) -> dict[str, Any]:
    """Read a file of wishes.

    Args:
        text: TOML; its keys are the fields of `ClusterSpec`, with tables for ports, timeouts and resources.
        source: The file's name, for errors.

    Returns:
        Fields of `ClusterSpec` by name, those of the file alone; ranges of addresses may still be ``here``.

    Raises:
        BadInput: It is no TOML, or a key or a value in it cannot be.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} cannot be read as TOML: {error}.") from None
    _check_keys(found, [one.name for one in fields(ClusterSpec)], source)
    for name, value in found.items():
        _check_kind(name, value, _KINDS[name], source)
    for name in ("wait_s", "ttl_s", "idle_s"):
        if isinstance(found.get(name), str):
            found[name] = read_duration(found[name])
    for name, kind in (("ports", Ports), ("timeouts", Timeouts)):
        if name in found:
            found[name] = _read_table(found[name], kind, name, source)
    return found


def _read_table(table: Mapping[str, Any], kind: type[Ports] | type[Timeouts], name: str, source: str) -> Any:
    _check_keys(table, [one.name for one in fields(kind)], f"[{name}] of {source}")
    for key, value in table.items():
        _check_kind(f"{name}.{key}", value, _NUMBER if kind is Ports else _AMOUNT, source)
        if not value > 0:
            raise BadInput(f"{name}.{key} in {source} is {value!r}, and must be above 0.")
    return kind(**table)


def _check_keys(found: Iterable[str], known: list[str], source: str) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise BadInput(f"There is no '{name}' in {source} to set; did you mean '{near[0]}'?")


def _check_kind(name: str, value: Any, kind: tuple[tuple[type, ...], str], source: str) -> None:
    types, words = kind
    fits = isinstance(value, types) and isinstance(value, bool) == (types == (bool,))
    if fits and isinstance(value, list):
        fits = all(isinstance(one, str) for one in value)
    if not fits:
        raise BadInput(f"{name} in {source} is {value!r}, and must be {words}.")


def write_spec(spec: ClusterSpec) -> str:
    """Write wishes as TOML that `read_spec` reads back.

    What nobody asked for is left out where None or the surroundings decide.

    Args:
        spec: The wishes.
    """
    values = asdict(spec) | ({"ttl_s": "none"} if spec.ttl_s is None else {})
    if spec.network_range == DEFAULT_RANGE:
        del values["network_range"]
    for name in ("worker", "location"):
        values[name] = values[name] or None
    return write_toml({name: value for name, value in values.items() if value is not None})


def write_toml(document: Mapping[str, Any]) -> str:
    """Write TOML.

    Args:
        document: Keys with texts, numbers, truth values, lists of these, or tables of all that.
    """
    return "\n".join(_table_lines(document, ())) + "\n"


def _table_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(_key(name) for name in path)}]"] if path else []
    lines += [f"{_key(name)} = {_value(value)}" for name, value in table.items() if not isinstance(value, Mapping)]
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", *_table_lines(value, (*path, name))]
    return lines


def _key(name: str) -> str:
    return name if _BARE_KEY.match(name) else _text(name)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for one more character that TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Decimal):
        return _text(str(value))  # an amount of money is no binary fraction
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    raise TypeError(f"{type(value).__name__} has no place in a TOML file of ours")
