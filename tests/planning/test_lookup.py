# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Finding types and images by name in a small catalogue, and the sentences where there is none."""

from __future__ import annotations

import pytest
from attrs import evolve
from catalogues import CATALOG, CPX11, CX23, IMAGES

from scherbelberg.errors import BadInput
from scherbelberg.planning.lookup import find_type, pick_image


def test_find_type() -> None:
    """A type is found by its whole name."""
    assert find_type("cx23", CATALOG) is CX23
    with pytest.raises(BadInput, match="did you mean 'cx23'"):
        find_type("cx", evolve(CATALOG, server_types=(CX23, CPX11)))


def test_newest_lts() -> None:
    """Without a wish: the newest Ubuntu LTS system image of the architecture that is not deprecated."""
    assert pick_image(None, "x86", CATALOG).name == "ubuntu-26.04"
    arm = pick_image(None, "arm", CATALOG)
    assert (arm.name, arm.architecture) == ("ubuntu-24.04", "arm")


def test_named_image() -> None:
    """An image is named by its name, which each architecture has once, or by its number."""
    assert pick_image("ubuntu-24.04", "x86", CATALOG).id == 3
    assert pick_image("ubuntu-24.04", "arm", CATALOG).id == 9
    assert pick_image("debian-30.04", "x86", CATALOG).id == 7
    assert pick_image("4711", "x86", CATALOG).kind == "snapshot"


@pytest.mark.parametrize(
    ("name", "architecture", "sentence"),
    [
        ("ubuntu-24.10", "x86", "There is no image 'ubuntu-24.10' for x86; did you mean 'ubuntu-24.04'?"),
        ("ubuntu-26.04", "arm", "There is no image 'ubuntu-26.04' for arm; did you mean 'ubuntu-24.04'?"),
        ("4711", "arm", "There is no image '4711' for arm; did you mean '4712'?"),
        ("nixos", "arm", "There is no image 'nixos' for arm; there are: 4712, ubuntu-22.04, ubuntu-24.04."),
    ],
)
def test_unknown_image(name: str, architecture: str, sentence: str) -> None:
    """An image that there is not, or not for this architecture, is refused with the nearest or all."""
    with pytest.raises(BadInput) as caught:
        pick_image(name, architecture, CATALOG)
    assert caught.value.message == sentence


@pytest.mark.parametrize("architecture", ["x86", "arm"])
def test_no_lts(architecture: str) -> None:
    """Where there is no LTS image the user is asked to name one."""
    others = tuple(one for one in IMAGES if one.id in {4, 5, 6, 7, 8, 4711})
    with pytest.raises(BadInput) as caught:
        pick_image(None, architecture, evolve(CATALOG, images=others))
    assert caught.value.message == (
        f"The cloud offers no Ubuntu LTS image for {architecture}; name another with --image."
    )
