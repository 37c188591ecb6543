# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The file of pins: one for Python, bash and Nix."""

from __future__ import annotations

import hashlib
import re

import pytest

from scherbelberg.environments.pins import SCRIPT_FILES, read_pins, script_digest
from scherbelberg.environments.shipped import shipped_files, shipped_pins
from scherbelberg.errors import BadInput
from scherbelberg.spec.toml import write_toml


def test_round_trip() -> None:
    """What is written of the pins reads back as it was."""
    pins = shipped_pins()
    assert read_pins(write_toml(pins.tables)) == pins
    assert set(pins.miniforge_sha256) == {"x86_64", "aarch64"}
    assert pins.miniforge_url.format(tag="T", machine="M").endswith("/T/Miniforge3-T-Linux-M.sh")


def test_simple_for_bash() -> None:
    """Each value is a text on a line of its own, so that a shell can read it, too."""
    lines = shipped_files()["pins.toml"].decode().splitlines()
    assert all(re.fullmatch(r'|#.*|\[[a-z0-9.]+\]|[a-z0-9_-]+ = "[^"\\]*"', line) for line in lines)


def test_script_digest() -> None:
    """Whatever runs on nodes is in the digest, in a fixed order; locks and pins are not."""
    files = shipped_files()
    assert set(SCRIPT_FILES) == set(files) - {"pins.toml"}
    assert script_digest(files) == hashlib.sha256(b"".join(files[name] for name in SCRIPT_FILES)).hexdigest()
    for name in SCRIPT_FILES:
        assert script_digest(files | {name: files[name] + b"x"}) != script_digest(files)


@pytest.mark.parametrize("text", ["", "[miniforge", "miniforge = 1", '[miniforge]\ntag = "1"\n', "[image]\n"])
def test_damaged(text: str) -> None:
    """Damaged pins are an error that says what to do."""
    with pytest.raises(BadInput, match=r"The pins of this installation, pins\.toml, cannot be read .*install it anew"):
        read_pins(text)
