# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The clusters' folders on this computer: manifests, keys and certificates, private on every operating system.

A folder is called ``<prefix>-<uid>``. A file in it names the endpoint, so that clusters of a sandbox and real ones
never meet, also when a manifest is damaged. Files are written aside with their mode and then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import asdict

from scherbelberg.envlock import EnvLock, read_lock, write_lock, write_records
from scherbelberg.errors import StateDamaged
from scherbelberg.keys import Certified, SshPair
from scherbelberg.plan import Identity
from scherbelberg.processes import is_alive, own_name
from scherbelberg.record import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLIENT,
    CLIENT_KEY,
    ENDPOINT,
    KNOWN_HOSTS,
    MAKER,
    MANIFEST,
    PLANTED,
    SCHEMA,
    SSH_KEY,
    Credentials,
    EnvRecord,
    Manifest,
    NodeRecord,
)
from scherbelberg.spec import ClusterSpec, Ports, Timeouts


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
        path = self.path / MANIFEST
        try:
            return _structure(json.loads(path.read_text(encoding="utf-8")))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, it is the file that is wrong
            raise StateDamaged(
                f"The record of cluster '{self.prefix}' on this computer, {path}, cannot be read"
                f" ({type(error).__name__}: {error}); 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None

    def save(self, manifest: Manifest) -> None:
        """Write the manifest and the known_hosts file that OpenSSH reads."""
        document = {"schema": SCHEMA, **asdict(manifest)}
        _write(self.path / MANIFEST, json.dumps(document, indent=1, ensure_ascii=False).encode())
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
        _write(self.path / PLANTED, json.dumps(planted).encode())

    def credentials(self) -> Credentials:
        """Read all keys.

        Raises:
            StateDamaged: One is missing.
        """
        planted_file = self.path / PLANTED
        try:
            planted = json.loads(planted_file.read_text(encoding="utf-8")) if planted_file.exists() else {}
            return Credentials(
                ssh=SshPair(private=self._text(SSH_KEY), public=self._text(f"{SSH_KEY}.pub").strip()),
                authority=Certified(key=self._bytes(AUTHORITY_KEY), certificate=self._bytes(AUTHORITY)),
                client=Certified(key=self._bytes(CLIENT_KEY), certificate=self._bytes(CLIENT)),
                planted={name: SshPair(private=pair[0], public=pair[1]) for name, pair in planted.items()},
            )
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, it is the file that is wrong
            raise StateDamaged(
                f"The keys of cluster '{self.prefix}' in {self.path} cannot be read ({error});"
                f" 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None

    def save_locks(self, locks: Mapping[str, EnvLock]) -> None:
        """Write the environment's locks with their records."""
        for platform, lock in locks.items():
            _write(self.path / f"env-{platform}.lock", write_lock(lock).encode())
            _write(self.path / f"env-{platform}.json", write_records(lock).encode())

    def locks(self) -> dict[str, EnvLock]:
        """Read the environment's locks by platform.

        Raises:
            StateDamaged: One makes no sense.
        """
        try:
            texts = {path: self._text(path.name) for path in sorted(self.path.glob("env-*.lock"))}
            records = {path: self._text(path.with_suffix(".json").name) for path in texts}
            locks = [read_lock(text, source=path.name, records=records[path]) for path, text in texts.items()]
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, it is the file that is wrong
            raise StateDamaged(
                f"The environment of cluster '{self.prefix}' in {self.path} cannot be read ({error});"
                f" 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None
        return {lock.platform: lock for lock in locks}

    def forget_planted(self) -> None:
        """Delete the planted host keys: every node has replaced its own."""
        (self.path / PLANTED).unlink(missing_ok=True)

    @property
    def endpoint(self) -> str | None:
        """The API where the cluster lives, or None if nothing here says."""
        try:
            return self._text(ENDPOINT).strip()
        except (OSError, ValueError):
            return None

    def begin_making(self) -> None:
        """Note that this process makes the cluster."""
        _write(self.path / MAKER, own_name().encode())

    def end_making(self) -> None:
        """Note that nobody makes the cluster any more."""
        (self.path / MAKER).unlink(missing_ok=True)

    @property
    def maker(self) -> str | None:
        """The living process that makes the cluster, this one included, or None."""
        try:
            name = self._text(MAKER)
        except (OSError, ValueError):
            return None
        return name if is_alive(name) else None

    def drop(self) -> None:
        """Delete the folder.

        Raises:
            StateDamaged: It cannot be deleted.
        """
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StateDamaged(
                f"The folder {self.path} of a cluster that is gone holds keys and cannot be deleted: {error}."
            ) from None

    def _text(self, name: str) -> str:
        return self._bytes(name).decode()

    def _bytes(self, name: str) -> bytes:
        content = (self.path / name).read_bytes()
        if not content:
            raise ValueError(f"{name} is empty")
        return content


class Store:
    """The folders of all clusters.

    Args:
        home: Folder for what is kept on this computer.
    """

    def __init__(self, home: Path) -> None:
        self._clusters = home / "clusters"

    def claim(
        self, manifest: Manifest, credentials: Credentials, *, locks: Mapping[str, EnvLock] = MappingProxyType({})
    ) -> Folder:
        """Make a cluster's folder, before anything is rented, and note that this process makes the cluster.

        Raises:
            StateDamaged: It cannot be made.
        """
        folder = Folder(self._clusters / f"{manifest.identity.prefix}-{manifest.identity.uid}")
        try:
            for path in (self._clusters.parent, self._clusters, folder.path):
                _private_folder(path)
            _write(folder.path / ENDPOINT, f"{manifest.endpoint}\n".encode())
            folder.begin_making()
            folder.save_credentials(credentials)
            folder.save_locks(locks)
            folder.save(manifest)
        except OSError as error:
            raise StateDamaged(f"The cluster's folder {folder.path} cannot be written: {error}.") from None
        return folder

    def folders(self, *, prefix: str | None = None, endpoint: str | None = None) -> tuple[Folder, ...]:
        """List folders, by name.

        Args:
            prefix: Only of clusters of this name.
            endpoint: Only of this API.
        """
        if not self._clusters.is_dir():
            return ()
        found = [Folder(path) for path in sorted(self._clusters.iterdir()) if path.is_dir() and "-" in path.name]
        found = [folder for folder in found if prefix in {None, folder.prefix}]
        return tuple(folder for folder in found if endpoint in {None, folder.endpoint})


def _structure(document: dict[str, Any]) -> Manifest:
    if document.pop("schema") != SCHEMA:
        raise ValueError("it was written by another version of scherbelberg")
    for name, kind in (("ssh_port", int), ("location", str), ("phases", dict), ("versions", dict), ("nodes", list)):
        if not isinstance(document[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    if not isinstance(document.get("api_requests"), int | None):
        raise TypeError("api_requests is no int")
    document["identity"] = Identity(**document["identity"])
    spec = document["spec"]
    document["spec"] = ClusterSpec(**spec | {"ports": Ports(**spec["ports"]), "timeouts": Timeouts(**spec["timeouts"])})
    environment = document["environment"]
    allowed = tuple((package, here, there) for package, here, there in environment["allowed"])
    document["environment"] = EnvRecord(**environment | {"allowed": allowed})
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
