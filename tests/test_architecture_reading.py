# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The readers of source code see what they are to see, or the rules of the house would hold for nothing."""

from __future__ import annotations

import ast

import pytest
from architecture import (
    attrs_classes,
    files_without_encoding,
    imports,
    is_pure,
    is_used,
    module_name,
    own_imports,
    programs_without_encoding,
    uses,
)


def test_reading_of_imports() -> None:
    """The reader of imports sees those in functions and in strings, and not those for the type checker."""
    source = """
import os.path, click
from typing import TYPE_CHECKING
from scherbelberg import __version__
from scherbelberg.spec import model
from scherbelberg.cli import actions
from scherbelberg.errors import BadInput
if TYPE_CHECKING:
    import distributed
else:
    import rich
def later():
    import asyncssh
    importlib.import_module("scherbelberg.scheduler.client")
"""
    known = {"", "spec.model", "errors", "cli", "cli.actions", "scheduler.client"}
    assert imports(ast.parse(source), known) == {
        "os.path",
        "click",
        "typing",
        "scherbelberg",
        "scherbelberg.spec.model",
        "scherbelberg.cli.actions",
        "scherbelberg.errors",
        "rich",
        "asyncssh",
        "scherbelberg.scheduler.client",
    }
    assert own_imports({"x": ast.parse(source)} | dict.fromkeys(known, ast.parse("")))["x"] == known - {"", "cli"}
    assert [module_name(f"scherbelberg/{path}") for path in ("__init__.py", "spec/model.py", "cli/__init__.py")] == [
        "",
        "spec.model",
        "cli",
    ]


@pytest.mark.parametrize(
    ("source", "wanted", "expected"),
    [
        ("import os\nos.kill(1, 2)", "os.kill", True),
        ("import os as o\no.kill(1, 2)", "os.kill", True),
        ("from os import kill as k", "os.kill", True),
        ("import os\nos.killpg(1, 2)", "os.kill", False),
        ("import asyncio\ndef f():\n  asyncio.get_running_loop().add_signal_handler(2)", ".add_signal_handler", True),
        ("from time import sleep", "time.sleep", True),
        ("import os\ndef f(e=os.environ): e.get('x')", "os.environ", True),
        ("from os.path import join", "os", True),
        ("import signal", "signal", True),
        ("signals = 1", "signal", False),
        ("path.chmod(1)", ".chmod", True),
    ],
)
def test_reading_of_names(source: str, wanted: str, expected: bool) -> None:
    """The reader of names knows a name by whatever way it was imported."""
    assert is_used(wanted, uses(ast.parse(source))) is expected


@pytest.mark.parametrize(
    "source",
    [
        "open(p)",
        "open(p, 'w')",
        "open(p, mode='a')",
        "p.open()",
        "p.open('w')",
        "p.read_text()",
        "p.write_text(x)",
        "os.fdopen(1)",
        "tempfile.NamedTemporaryFile('w')",
    ],
)
def test_reading_of_encodings(source: str) -> None:
    """The reader of calls sees text whose encoding is not said, and is content when it is."""
    assert files_without_encoding(ast.parse(source)) == [1]
    assert files_without_encoding(ast.parse(f"{source[:-1]}, encoding='utf-8')".replace("(, ", "("))) == []


@pytest.mark.parametrize(
    "source",
    ["open(p, 'rb')", "p.open('xb')", "os.open(p, 1)", "remote.open(h, 1)", "tarfile.open(p)", "p.read_bytes()"],
)
def test_bytes_have_no_encoding(source: str) -> None:
    """Bytes need no encoding."""
    assert files_without_encoding(ast.parse(source)) == []


@pytest.mark.parametrize("source", ["async def f(): pass", "async with x: pass", "await x"])
def test_reading_of_waits(source: str) -> None:
    """The reader of waits sees all of them."""
    assert not is_pure(ast.parse(source))


def test_reading_of_programs() -> None:
    """The reader of calls sees programs whose words are taken for text in no encoding that is said."""
    source = "run(c, text=True)\nrun(c)\nrun(c, text=True, encoding='utf-8')\nrun(c, universal_newlines=True)"
    assert programs_without_encoding(ast.parse(source)) == [1, 4]


def test_reading_of_values() -> None:
    """The reader of classes sees those that attrs makes, and how."""
    source = "@frozen(kw_only=True)\nclass A: pass\n@define\nclass B: pass\n@other\nclass C: pass\nclass D: pass"
    assert attrs_classes(ast.parse(source)) == {"A": "frozen(kw_only=True)", "B": "define"}
