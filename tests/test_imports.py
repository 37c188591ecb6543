# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asking for help and importing the package cost nothing: no heavy library is loaded for it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import scherbelberg
from scherbelberg.cli.main import _COMMANDS

#: Loading any of these takes longer than printing a page of help.
HEAVY = ("distributed", "dask", "asyncssh", "hcloud", "cryptography", "rattler", "tornado", "requests", "numpy")
#: Runs the module as ``python -m scherbelberg`` does, once for each list of words, and tells what each of them loaded.
_ASK = """
import contextlib, io, json, runpy, sys
rows = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    sys.argv = ["scherbelberg", *words]
    code = None
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_module("scherbelberg", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    rows.append([code or 0, said.getvalue(), loaded])
print(json.dumps(rows))
"""
_SANDBOX = ("start", "stop", "status")


def _run(code: str, *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words],
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    return ran.stdout


def test_help_is_light() -> None:
    """Help of the program and of each command loads none of the heavy libraries, and is help."""
    asked = [["--help"], ["-h"], *([name, "--help"] for name in _COMMANDS)]
    asked += [["sandbox", name, "--help"] for name in _SANDBOX]
    rows = json.loads(_run(_ASK, json.dumps(asked)))
    assert len(rows) == len(asked)
    for words, (code, said, loaded) in zip(asked, rows, strict=True):
        assert (words, code, [name for name in HEAVY if name in loaded]) == (words, 0, [])
        assert said.startswith("Usage: scherbelberg"), words


def test_help_names_all_commands() -> None:
    """The program's help lists every command with a sentence."""
    ((_, said, _),) = json.loads(_run(_ASK, json.dumps([["--help"]])))
    listed = said.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(_COMMANDS)
    assert all(len(line.split()) > 3 for line in listed)


def test_package_is_light() -> None:
    """Importing the package loads nothing that is not Python's own."""
    code = "import sys; before = set(sys.modules); import scherbelberg; print(*(set(sys.modules) - before))"
    loaded = {name.partition(".")[0] for name in _run(code).split()}
    assert loaded - set(sys.stdlib_module_names) == {"scherbelberg"}


def test_words_are_light() -> None:
    """Values and errors of the public face need attrs at most."""
    code = "import sys; before = set(sys.modules); from scherbelberg import ClusterSpec, Event, ScherbelbergError;"
    loaded = {name.partition(".")[0] for name in _run(code + "print(*(set(sys.modules) - before))").split()}
    assert loaded - set(sys.stdlib_module_names) == {"scherbelberg", "attr", "attrs"}


@pytest.mark.parametrize("name", scherbelberg.__all__)
def test_public_names(name: str) -> None:
    """Every public name can be had from the package."""
    assert getattr(scherbelberg, name).__name__ == name


@pytest.mark.parametrize(
    "place",
    ["sync.Cluster", "sync.import_cluster", "errors.LeftOver", "spec.ClusterSpec", "spec.Ports", "spec.Timeouts"],
)
def test_public_places(place: str) -> None:
    """What programs import from modules, and not from the package, stays where it is."""
    module, _, name = place.partition(".")
    assert getattr(importlib.import_module(f"scherbelberg.{module}"), name).__name__ == name


def test_unknown_name() -> None:
    """A name that the package has not is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="module 'scherbelberg' has no attribute 'Custer'"):
        scherbelberg.Custer  # noqa: B018 - that it is not there is what is tested
