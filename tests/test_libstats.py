# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The demo's work: what is counted, and that the parts add up in any order."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg import libstats
from scherbelberg.libstats import NOTHING, Statistics, add, library_files, measure, total

_SOURCE = b'''"""def no class"""
import os


class Snake(object):
    def hiss(self): return b"\xc3\xa4"

    async  def bite(self):
        def inner(): pass


async def run(): ...
define = classy = 1
'''
_PARTS = st.lists(st.builds(Statistics, *[st.integers(0, 10**9)] * 7), max_size=20)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small standard library."""
    root = tmp_path / "python 3 größer"
    files = {
        "snake.py": _SOURCE,
        "empty.py": b"",
        "pack/age.PY": b"def",
        "pack/data.bin": b"\x00\xffclass X:\n",
        "pack/__pycache__/age.pyc": b"x",
        "site-packages/dask/core.py": b"x",
        "dist-packages/apt.py": b"x",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(root)}.__getitem__)
    return root


def test_library_files(library: Path) -> None:
    """All files are listed by their paths with slashes, without what was installed or compiled."""
    assert library_files() == ["empty.py", "pack/age.PY", "pack/data.bin", "snake.py"]


def test_measure_source(library: Path) -> None:
    """In source code lines, words, functions and classes are counted."""
    assert measure("snake.py") == Statistics(
        files=1, bytes=len(_SOURCE), modules=1, lines=13, words=25, functions=4, classes=1
    )
    assert measure("empty.py") == Statistics(1, 0, 1, 0, 0, 0, 0)


def test_measure_other_files(library: Path) -> None:
    """Of other files the size counts alone."""
    assert measure("pack/data.bin") == Statistics(1, 11, 0, 0, 0, 0, 0)


@CALM
@given(_PARTS, st.randoms(use_true_random=False))
def test_parts_add_up(parts: list[Statistics], shuffler: random.Random) -> None:
    """However the parts are grouped and ordered, the whole is the same, as Dask's fold needs it."""
    whole = total(parts)
    shuffled = list(parts)
    shuffler.shuffle(shuffled)
    middle = len(parts) // 2
    assert total(shuffled) == whole
    assert add(total(parts[:middle]), total(parts[middle:])) == whole
    assert functools.reduce(add, parts, NOTHING) == whole


def test_own_library() -> None:
    """The running Python's library is found, and a module that is surely there is measured."""
    names = library_files()
    assert {"os.py", "asyncio/base_events.py"} <= set(names)
    counted = measure("os.py")
    assert counted.bytes == (Path(sysconfig.get_path("stdlib")) / "os.py").stat().st_size
    assert counted.functions > 10
    assert not [name for name in names if "site-packages" in name or "__pycache__" in name]


def test_needs_the_standard_library_alone() -> None:
    """Nodes have nothing of ours: the module works where nothing but Python is installed."""
    code = f"import runpy; names = runpy.run_path({libstats.__file__!r}); print(names['measure']('os.py').files)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, timeout=60)
    assert ran.stdout.split() == [b"1"]
