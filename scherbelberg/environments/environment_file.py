# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that describe an environment: which kind one is, and what an environment.yml wishes. Pure."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from attrs import frozen

from scherbelberg.environments.other_files import way_from
from scherbelberg.environments.pypi import normalized, read_requirement, without_secrets
from scherbelberg.errors import BadInput
from scherbelberg.spec.licence import check_licence_of_spec
from scherbelberg.spec.model import check_channel
from scherbelberg.spec.strict_yaml import Rows, read_mapping

#: The newest formats that are known.
_NEWEST_PIXI, _NEWEST_CONDA_LOCK = 7, 1
#: Of an environment.yml, what means nothing for nodes.
_IGNORED = {"name", "prefix", "platforms"}


class FileKind(Enum):
    """What a file that describes an environment can be."""

    EXPLICIT = "explicit list"
    PIXI = "pixi.lock"
    CONDA_LOCK = "conda-lock.yml"
    WISH = "environment.yml"
    PYLOCK = "pylock.toml"


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
    if re.search(r"^lock-version\s*=", text, re.MULTILINE):
        return FileKind.PYLOCK
    if way := way_from(text, source=source):
        raise BadInput(way)
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
    found = read_mapping(text, source=source)
    if "variables" in found:
        raise BadInput(f"{source} sets variables, which an environment of nodes does not have: take them out.")
    unknown = set(found) - _IGNORED - {"channels", "dependencies"}
    if unknown:
        raise BadInput(f"{source} has '{sorted(map(str, unknown))[0]}' in it, which an environment.yml does not have.")
    rows = _list(found.get("dependencies"), "dependencies", source)
    specs = [(line, row) for line, row in zip(rows.lines, rows, strict=True) if not isinstance(row, dict)]
    sections = [(line, row) for line, row in zip(rows.lines, rows, strict=True) if isinstance(row, dict)]
    _check_once([(line, "pip:", "") for line, _ in sections], "dependencies", source)
    return EnvWish(
        channels=tuple(_channels(_list(found.get("channels"), "channels", source), source)),
        specs=_specs(specs, source),
        pip=tuple(one for _, section in sections for one in _pip(section, source)),
    )


def _list(found: Any, key: str, source: str) -> Rows:
    if found is None:
        return Rows()
    if not isinstance(found, Rows):
        raise BadInput(f"{source} has under '{key}' what is no list.")
    return found


def _text(row: Any, key: str, source: str) -> str:
    if not isinstance(row, str) or not row.strip():
        raise BadInput(f"{source} has '{reprlib.repr(row)}' under '{key}', which is no text.")
    return row.strip()


def _specs(rows: Iterable[tuple[int, Any]], source: str) -> tuple[str, ...]:
    specs = [(line, _text(row, "dependencies", source)) for line, row in rows]
    for line, spec in specs:
        check_licence_of_spec(spec, what=f"{source} wants in line {line} '{spec}', whose channel")
    _check_once([(line, spec_name(spec), spec) for line, spec in specs], "dependencies", source)
    return tuple(spec for _, spec in specs)


def spec_name(spec: str) -> str:
    """Tell which conda package a match spec is about.

    Args:
        spec: Such as ``conda-forge::numpy >=2``.
    """
    return re.split(r"[\s=<>!~\[]", spec.rpartition("::")[2], maxsplit=1)[0].lower()


def _pip(row: Mapping[Any, Any], source: str) -> list[str]:
    if set(row) != {"pip"}:
        raise BadInput(f"{source} has '{next(iter(row), '')}:' under 'dependencies', where only 'pip:' can be.")
    rows = _list(row["pip"], "pip", source)
    found = [read_requirement(_text(one, "pip", source), source=source) for one in rows]
    # A marker may choose among several wishes for the same package.
    named = [(line, one) for line, one in zip(rows.lines, found, strict=True) if ";" not in one]
    names = [(line, normalized(re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0]), one) for line, one in named]
    _check_once(names, "pip", source)
    return found


def _check_once(rows: Iterable[tuple[int, str, str]], key: str, source: str) -> None:
    """Refuse a list that asks twice for the same: rows are line, name and text."""
    seen: dict[str, tuple[int, str]] = {}
    for line, name, said in rows:
        text = without_secrets(said)
        if name in seen:
            first, other = seen[name]
            raise BadInput(
                f"{source} has {name} twice under '{key}', in line {first}{f' ({other})' if other else ''} and in line"
                f" {line}{f' ({text})' if text else ''}: say all of it in one of them."
            )
        seen[name] = line, text


def _channels(rows: Iterable[Any], source: str) -> Iterable[str]:
    for row in rows:
        channel = _text(row, "channels", source)
        if channel == "nodefaults":
            continue
        try:
            if not channel.startswith("file://"):
                check_channel(channel)
        except BadInput as error:
            raise BadInput(f"{source} wants a channel that cannot be: {error.message}") from None
        yield channel


def check_pixi(text: str, *, source: str) -> None:
    """Refuse a pixi.lock that is newer than what can be read, or contradicts itself.

    Args:
        text: Its content.
        source: Its name, for errors.

    Raises:
        BadInput: It is such a one, or no YAML.
    """
    found = read_mapping(text, source=source)
    _check_version(found.get("version"), _NEWEST_PIXI, FileKind.PIXI, source)
    rows = _list(found.get("packages"), "packages", source)
    seen: dict[str, tuple[int, Any]] = {}
    for line, row in zip(rows.lines, rows, strict=True):
        if not isinstance(row, dict):
            raise BadInput(f"{source} has in line {line} what is no package: '{reprlib.repr(row)}'.")
        place = row.get("conda") or row.get("pypi") or row.get("url")
        if not isinstance(place, str) or "://" not in place:
            continue
        first, said = seen.setdefault(place, (line, row))
        if said != row:
            raise BadInput(f"{source} says two things of {without_secrets(place)}, in line {first} and in line {line}.")


def _check_version(version: Any, newest: int, kind: FileKind, source: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool):
        raise BadInput(f"{source} has as the version of its format '{reprlib.repr(version)}', which is no number.")
    if version > newest:
        raise BadInput(
            f"{source} is a {kind.value} of version {version}, newer than this scherbelberg, which knows them up to"
            f" {newest}: take a newer scherbelberg, or lock with an older program."
        )


def left_out(text: str, *, source: str) -> frozenset[str]:
    """List what of a conda-lock.yml is for something else than running, such as tests.

    Args:
        text: Its content.
        source: Its name, for errors.

    Returns:
        Addresses of packages.

    Raises:
        BadInput: It is no YAML, has no list of packages, or contradicts itself.
    """
    found = read_mapping(text, source=source)
    rows = _list(found.get("package"), "package", source)
    _check_version(found.get("version"), _NEWEST_CONDA_LOCK, FileKind.CONDA_LOCK, source)
    seen: dict[tuple[str, ...], tuple[int, Any]] = {}
    by_category: list[tuple[str, str]] = []
    for line, row in zip(rows.lines, rows, strict=True):
        if not isinstance(row, dict):
            raise BadInput(f"{source} has in line {line} what is no package: '{reprlib.repr(row)}'.")
        _check_texts(row, line, source)
        key = tuple(str(row.get(name)) for name in ("name", "platform", "manager"))
        first, said = seen.setdefault(key, (line, (row.get("url"), row.get("hash"))))
        if said != (row.get("url"), row.get("hash")):
            raise BadInput(
                f"{source} has {key[0]} twice for {key[1]}, in line {first} and in line {line}, with different files:"
                " lock anew."
            )
        by_category.append((str(row.get("url")), str(row.get("category", "main"))))
    return frozenset(url for url, _ in by_category) - {url for url, category in by_category if category == "main"}


def _check_texts(row: Mapping[Any, Any], line: int, source: str) -> None:
    for key in ("name", "version", "manager", "platform", "url", "category"):
        if key in row and not isinstance(row[key], str):
            raise BadInput(
                f"{source} has in line {line} the package {reprlib.repr(row.get('name'))} with a {key} that YAML does"
                f" not take for text ({reprlib.repr(row[key])}): put it into quotation marks."
            )
