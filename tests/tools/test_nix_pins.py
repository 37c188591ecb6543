# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What Nix takes from PyPI, and the program that keeps it up to date."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nix_pins
import pytest
from architecture import ROOT
from changed_locks import with_version
from clones import clone
from nix_pins import LOCK, RECENT, complaints, main, wheels
from refresh_locks import ship
from repository import locks_in
from simple_index import SimpleIndex, wheel

from scherbelberg.environments.versions import REQUIRED

__all__ = ["clone"]

PINS = json.loads((ROOT / "nix" / "pins.json").read_text(encoding="utf-8"))
Pins = dict[str, Any]


def test_what_is_pinned() -> None:
    """Pinned is what must be equal on client and nodes, and what must be recent; each for all platforms."""
    assert complaints(PINS, ROOT) == []
    assert set(PINS) == {*REQUIRED, *RECENT}
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
def test_stale(change: Callable[[Pins], object], complaint: str) -> None:
    """Whatever does not agree is told."""
    changed = copy.deepcopy(PINS)
    change(changed)
    assert complaints(changed)[0].startswith(complaint)


def test_one_version_for_nix(clone: Path) -> None:
    """Locks of nixpkgs' Python that have different versions are told, and constraints that lack what must be recent."""
    (clone / "constraints.txt").write_text("hcloud==2.27.0\n", encoding="utf-8")
    assert complaints(PINS, clone) == ["constraints.txt has no asyncssh, py-rattler"]
    ship(with_version(locks_in(clone)["science-py313-linux-aarch64"], "toolz", "1.0.0"), clone)
    assert complaints(PINS, clone) == [
        f"science-py313-linux-aarch64 and {LOCK} have other versions, of which Nix can have but one"
    ]


def test_written(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written has the wanted versions, and is checked like all that is pinned."""
    path = clone / "nix" / "pins.json"
    path.write_text("{}", encoding="utf-8")
    monkeypatch.setattr(nix_pins, "wheels", lambda name, version: PINS[name]["wheels"])
    main(clone)
    assert path.read_bytes() == (ROOT / "nix" / "pins.json").read_bytes()
    monkeypatch.setattr(nix_pins, "wheels", lambda name, version: {"any": {"hash": "sha256-AA=="}})
    with pytest.raises(SystemExit, match=r"nix/pins\.json is still wrong: a hash of asyncssh"):
        main(clone)


def test_wheels_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
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
        found, plain = wheels("py-small", "1.5"), wheels("plain", "2")
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
    assert all(nix_pins._hex(pin["hash"]) == index.sha256(names[system]) for system, pin in found.items())
    assert (list(plain), plain["any"]["platform"]) == (["any"], "any")
