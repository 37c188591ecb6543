# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clusters' folders: nothing is lost, nothing is shown to others, nothing damaged goes unnoticed."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from catalogues import FEW, UID, credentials, identity, manifest, ssh_pair
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.access import Access
from scherbelberg.nodes.payload import RemoteFile
from scherbelberg.settings import Settings
from scherbelberg.spec.model import LONGEST_TTL_S, ClusterSpec, Ports, Timeouts
from scherbelberg.state.keys import Certified, SshPair
from scherbelberg.state.manifest import Credentials, EnvRecord, Manifest, NodeRecord
from scherbelberg.state.store import Folder, Store

_UNIX = pytest.mark.skipif("sys.platform == 'win32'", reason="modes are Unix's")
_FILES = {
    "maker",
    "endpoint",
    "manifest.json",
    "known_hosts",
    "id_ed25519",
    "id_ed25519.pub",
    "ca.pem",
    "ca-key.pem",
    "client.pem",
    "client-key.pem",
    "planted.json",
}


@pytest.fixture
def store(home: Path) -> Store:
    """A store in a home folder whose name is not plain."""
    return Store(home)


@pytest.fixture
def folder(store: Store) -> Folder:
    """A cluster's folder with everything in it."""
    return store.claim(manifest(), credentials())


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """The umask that forbids nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_claim(store: Store, home: Path) -> None:
    """A cluster's folder is named by prefix and uid, and holds these files."""
    folder = store.claim(manifest("a-b"), credentials())
    assert folder.path == home / "clusters" / f"a-b-{UID}"
    assert (folder.prefix, folder.uid) == ("a-b", UID)
    assert {path.name for path in folder.path.iterdir()} == _FILES


def test_round_trip(store: Store) -> None:
    """What was saved is read again, equal in all."""
    kept, keys = manifest(), credentials()
    folder = store.claim(kept, keys)
    assert folder.read() == kept
    assert folder.credentials() == keys
    changed = kept.with_node(evolve(kept.nodes[1], public_ip="198.51.100.9", host_keys=("ssh-ed25519 CC",)))
    folder.save(evolve(changed, state="creating", phases={}, versions={}))
    assert Folder(folder.path).read() == evolve(changed, state="creating", phases={}, versions={})


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_RECORDS = st.builds(
    NodeRecord,
    name=_TEXT,
    role=st.sampled_from(["scheduler", "worker"]),
    server_type=_TEXT,
    host_keys=st.lists(_TEXT, max_size=3).map(tuple),
    public_ip=st.none() | _TEXT,
    public_ipv6=st.none() | _TEXT,
    private_ip=st.none() | _TEXT,
)
_SPECS = st.builds(
    ClusterSpec,
    prefix=st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
    workers=st.integers(1, 99),
    worker=st.none() | _TEXT,
    image=st.none() | _TEXT,
    ttl_s=st.none() | st.integers(1, LONGEST_TTL_S),
    max_total=st.none() | st.decimals(min_value="0.01", max_value=10**6),
    ports=st.builds(Ports, scheduler=st.integers(10000, 65535)),
    timeouts=st.builds(Timeouts, rent=st.floats(0, 1e9), join=st.integers(0, 10**9)),
)
_MANIFESTS = st.builds(
    Manifest,
    identity=st.builds(evolve, st.just(identity()), owner=_TEXT, deadline_s=st.none() | st.integers(0)),
    endpoint=_TEXT,
    state=st.sampled_from(["creating", "ready"]),
    spec=_SPECS,
    ssh_port=st.integers(1, 65535),
    location=_TEXT,
    environment=st.builds(
        EnvRecord,
        name=_TEXT,
        digests=st.dictionaries(_TEXT, _TEXT),
        client=_TEXT,
        client_source=_TEXT,
        allowed=st.lists(st.tuples(_TEXT, _TEXT, _TEXT), max_size=3).map(tuple),
    ),
    nodes=st.lists(_RECORDS, max_size=3).map(tuple),
    phases=st.dictionaries(_TEXT, st.floats(0, 1e9)),
    versions=st.dictionaries(_TEXT, _TEXT),
)


@FEW
@given(_MANIFESTS)
def test_any_manifest_survives(kept: Manifest) -> None:
    """Whatever is in a manifest is the same when it is read."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.save(kept)
        assert folder.read() == kept


def test_known_hosts(folder: Folder) -> None:
    """OpenSSH finds a node's pinned keys by the node's name; all of them while two are accepted."""
    assert (folder.path / "known_hosts").read_text(encoding="utf-8") == (
        f"scheduler {ssh_pair().public}\nworker000 ssh-ed25519 AA\nworker000 ssh-ed25519 BB\n"
    )


def test_manifest_is_readable(folder: Folder) -> None:
    """The manifest is JSON with a schema's number, and holds no key but public host keys."""
    text = (folder.path / "manifest.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert (document["schema"], document["endpoint"]) == (2, "https://api.hetzner.cloud/v1")
    assert "PRIVATE" not in text


@_UNIX
def test_modes(open_to_all: None, folder: Folder) -> None:
    """Folders and files are their owner's alone, even if the umask forbids nothing."""
    assert {_mode(path) for path in (folder.path, folder.path.parent, folder.path.parent.parent)} == {0o700}
    assert {path.name: oct(_mode(path)) for path in folder.path.iterdir()} == dict.fromkeys(_FILES, "0o600")


@_UNIX
def test_modes_from_the_first_moment(
    open_to_all: None, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is ever open to others, not even while it is empty, and none is opened that somebody else put there."""
    opened: list[tuple[int, int, int]] = []
    real = os.open

    def watch(path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        descriptor = real(path, flags, mode, **rest)
        if str(path).startswith(str(home)) and flags & os.O_CREAT:
            status = os.fstat(descriptor)
            opened.append((flags & os.O_EXCL, stat.S_IMODE(status.st_mode), status.st_size))
        return descriptor

    monkeypatch.setattr(os, "open", watch)
    store.claim(manifest(), credentials())
    assert opened == [(os.O_EXCL, 0o600, 0)] * len(_FILES)


@_UNIX
def test_folders_have_their_mode_when_they_are_made(
    open_to_all: None, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster's folder and those around it are private when they are made, not a moment later."""
    modes = {}
    real = os.mkdir

    def watch(path: Any, mode: int = 0o777, **rest: Any) -> None:
        real(path, mode, **rest)
        modes[Path(path)] = _mode(Path(path))

    monkeypatch.setattr(os, "mkdir", watch)
    folder = store.claim(manifest(), credentials())
    assert {modes[path] for path in (home, home / "clusters", folder.path)} == {0o700}


def test_nothing_lies_aside(folder: Folder) -> None:
    """Saving leaves no file beside those that it names, also where an earlier try was killed."""
    (folder.path / f".manifest.json.{os.getpid()}").write_text("half", encoding="utf-8")
    folder.save(manifest())
    assert {path.name for path in folder.path.iterdir()} == _FILES


def test_planted_keys_are_forgotten(folder: Folder) -> None:
    """Planted keys are forgotten when every node has its own; doing it twice does no harm."""
    folder.forget_planted()
    folder.forget_planted()
    assert folder.credentials().planted == {}
    assert {path.name for path in folder.path.iterdir()} == _FILES - {"planted.json"}


def test_drop(store: Store, folder: Folder) -> None:
    """A dropped folder is gone, and dropping it twice does no harm."""
    folder.drop()
    folder.drop()
    assert not folder.path.exists()
    assert store.folders() == ()


def _names(folders: tuple[Folder, ...]) -> list[str]:
    return [folder.path.name for folder in folders]


def test_folders(store: Store, home: Path) -> None:
    """Folders are found by the whole name and by endpoint; neighbours that look alike are not."""
    sandbox = "http://127.65.0.1:4000/v1"
    store.claim(manifest("cluster", "01"), credentials())
    store.claim(manifest("cluster", "02", endpoint=sandbox), credentials())
    store.claim(manifest("cluster2", "03"), credentials())
    store.claim(manifest("cluster-2", "04"), credentials())
    (home / "clusters" / ".DS_Store").write_bytes(b"")
    (home / "clusters" / "stray").mkdir()
    (home / "clusters" / "cluster-05").write_bytes(b"")
    assert _names(store.folders()) == ["cluster-01", "cluster-02", "cluster-2-04", "cluster2-03"]
    assert _names(store.folders(prefix="cluster")) == ["cluster-01", "cluster-02"]
    assert _names(store.folders(prefix="cluster-2")) == ["cluster-2-04"]
    assert _names(store.folders(prefix="clust")) == []
    assert _names(store.folders(endpoint=sandbox)) == ["cluster-02"]
    assert _names(store.folders(prefix="cluster", endpoint="https://api.hetzner.cloud/v1")) == ["cluster-01"]


def test_no_folders(store: Store, home: Path) -> None:
    """Where nothing was ever kept there is nothing, and looking makes nothing."""
    assert store.folders(prefix="cluster", endpoint="x") == ()
    assert not home.exists()


def test_folder_with_nothing_readable(folder: Folder, store: Store) -> None:
    """Prefix and uid are known of a folder even if nothing in it can be read."""
    for path in folder.path.iterdir():
        path.unlink()
    (found,) = store.folders(prefix="cluster")
    assert (found.prefix, found.uid) == ("cluster", UID)


def test_record() -> None:
    """A manifest knows its nodes by name, and replaces one without touching the others."""
    kept = manifest()
    moved = evolve(kept.nodes[1], private_ip="10.0.0.9")
    assert kept.node("worker000") is kept.nodes[1]
    assert kept.node("worker0") is None
    assert kept.with_node(moved).nodes == (kept.nodes[0], moved)
    assert kept.with_node(evolve(moved, name="stranger")) == kept


def test_values_are_hashable() -> None:
    """Records and keys can be members of a set."""
    assert len({manifest(), manifest()}) == 1
    keys = credentials()
    assert hash(keys) == hash(evolve(keys))


def test_no_secret_is_shown(folder: Folder) -> None:
    """No representation of any value holds a private key or a token."""
    keys = folder.credentials()
    access = Access(endpoint="https://x.example", token="geheim", token_source="here")
    around = Settings(access=access, ssh_port=22, network_range="10.0.0.0/16", home=folder.path, owner="o")
    shown = repr(
        [
            Credentials(
                ssh=SshPair(private="geheim", public="p"),
                authority=Certified(key=b"geheim", certificate=b"c"),
                client=Certified(key=b"geheim", certificate=b"c"),
                planted={"scheduler": SshPair(private="geheim", public="p")},
            ),
            keys,
            around,
            RemoteFile(path="p", content=b"geheim", mode=0o600),
            manifest(),
            folder,
        ]
    )
    assert "geheim" not in shown
    assert "PRIVATE" not in shown
    assert keys.planted["worker000"].private not in shown
