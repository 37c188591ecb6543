# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""YAML without what others pass over in silence: a key that stands twice is an error; lists know their lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from scherbelberg.errors import BadInput

#: libyaml reads a lock of some thousand packages in a second instead of ten, where PyYAML has it.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Deeper than any file that people write; parsers of nested things end the program somewhere beyond.
_DEEPEST = 100
#: What PyYAML raises, beside its own errors, of values that are not what their tags say.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Rows(list[Any]):
    """A list that knows in which line each of its rows begins, counted from 1."""

    lines: tuple[int, ...] = ()


class Twice(yaml.MarkedYAMLError):
    """A key that stands twice in a mapping.

    Args:
        key: The key.
        first: Line of the first, counted from 1.
        second: Line of the second.
    """

    def __init__(self, key: object, first: int, second: int) -> None:
        super().__init__()
        self.words = f"has '{str(key)[:80]}' twice, in line {first} and in line {second}"


class _Loader(_BASE):  # type: ignore[misc] # which of the two it is, is known when it runs
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = self.construct_object(key), key.start_mark.line + 1
                if name in seen:
                    raise Twice(name, seen[name], line)
                seen[name] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def _rows(loader: Any, node: Any) -> Iterator[Rows]:
    rows = Rows()
    rows.lines = tuple(row.start_mark.line + 1 for row in node.value)
    yield rows
    rows.extend(loader.construct_sequence(node))


# What stands under '<<' has no line of its own; it is a key like others, but that it gives way to them.
_Loader.add_constructor("tag:yaml.org,2002:seq", _rows)
_Loader.add_constructor("tag:yaml.org,2002:merge", lambda loader, node: loader.construct_scalar(node))


def read_yaml(text: str, *, source: str) -> Any:
    """Read one YAML document.

    Args:
        text: The document.
        source: What it is called in errors.

    Returns:
        What it holds; lists are `Rows`.

    Raises:
        BadInput: It is no YAML, or has a key twice. Values are not repeated, since they may be secret.
    """
    loader = None
    try:
        _check_depth(text, source)
        loader = _Loader(text)
        return loader.get_single_data()
    except Twice as error:
        raise BadInput(f"{source} {error.words}. Remove one of them.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadInput(f"{source} is not valid YAML{f' (line {mark.line + 1})' if mark else ''}.") from None
    except _NONSENSE:
        raise BadInput(f"{source} is not valid YAML: a value does not match its tag.") from None
    finally:
        if loader is not None:
            loader.dispose()


def _check_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = getattr(event.start_mark, "line", 0) + 1
            raise BadInput(f"{source} is nested more than {_DEEPEST} deep (line {line}).")


def read_mapping(text: str, *, source: str) -> dict[Any, Any]:
    """Read a YAML document that is a mapping.

    Args:
        text: The document.
        source: What it is called in errors.

    Raises:
        BadInput: It is none, or as for `read_yaml`.
    """
    found = read_yaml(text, source=source)
    if not isinstance(found, dict):
        raise BadInput(f"{source} is not a YAML mapping.")
    return found
