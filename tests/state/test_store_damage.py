# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters' folders with something broken in them: it is said what, where, and how the cluster is given back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from catalogues import credentials, manifest

from scherbelberg.errors import StateDamaged
from scherbelberg.state.store import Folder, Store


@pytest.fixture
def folder(home: Path) -> Folder:
    """A cluster's folder with everything in it, in a home folder whose name is not plain."""
    return Store(home).claim(manifest(), credentials())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_save_loses_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """When the disk is full, what was saved before is still there in full."""

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StateDamaged, match="No space left") as caught:
        folder.save(evolve(manifest(), state="creating"))
    assert str(folder.path / "manifest.json") in caught.value.message
    assert folder.read() == manifest()


@pytest.mark.parametrize("name", ["manifest.json", "known_hosts", "id_ed25519", "client-key.pem", "maker"])
def test_file_that_cannot_be_written_is_named(folder: Folder, name: str) -> None:
    """Whatever cannot be saved is an error about this computer, which names the file."""
    path = folder.path / name
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(StateDamaged) as caught:
        Store(folder.path.parents[1]).claim(manifest(), credentials())
    assert caught.value.message.startswith(f"The file {path} of cluster 'cluster' on this computer cannot be written:")
    assert (caught.value.node, caught.value.code) == (None, "state_damaged")


@pytest.mark.parametrize("name", ["planted.json", "maker"])
def test_file_that_cannot_be_deleted_is_named(folder: Folder, name: str) -> None:
    """A file that stays where it should go is an error about this computer, too."""
    path = folder.path / name
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    forget = folder.forget_planted if name == "planted.json" else folder.end_making
    with pytest.raises(StateDamaged, match="cannot be deleted") as caught:
        forget()
    assert str(path) in caught.value.message


def _damaged(folder: Folder) -> str:
    with pytest.raises(StateDamaged) as caught:
        folder.read()
    return caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b"{}", b"[" * 20, b"null,", b'{"schema": 2}', b'{"schema": "1"}'),
        *(b"null", b"5", b'"x"', b"true", b"[" * 100_000),
    ],
)
def test_damaged_manifest(folder: Folder, content: bytes) -> None:
    """A manifest that makes no sense is reported with its path and the way out, and is left as it is."""
    path = folder.path / "manifest.json"
    path.write_bytes(content)
    said = _damaged(folder)
    assert said.startswith(f"The record of cluster 'cluster' on this computer, {path}, cannot be read (")
    assert said.endswith("); 'scherbelberg destroy -p cluster' still gives it back.")
    assert path.read_bytes() == content


def test_missing_manifest(folder: Folder) -> None:
    """A manifest that is gone is reported in the same way."""
    (folder.path / "manifest.json").unlink()
    assert "FileNotFoundError" in _damaged(folder)


def test_manifest_that_was_cut_off(folder: Folder) -> None:
    """A manifest is never half read, wherever it was cut off."""
    path = folder.path / "manifest.json"
    whole = path.read_bytes()
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        assert _damaged(folder)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("schema",), 1),
        (("schema",), None),
        (("identity",), None),
        (("identity",), {}),
        (("identity", "shoe_size"), 43),
        (("identity", "created_s"), "yesterday"),
        (("identity", "created_s"), None),
        (("identity", "deadline_s"), "tomorrow"),
        (("spec",), []),
        (("spec", "prefix"), "Größe"),
        (("spec", "workers"), 0),
        (("spec", "network_range"), "moon"),
        (("spec", "ports"), None),
        (("spec", "ports", "nanny"), 70000),
        (("ssh_port",), "22"),
        (("location",), None),
        (("phases",), None),
        (("versions",), []),
        (("spec", "timeouts", "tea"), 5),
        (("nodes",), None),
        (("nodes",), [None]),
        (("nodes",), [{}]),
        (("nodes",), {}),
        (("nodes", 0, "host_keys"), None),
        (("colour",), "green"),
    ],
)
def test_manifest_of_another_kind(folder: Folder, keys: tuple[Any, ...], value: object) -> None:
    """A manifest of another schema, with other fields or with values that cannot be is damaged."""
    path = folder.path / "manifest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    assert _damaged(folder)


def test_other_schema_is_explained(folder: Folder) -> None:
    """The record of another version says so."""
    (folder.path / "manifest.json").write_text('{"schema": 99}', encoding="utf-8")
    assert "it was written by another version of scherbelberg" in _damaged(folder)


@pytest.mark.parametrize("how", ["missing", "empty"])
@pytest.mark.parametrize(
    "name", ["id_ed25519", "id_ed25519.pub", "ca.pem", "ca-key.pem", "client.pem", "client-key.pem"]
)
def test_lost_key(folder: Folder, name: str, how: str) -> None:
    """A key that is gone or cut off is reported with the way out; the manifest can be read all the same."""
    (folder.path / name).unlink()
    if how == "empty":
        (folder.path / name).touch()
    with pytest.raises(StateDamaged, match=r"The keys of cluster 'cluster' .* still gives it back\."):
        folder.credentials()
    assert folder.read() == manifest()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff", b"null", b"[]", b"5"),
        *(b'{"scheduler": []}', b'{"scheduler": ["a"]}', b'{"scheduler": null}', b'{"scheduler": {}}'),
    ],
)
def test_damaged_planted_keys(folder: Folder, content: bytes) -> None:
    """Planted keys that make no sense are damage too, and are not shown."""
    (folder.path / "planted.json").write_bytes(content)
    with pytest.raises(StateDamaged, match="cannot be read"):
        folder.credentials()


def _homes(folder: Folder) -> Store:
    return Store(folder.path.parent.parent)


@pytest.mark.parametrize("content", ['{"schema": 99}', "{", ""])
def test_damaged_manifest_does_not_hide_the_endpoint(folder: Folder, content: str) -> None:
    """What says where a cluster lives is read apart, so a damaged real one is never taken for one of a sandbox."""
    (folder.path / "manifest.json").write_text(content, encoding="utf-8")
    assert folder.endpoint == "https://api.hetzner.cloud/v1"
    assert [found.uid for found in _homes(folder).folders(endpoint="https://api.hetzner.cloud/v1")] == [folder.uid]
    assert _homes(folder).folders(endpoint="http://127.65.0.1:4000/v1") == ()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_folder_that_does_not_say_where_its_cluster_lives(folder: Folder, content: bytes | None) -> None:
    """Without a readable endpoint a folder belongs to no API; it is still listed where all are."""
    path = folder.path / "endpoint"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert folder.endpoint is None
    assert _homes(folder).folders(endpoint="https://api.hetzner.cloud/v1") == ()
    assert [found.uid for found in _homes(folder).folders(prefix="cluster")] == [folder.uid]


def test_folder_that_cannot_be_deleted(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that stay on the disk after the cluster's end are an error that says where they lie, not a silence."""

    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(
        StateDamaged, match=r"of a cluster that is gone holds keys and cannot be deleted: .*denied"
    ) as caught:
        folder.drop()
    assert str(folder.path) in caught.value.message
    assert folder.path.exists()
