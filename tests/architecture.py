# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads Python source for the rules of the house: what it imports, what it uses, how it opens files."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = "scherbelberg"
ROOT = Path(__file__).parent.parent
#: Calls that open a file as text unless told otherwise, and the position of the mode among their arguments.
_OPENERS = {"open": 1, "io.open": 1, "os.fdopen": 1, "tempfile.NamedTemporaryFile": 0, "tempfile.TemporaryFile": 0}
_TEXT_METHODS = ("read_text", "write_text")
_MODE_LETTERS = set("rwxabt+")


@cache
def sources(folder: str) -> dict[str, ast.Module]:
    """Read all Python files below a folder of the project, by their paths."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for path in files
    }


def module_name(path: str) -> str:
    """Name a module of the package without the package: ``cli.sandbox``; the package itself is an empty name."""
    words = Path(path).with_suffix("").parts[1:]
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


@cache
def package() -> dict[str, ast.Module]:
    """Read all modules of the package, by name."""
    return {module_name(path): tree for path, tree in sources(PACKAGE).items()}


def is_in(module: str, rooms: Collection[str]) -> bool:
    """Whether a module is one of some rooms or below one."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk all that runs: everything but what stands under ``if TYPE_CHECKING``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and _dotted(child.test).endswith("TYPE_CHECKING"):
            for statement in child.orelse:
                yield from walk(statement)
        else:
            yield from walk(child)


def imports(tree: ast.AST, known: Collection[str]) -> set[str]:
    """List what a module imports anywhere, in functions too, by full names.

    Args:
        tree: The module.
        known: Names of our modules; a string that is the name of one counts as an import of it.
    """
    ours = {f"{PACKAGE}.{name}" for name in known if name}
    found = set()
    for node in walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            found |= {f"{home}.{alias.name}" if f"{home}.{alias.name}" in ours else home for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in ours:
            found.add(str(node.value))
    return found


def own_imports(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """List by module which other modules of the package it imports."""
    arrows = {}
    for name, tree in modules.items():
        found = {full for full in imports(tree, modules) if full == PACKAGE or full.startswith(f"{PACKAGE}.")}
        arrows[name] = {full.removeprefix(PACKAGE).removeprefix(".") for full in found} - {"", name}
    return arrows


@cache
def uses(tree: ast.AST) -> set[str]:
    """List all dotted names that a module uses, written as if every import were of a whole module."""
    known: dict[str, str] = {}
    for node in walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = set(known.values())
    for node in walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = _dotted(node).partition(".")
            found.add(known.get(first, first) + dot + rest)
    return found


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def is_used(wanted: str, used: Collection[str]) -> bool:
    """Whether a name, or a method if it begins with a dot, is among those used."""
    if wanted.startswith("."):
        return any(name.endswith(wanted) for name in used)
    return any(name == wanted or name.startswith(f"{wanted}.") for name in used)


def is_pure(tree: ast.AST) -> bool:
    """Whether nothing in a module waits."""
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    return not any(isinstance(node, waiting) for node in walk(tree))


def attrs_classes(tree: ast.AST) -> dict[str, str]:
    """List the classes that attrs makes, and how."""
    makers = {"attrs.frozen", "attrs.define", "attrs.mutable", "attr.s", "frozen", "define", "mutable"}
    return {
        node.name: ast.unparse(how)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for how in node.decorator_list
        if _dotted(how.func if isinstance(how, ast.Call) else how) in makers
    }


def files_without_encoding(tree: ast.AST) -> list[int]:
    """List the lines on which a file is opened, read or written as text in whatever encoding the computer prefers."""
    return [call.lineno for call in _calls_without_encoding(tree) if _is_of_text(call)]


def programs_without_encoding(tree: ast.AST) -> list[int]:
    """List the lines on which another program's words are taken for text in that encoding."""
    return [call.lineno for call in _calls_without_encoding(tree) if _asks_for_text(call)]


def _calls_without_encoding(tree: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if not any(keyword.arg == "encoding" for keyword in call.keywords)]


def _asks_for_text(call: ast.Call) -> bool:
    asked = [keyword.value for keyword in call.keywords if keyword.arg in {"text", "universal_newlines"}]
    return any(isinstance(value, ast.Constant) and value.value is True for value in asked)


def _is_of_text(call: ast.Call) -> bool:
    name = _dotted(call.func)
    method = name.rpartition(".")[2]
    if method in _TEXT_METHODS:
        # What is given by position is the encoding of a path's text, or the name of a distribution's file.
        return not (method == "read_text" and call.args)
    if name in _OPENERS:
        return "b" not in (_mode(call, _OPENERS[name]) or "r")
    if method != "open" or name.startswith(("tarfile.", "os.")):
        return False
    mode = _mode(call, 0)
    return not call.args if mode is None else "b" not in mode and set(mode) <= _MODE_LETTERS


def _mode(call: ast.Call, position: int) -> str | None:
    """The mode as far as it is written down."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[position : position + 1]
    value = values[0] if values else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
