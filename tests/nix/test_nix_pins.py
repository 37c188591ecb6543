# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What Nix takes from PyPI, and the program that keeps it up to date."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flakes import ROOT
from simple_index import SimpleIndex, wheel

from scherbelberg.environments.lock import CONDA_NAMES
from scherbelberg.environments.versions import REQUIRED

PINS = json.loads((ROOT / "nix" / "pins.json").read_text(encoding="utf-8"))
Pins = dict[str, Any]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program, without running it."""
    module = ModuleType("pins")
    path = ROOT / "nix" / "pins.py"
    module.__dict__["__file__"] = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module


def test_pins_agree() -> None:
    """Locks, extras, constraints and Nix have the same versions, and the hashes are those of constraints.txt."""
    done = subprocess.run(
        [sys.executable, ROOT / "nix" / "pins.py"], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_pinned(program: ModuleType) -> None:
    """Pinned is what must be equal on client and nodes, and what must be recent; each for all platforms."""
    assert {name: CONDA_NAMES.get(name, name) for name in REQUIRED} == program.LOCKED
    assert set(PINS) == {*REQUIRED, "asyncssh", "hcloud", "py-rattler"}
    for name, pin in PINS.items():
        assert set(pin["wheels"]) in ({"any"}, {"x86_64-linux", "aarch64-linux", "aarch64-darwin"}), name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda pins: pins.pop("toolz"), "it pins asyncssh"),
        (lambda pins: pins["dask"].update(version="1"), "it has dask 1, and main-py313-linux-64 has 2026"),
        (lambda pins: pins["asyncssh"].update(version="1"), "it has asyncssh 1, and constraints.txt has 2"),
        (lambda pins: pins["tornado"]["wheels"]["aarch64-linux"].update(hash="sha256-AA=="), "a hash of tornado"),
    ],
)
def test_stale(program: ModuleType, change: Callable[[Pins], object], complaint: str) -> None:
    """Whatever does not agree is told."""
    changed = copy.deepcopy(PINS)
    change(changed)
    assert program.complaints(changed)[0].startswith(complaint)


def test_extra_is_compared(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that pyproject.toml does not follow are told, too."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(text.replace('"toolz==', '"toolz==0.'), encoding="utf-8")
    for name in ("constraints.txt", "scherbelberg"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setitem(program.__dict__, "ROOT", tmp_path)
    assert program.complaints(PINS) == [
        f"it has toolz {PINS['toolz']['version']}, and pyproject.toml's extra main has another one"
    ]


def test_wheels_are_described(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """From whatever index pip uses, the best wheel for each platform is taken and described as fetchPypi wants it."""
    tags = [
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp310-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64",
        "cp39-abi3-macosx_10_9_universal2",
        # too new, and for another Python
        "cp313-cp313-manylinux_2_99_x86_64",
        "cp312-cp312-macosx_11_0_arm64",
    ]
    index = SimpleIndex(dict([wheel("py-small", "1.5", tag) for tag in tags] + [wheel("plain", "2")]))
    for name, value in {"INDEX_URL": index.url(), "EXTRA_INDEX_URL": "", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    try:
        found, plain = program.wheels("py-small", "1.5"), program.wheels("plain", "2")
    finally:
        index.close()
    pattern = "{pname}-{version}-{python}-{abi}-{platform}.whl"
    names = {system: pattern.format_map(pin) for system, pin in found.items()}
    assert names == {
        "x86_64-linux": f"py_small-1.5-{tags[0]}.whl",
        "aarch64-linux": f"py_small-1.5-{tags[1]}.whl",
        "aarch64-darwin": f"py_small-1.5-{tags[2]}.whl",
    }
    assert {pin["dist"] for pin in found.values()} == {"cp313", "cp310", "cp39"}
    assert all(program._hex(pin["hash"]) == index.sha256(names[system]) for system, pin in found.items())
    assert (list(plain), plain["any"]["platform"]) == (["any"], "any")
