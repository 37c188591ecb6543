# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is decided and claimed before anything is rented, and once more when a making goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from catalogues import CATALOG, credentials, identity, manifest

from scherbelberg.errors import ChannelUnreachable, ClusterExists
from scherbelberg.ordering import _decide, _resuming
from scherbelberg.shipped import shipped_pins
from scherbelberg.spec import ClusterSpec
from scherbelberg.store import Folder, Store


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The folder of a cluster whose making was interrupted."""
    made = Store(tmp_path).claim(evolve(manifest(), state="creating"), credentials())
    made.end_making()
    return made


def test_pinned_image() -> None:
    """Where nobody names an image it is the pinned one, also when the cloud has a newer one by now."""
    pinned = shipped_pins().image
    newest = [evolve(one, id=one.id + 500, name="ubuntu-28.04", version="28.04") for one in CATALOG.images]
    catalog = evolve(CATALOG, images=(*CATALOG.images, *newest))
    plan = _decide(ClusterSpec(), catalog, identity())
    assert {node.image.name for node in plan.nodes} == {pinned}
    assert plan.spec.image is None
    assert {node.image.name for node in _decide(ClusterSpec(image="ubuntu-28.04"), catalog, identity()).nodes} == {
        "ubuntu-28.04"
    }
    gone = evolve(CATALOG, images=tuple(newest))
    assert {node.image.name for node in _decide(ClusterSpec(), gone, identity()).nodes} == {"ubuntu-28.04"}


def test_resuming_is_claimed_at_once(folder: Folder) -> None:
    """From the moment that somebody goes on with a making, another one sees who it is; a failure ends that."""

    def go_on() -> None:
        with _resuming(folder):
            assert folder.maker is not None
            raise ChannelUnreachable("The channel does not answer.")

    with pytest.raises(ChannelUnreachable) as caught:
        go_on()
    assert folder.maker is None
    assert caught.value.message == (
        "The channel does not answer. What was made of cluster 'cluster' before stays: repeat this, or give it back"
        " with 'scherbelberg destroy -p cluster'."
    )


def test_other_options_say_it_themselves(folder: Folder) -> None:
    """What refuses to go on, and says what to do, is left as it is."""
    with pytest.raises(ClusterExists, match=r"^It began otherwise\.$"), _resuming(folder):
        raise ClusterExists("It began otherwise.")
