# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What this computer remembers against what a cloud holds: no paid cluster is forgotten by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from catalogues import credentials, identity, manifest
from surroundings import SHORT, folders, held

from scherbelberg.cloud.access import Access
from scherbelberg.errors import ClusterNotFound, StateDamaged
from scherbelberg.events import Event, ignore_events
from scherbelberg.inventory.listing import own_uids, remembered_folder
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.settings import Settings
from scherbelberg.spec.urls import HETZNER
from scherbelberg.state.store import Folder, Store

pytestmark = pytest.mark.hosts("scripted")

#: Nothing listens there.
NOBODY = Access(endpoint="http://127.0.0.1:9/v1", token="t", token_source="the test")


def _claim(home: Path, uid: str, *, endpoint: str = HETZNER, created_s: int = 1, damaged: bool = False) -> Folder:
    kept = evolve(manifest(endpoint=endpoint), identity=evolve(identity(uid=uid), created_s=created_s))
    folder = Store(home).claim(kept, credentials())
    if damaged:
        (folder.path / "manifest.json").write_text('{"schema": 2}', encoding="utf-8")
    return folder


@pytest.mark.parametrize("damaged", [True, False])
async def test_destroy_in_another_cloud(settings: Settings, damaged: bool) -> None:
    """A cluster at Hetzner is not found in a sandbox, and its folder stays, also where its manifest is damaged."""
    folder = _claim(settings.home, "01", damaged=damaged)
    with pytest.raises(ClusterNotFound, match="no cluster 'cluster' in this project of the cloud at"):
        await own_uids(settings, "cluster")
    await delete_clusters(settings, "cluster", ("01",), listener=ignore_events, timeouts=SHORT)
    assert folders(settings) == ["cluster-01"]
    assert folder.credentials()


async def test_folders_of_what_is_gone_are_dropped(settings: Settings) -> None:
    """What is proven gone is forgotten, damaged or not; neighbours of the name, and of other names, stay."""
    here = settings.access.endpoint
    for uid, damaged in (("01", True), ("02", False), ("03", False)):
        _claim(settings.home, uid, endpoint=here, damaged=damaged)
    _claim(settings.home, "04")
    told: list[Event] = []
    await delete_clusters(settings, "cluster", ("01", "02"), listener=told.append, timeouts=SHORT)
    await delete_clusters(settings, "clust", ("03",), listener=ignore_events, timeouts=SHORT)
    assert folders(settings) == ["cluster-03", "cluster-04"]
    assert told
    assert held(settings) == []


async def test_own_uids_ask_nobody(tmp_path: Path) -> None:
    """All that was begun here under a name is known without the cloud, what is damaged too."""
    settings = Settings(access=NOBODY, ssh_port=22, network_range="10.0.0.0/16", home=tmp_path, owner="o")
    _claim(tmp_path, "01", endpoint=NOBODY.endpoint, damaged=True)
    _claim(tmp_path, "02", endpoint=NOBODY.endpoint)
    _claim(tmp_path, "03")
    assert await own_uids(settings, "cluster") == ("01", "02")


def test_remembered_folder_is_the_newest(tmp_path: Path) -> None:
    """Of several folders of a name the newest of this cloud is meant, in whatever order they are listed."""
    assert remembered_folder(tmp_path, HETZNER, "cluster") is None
    for uid, created_s in (("01", 10), ("02", 30), ("03", 20)):
        _claim(tmp_path, uid, created_s=created_s)
    _claim(tmp_path, "04", endpoint=NOBODY.endpoint, created_s=40)
    found = remembered_folder(tmp_path, HETZNER, "cluster")
    assert found is not None
    assert found.uid == "02"
    assert remembered_folder(tmp_path, HETZNER, "clust") is None


def test_damaged_neighbour(tmp_path: Path) -> None:
    """A damaged folder does not hide one that can be read."""
    _claim(tmp_path, "01")
    _claim(tmp_path, "02", created_s=2, damaged=True)
    found = remembered_folder(tmp_path, HETZNER, "cluster")
    assert found is not None
    assert found.uid == "01"


def test_nothing_readable(tmp_path: Path) -> None:
    """Where all folders of a name are damaged, that is said, and not that there are none."""
    _claim(tmp_path, "01", damaged=True)
    _claim(tmp_path, "02", damaged=True)
    with pytest.raises(StateDamaged, match="'scherbelberg destroy -p cluster' still gives it back"):
        remembered_folder(tmp_path, HETZNER, "cluster")
