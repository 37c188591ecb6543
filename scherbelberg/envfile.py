# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that describe an environment: which kind one is, and what an environment.yml wishes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import yaml
from attrs import frozen

from scherbelberg.errors import BadInput
from scherbelberg.pypi import read_requirement
from scherbelberg.spec import LICENSED

#: Of an environment.yml, what means nothing for nodes.
_IGNORED = {"name", "prefix", "platforms"}
#: libyaml reads a lock of some thousand packages in a second instead of ten, where PyYAML has it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileKind(Enum):
    """What a file that describes an environment can be."""

    EXPLICIT = "explicit list"
    PIXI = "pixi.lock"
    CONDA_LOCK = "conda-lock.yml"
    WISH = "environment.yml"


@frozen(kw_only=True)
class EnvWish:
    """What an environment.yml asks for.

    Args:
        channels: In their order; empty if it names none.
        specs: Match specs of conda packages.
        pip: Requirements of packages from a Python index.
    """

    channels: tuple[str, ...]
    specs: tuple[str, ...]
    pip: tuple[str, ...] = ()


def kind_of(text: str, *, source: str) -> FileKind:
    """Tell what a file is by what is in it.

    Args:
        text: Its content.
        source: Its name, for the error.

    Raises:
        BadInput: It is none of these.
    """
    if re.search("^@EXPLICIT *\r?$", text, re.MULTILINE):
        return FileKind.EXPLICIT
    keys = set(re.findall("^[\"']?([A-Za-z_-]+)[\"']?[ ]*:", text, re.MULTILINE))
    if {"version", "environments"} <= keys:
        return FileKind.PIXI
    if {"version", "package"} <= keys:
        return FileKind.CONDA_LOCK
    if "dependencies" in keys:
        return FileKind.WISH
    kinds = ", ".join(kind.value for kind in FileKind)
    raise BadInput(f"{source} describes no environment: it can be one of {kinds}.")


def read_wish(text: str, *, source: str) -> EnvWish:
    """Read an environment.yml.

    Its name, prefix and platforms mean nothing for nodes. Variables are refused, since they would be missing there
    without a word.

    Args:
        text: Its content.
        source: Its name, for errors.

    Raises:
        BadInput: It is no environment.yml, or has something in it that nodes cannot have.
    """
    found = _read_mapping(text, source)
    if "variables" in found:
        raise BadInput(f"{source} sets variables, which an environment of nodes does not have: take them out.")
    unknown = set(found) - _IGNORED - {"channels", "dependencies"}
    if unknown:
        raise BadInput(f"{source} has '{sorted(map(str, unknown))[0]}' in it, which an environment.yml does not have.")
    rows = _list(found.get("dependencies"), "dependencies", source)
    sections = [_pip(row, source) for row in rows if isinstance(row, dict)]
    return EnvWish(
        channels=tuple(_channels(_list(found.get("channels"), "channels", source), source)),
        specs=tuple(_text(row, "dependencies", source) for row in rows if not isinstance(row, dict)),
        pip=tuple(read_requirement(one, source=source) for section in sections for one in section),
    )


def _read_mapping(text: str, source: str) -> dict[Any, Any]:
    try:
        found = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, either of the two
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadInput(f"{source} is no YAML{f' (line {mark.line + 1})' if mark else ''}.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{source} is no YAML mapping.")
    return found


def _list(found: Any, key: str, source: str) -> list[Any]:
    if not isinstance(found, list | None):
        raise BadInput(f"{source} has under '{key}' what is no list.")
    return found or []


def _text(row: Any, key: str, source: str) -> str:
    if not isinstance(row, str) or not row.strip():
        raise BadInput(f"{source} has '{row}' under '{key}', which is no text.")
    return row.strip()


def _pip(row: Mapping[Any, Any], source: str) -> list[str]:
    if set(row) != {"pip"}:
        raise BadInput(f"{source} has '{next(iter(row), '')}:' under 'dependencies', where only 'pip:' can be.")
    return [_text(one, "pip", source) for one in _list(row["pip"], "pip", source)]


def _channels(rows: Iterable[Any], source: str) -> Iterable[str]:
    for row in rows:
        channel = _text(row, "channels", source)
        if LICENSED.fullmatch(channel):
            raise BadInput(
                f"{source} wants the channel '{channel}', which is Anaconda's own and needs a licence of many: take"
                " conda-forge."
            )
        if channel != "nodefaults":
            yield channel


def left_out(text: str, *, source: str) -> frozenset[str]:
    """List what of a conda-lock.yml is for something else than running, such as tests.

    Args:
        text: Its content.
        source: Its name, for errors.

    Returns:
        Addresses of packages.

    Raises:
        BadInput: It is no YAML, or has no list of packages.
    """
    rows = _list(_read_mapping(text, source).get("package"), "package", source)
    by_category = [(str(row.get("url")), row.get("category", "main")) for row in rows if isinstance(row, dict)]
    return frozenset(url for url, _ in by_category) - {url for url, category in by_category if category == "main"}
