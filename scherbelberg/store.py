# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clusters' folders on this computer: manifests, keys and certificates, private on every operating system.

A folder is called ``<prefix>-<uid>``. Its manifest names the endpoint, so that clusters of a sandbox and real ones
never meet. Files are written aside with their mode and then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

from scherbelberg.errors import ScherbelbergError, StateDamaged
from scherbelberg.keys import Certified, SshPair
from scherbelberg.plan import ClusterState, Identity, NodeRole
from scherbelberg.spec import ClusterSpec, Ports, Timeouts

SCHEMA = 1
_MANIFEST = "manifest.json"
KNOWN_HOSTS = "known_hosts"
SSH_KEY = "id_ed25519"
AUTHORITY = "ca.pem"
AUTHORITY_KEY = "ca-key.pem"
CLIENT = "client.pem"
CLIENT_KEY = "client-key.pem"
_PLANTED = "planted.json"


@frozen(kw_only=True)
class NodeRecord:
    """A node as this computer remembers it.

    Args:
        name: As users know it.
        role: What it does.
        server_type: What is rented, by name.
        host_keys: Public host keys that may be met, one line each.
        public_ip: Address for SSH, or None while unknown.
        private_ip: Address in the cluster's network, or None while unknown.
        hourly_net: Price per hour without VAT, IPv4 included, as decimal text.
        hourly_gross: The same with VAT.
    """

    name: str
    role: NodeRole
    server_type: str
    host_keys: tuple[str, ...]
    public_ip: str | None = None
    private_ip: str | None = None
    hourly_net: str = "0"
    hourly_gross: str = "0"


@frozen(kw_only=True)
class Manifest:
    """What this computer remembers of a cluster.

    Args:
        identity: Who it is.
        endpoint: The API where it lives.
        state: How far its making came.
        spec: What the user wanted.
        ssh_port: Port on which its nodes take SSH.
        location: Where it is.
        currency: Of the prices, ISO 4217 code.
        lock_digest: Digest of the environment of its nodes.
        nodes: Its nodes.
        phases: Phase to seconds that it took.
        versions: Package to version, equal on client and nodes as proven at the end of its making.
    """

    identity: Identity
    endpoint: str
    state: ClusterState
    spec: ClusterSpec
    ssh_port: int
    location: str
    currency: str
    lock_digest: str
    nodes: tuple[NodeRecord, ...]
    phases: Mapping[str, float] = field(factory=dict, hash=False)
    versions: Mapping[str, str] = field(factory=dict, hash=False)

    def with_node(self, record: NodeRecord) -> Manifest:
        """The same with one node's record replaced."""
        return evolve(self, nodes=tuple(record if node.name == record.name else node for node in self.nodes))

    def node(self, name: str) -> NodeRecord | None:
        """The record of a node, or None."""
        return next((node for node in self.nodes if node.name == name), None)


@frozen(kw_only=True)
class Credentials:
    """All keys of a cluster that live on this computer.

    Args:
        ssh: Logs in as root.
        authority: Signs certificates.
        client: The client's own.
        planted: First host key by node name.
    """

    ssh: SshPair
    authority: Certified
    client: Certified
    planted: Mapping[str, SshPair] = field(repr=False, hash=False)


class Folder:
    """One cluster's folder.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def uid(self) -> str:
        """The cluster's uid, from the folder's name: it is readable when nothing inside is."""
        return self.path.name.rpartition("-")[2]

    @property
    def prefix(self) -> str:
        """The cluster's prefix, from the folder's name."""
        return self.path.name.rpartition("-")[0]

    def read(self) -> Manifest:
        """Read the manifest.

        Raises:
            StateDamaged: It is missing or makes no sense.
        """
        path = self.path / _MANIFEST
        try:
            return _structure(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, ScherbelbergError) as error:
            raise StateDamaged(
                f"The record of cluster '{self.prefix}' on this computer, {path}, cannot be read"
                f" ({type(error).__name__}: {error}); 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None

    def save(self, manifest: Manifest) -> None:
        """Write the manifest and the known_hosts file that OpenSSH reads."""
        document = {"schema": SCHEMA, **asdict(manifest)}
        _write(self.path / _MANIFEST, json.dumps(document, indent=1, ensure_ascii=False).encode())
        lines = [f"{node.name} {key}\n" for node in manifest.nodes for key in node.host_keys]
        _write(self.path / KNOWN_HOSTS, "".join(lines).encode())

    def save_credentials(self, credentials: Credentials) -> None:
        """Write all keys."""
        _write(self.path / SSH_KEY, credentials.ssh.private.encode())
        _write(self.path / f"{SSH_KEY}.pub", f"{credentials.ssh.public}\n".encode())
        _write(self.path / AUTHORITY, credentials.authority.certificate)
        _write(self.path / AUTHORITY_KEY, credentials.authority.key)
        _write(self.path / CLIENT, credentials.client.certificate)
        _write(self.path / CLIENT_KEY, credentials.client.key)
        planted = {name: [pair.private, pair.public] for name, pair in credentials.planted.items()}
        _write(self.path / _PLANTED, json.dumps(planted).encode())

    def credentials(self) -> Credentials:
        """Read all keys.

        Raises:
            StateDamaged: One is missing.
        """
        planted_file = self.path / _PLANTED
        try:
            planted = json.loads(planted_file.read_text(encoding="utf-8")) if planted_file.exists() else {}
            return Credentials(
                ssh=SshPair(private=self._text(SSH_KEY), public=self._text(f"{SSH_KEY}.pub").strip()),
                authority=Certified(key=self._bytes(AUTHORITY_KEY), certificate=self._bytes(AUTHORITY)),
                client=Certified(key=self._bytes(CLIENT_KEY), certificate=self._bytes(CLIENT)),
                planted={name: SshPair(private=pair[0], public=pair[1]) for name, pair in planted.items()},
            )
        except (OSError, ValueError, IndexError) as error:
            raise StateDamaged(
                f"The keys of cluster '{self.prefix}' in {self.path} cannot be read ({error});"
                f" 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None

    def forget_planted(self) -> None:
        """Delete the planted host keys: every node has replaced its own."""
        (self.path / _PLANTED).unlink(missing_ok=True)

    def drop(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _text(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def _bytes(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Store:
    """The folders of all clusters.

    Args:
        home: Folder for what is kept on this computer.
    """

    def __init__(self, home: Path) -> None:
        self._clusters = home / "clusters"

    def claim(self, manifest: Manifest, credentials: Credentials) -> Folder:
        """Make a cluster's folder, before anything is rented."""
        name = f"{manifest.identity.prefix}-{manifest.identity.uid}"
        _private_folder(self._clusters)
        folder = Folder(self._clusters / name)
        _private_folder(folder.path)
        folder.save_credentials(credentials)
        folder.save(manifest)
        return folder

    def folders(self, *, prefix: str | None = None, endpoint: str | None = None) -> tuple[Folder, ...]:
        """List folders, by name.

        Args:
            prefix: Only of clusters of this name.
            endpoint: Only of this API, as far as their manifests can be read.
        """
        if not self._clusters.is_dir():
            return ()
        found = [Folder(path) for path in sorted(self._clusters.iterdir()) if path.is_dir() and "-" in path.name]
        found = [folder for folder in found if prefix in {None, folder.prefix}]
        return tuple(folder for folder in found if endpoint is None or _endpoint(folder) in {None, endpoint})


def _endpoint(folder: Folder) -> str | None:
    try:
        return folder.read().endpoint
    except StateDamaged:
        return None


def _structure(document: dict[str, Any]) -> Manifest:
    if document.pop("schema") != SCHEMA:
        raise ValueError("it was written by another version of scherbelberg")
    document["identity"] = Identity(**document["identity"])
    spec = document["spec"]
    document["spec"] = ClusterSpec(**spec | {"ports": Ports(**spec["ports"]), "timeouts": Timeouts(**spec["timeouts"])})
    document["nodes"] = tuple(
        NodeRecord(**node | {"host_keys": tuple(node["host_keys"])}) for node in document["nodes"]
    )
    return Manifest(**document)


def _private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter.

    On Windows the mode says little, but the user's own data folder admits nobody else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read: mode before content, aside, then renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
