# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The JSON Schemas of the documentation, and how strict they are with a document."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has stubs in a package that nothing else needs

FOLDER = Path(__file__).parent.parent / "docs" / "schema"
Json = dict[str, Any]
#: Maps whose keys are data: any of them may be missing.
MAPS = ("phases", "versions", "digests", "locks", "environ", "months")


def schema(name: str) -> Json:
    """Read a schema."""
    document: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def check(name: str) -> None:
    """Check that a schema is one, and that it leaves room for more fields."""
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert '"additionalProperties": false' not in (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def is_valid(name: str, document: Any) -> bool:
    """Whether a document is as a schema says."""
    return bool(jsonschema.Draft202012Validator(schema(name)).is_valid(document))


def read(name: str, text: str) -> Json:
    """Read exactly one document, and check it."""
    document: Json = json.loads(text)
    jsonschema.Draft202012Validator(schema(name)).validate(document)
    return document


def read_lines(text: str) -> list[Json]:
    """Read lines of JSON objects, and check each of them."""
    return [read("progress", line) for line in text.splitlines()]


def unpromised(name: str, document: Json) -> list[str]:
    """Paths of all fields that a schema does not ask for, or of whose type it says nothing."""
    return [path for path, broken in _broken(document) if is_valid(name, broken)]


def _broken(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with one field left out, or with nonsense in it; with the field's path."""
    for path in _paths(document):
        without = copy.deepcopy(document)
        del _at(without, path[:-1])[path[-1]]
        if path[-2:-1] not in [(name,) for name in MAPS]:
            yield f"without {path}", without
        nonsense = copy.deepcopy(document)
        _at(nonsense, path[:-1])[path[-1]] = [{"no": "sense"}]
        yield f"nonsense in {path}", nonsense


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*path, key)
            yield from _paths(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from _paths(value, (*path, number))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document
