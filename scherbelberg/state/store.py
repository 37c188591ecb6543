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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from scherbelberg.concurrency.processes import is_alive, own_name
from scherbelberg.environments.lock import EnvLock, read_lock, write_lock, write_records
from scherbelberg.errors import StateDamaged, StateMissing
from scherbelberg.state.keys import Certified, SshPair
from scherbelberg.state.manifest import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLIENT,
    CLIENT_KEY,
    ENDPOINT,
    IMPORTED,
    KNOWN_HOSTS,
    MAKER,
    MANIFEST,
    PLANTED,
    SSH_KEY,
    Credentials,
    Keyring,
    Manifest,
    manifest_document,
    read_manifest,
)


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
            return read_manifest(json.loads(path.read_text(encoding="utf-8")))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, it is the file that is wrong
            raise StateDamaged(
                f"The record of cluster '{self.prefix}' on this computer, {path}, cannot be read"
                f" ({type(error).__name__}: {error}); 'scherbelberg destroy -p {self.prefix}' still gives it back."
            ) from None

    def save(self, manifest: Manifest) -> None:
        """Write the manifest and the known_hosts file that OpenSSH reads.

        Raises:
            StateDamaged: One cannot be written; what was saved before is still there.
        """
        self._write(MANIFEST, json.dumps(manifest_document(manifest), indent=1, ensure_ascii=False).encode())
        lines = [f"{node.name} {key}\n" for node in manifest.nodes for key in node.host_keys]
        self._write(KNOWN_HOSTS, "".join(lines).encode())

    def save_credentials(self, credentials: Credentials) -> None:
        """Write all keys.

        Raises:
            StateDamaged: One cannot be written.
        """
        self.save_keyring(credentials.keyring)
        self._write(AUTHORITY_KEY, credentials.authority.key)
        planted = {name: [pair.private, pair.public] for name, pair in credentials.planted.items()}
        self._write(PLANTED, json.dumps(planted).encode())

    def save_keyring(self, keyring: Keyring) -> None:
        """Write the keys that it takes to use the cluster.

        Raises:
            StateDamaged: One cannot be written.
        """
        self._write(SSH_KEY, keyring.ssh.private.encode())
        self._write(f"{SSH_KEY}.pub", f"{keyring.ssh.public}\n".encode())
        self._write(AUTHORITY, keyring.authority)
        self._write(CLIENT, keyring.client.certificate)
        self._write(CLIENT_KEY, keyring.client.key)

    @property
    def is_imported(self) -> bool:
        """Whether another computer has made the cluster and exported what is here."""
        return (self.path / IMPORTED).exists()

    def keyring(self) -> Keyring:
        """Read the keys that it takes to use the cluster.

        Raises:
            StateDamaged: One is missing.
        """
        if not self.is_imported:
            return self.credentials().keyring
        try:
            return Keyring(ssh=self._ssh(), authority=self._bytes(AUTHORITY), client=self._client())
        except (OSError, ValueError) as error:
            raise self._keys_damaged(error) from None

    def _ssh(self) -> SshPair:
        return SshPair(private=self._text(SSH_KEY), public=self._text(f"{SSH_KEY}.pub").strip())

    def _client(self) -> Certified:
        return Certified(key=self._bytes(CLIENT_KEY), certificate=self._bytes(CLIENT))

    def _keys_damaged(self, error: Exception) -> StateDamaged:
        return StateDamaged(
            f"The keys of cluster '{self.prefix}' in {self.path} cannot be read ({error});"
            f" 'scherbelberg destroy -p {self.prefix}' still gives it back."
        )

    def credentials(self) -> Credentials:
        """Read all keys.

        Raises:
            StateMissing: The cluster was imported, so the authority's key is elsewhere.
            StateDamaged: One is missing.
        """
        if self.is_imported:
            raise StateMissing(
                f"Cluster '{self.prefix}' was imported here, and the key of its authority stayed where it was made:"
                " here it can be used and destroyed, but nothing that needs a new certificate can be done."
            )
        planted_file = self.path / PLANTED
        try:
            planted = json.loads(planted_file.read_text(encoding="utf-8")) if planted_file.exists() else {}
            return Credentials(
                ssh=self._ssh(),
                authority=Certified(key=self._bytes(AUTHORITY_KEY), certificate=self._bytes(AUTHORITY)),
                client=self._client(),
                planted={name: SshPair(private=pair[0], public=pair[1]) for name, pair in planted.items()},
            )
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, it is the file that is wrong
            raise self._keys_damaged(error) from None

    def save_locks(self, locks: Mapping[str, EnvLock]) -> None:
        """Write the environment's locks with their records.

        Raises:
            StateDamaged: One cannot be written.
        """
        for platform, lock in locks.items():
            self._write(f"env-{platform}.lock", write_lock(lock).encode())
            self._write(f"env-{platform}.json", write_records(lock).encode())

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
        """Delete the planted host keys: every node has replaced its own.

        Raises:
            StateDamaged: They cannot be deleted.
        """
        self._unlink(PLANTED)

    @property
    def endpoint(self) -> str | None:
        """The API where the cluster lives, or None if nothing here says."""
        try:
            return self._text(ENDPOINT).strip()
        except (OSError, ValueError):
            return None

    def save_endpoint(self, endpoint: str) -> None:
        """Write down the API where the cluster lives.

        Raises:
            StateDamaged: That cannot be written.
        """
        self._write(ENDPOINT, f"{endpoint}\n".encode())

    def begin_making(self) -> None:
        """Note that this process makes the cluster.

        Raises:
            StateDamaged: That cannot be written.
        """
        self._write(MAKER, own_name().encode())

    def end_making(self) -> None:
        """Note that nobody makes the cluster any more.

        Raises:
            StateDamaged: The note that somebody does cannot be deleted.
        """
        self._unlink(MAKER)

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
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise StateDamaged(
                f"The folder {self.path} of a cluster that is gone holds keys and cannot be deleted: {error}."
            ) from None

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        with self._as_state_damaged(path, "written"):
            write_private(path, content)

    def _unlink(self, name: str) -> None:
        path = self.path / name
        with self._as_state_damaged(path, "deleted"):
            path.unlink(missing_ok=True)

    @contextmanager
    def _as_state_damaged(self, path: Path, what: str) -> Iterator[None]:
        """Say of errors that they are this computer's: an OSError that leaves here is taken for a connection's."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StateDamaged(
                f"The file {path} of cluster '{self.prefix}' on this computer cannot be {what}: {reason}."
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
                private_folder(path)
            folder.save_endpoint(manifest.endpoint)
            folder.begin_making()
            folder.save_credentials(credentials)
            folder.save_locks(locks)
            folder.save(manifest)
        except OSError as error:
            raise StateDamaged(f"The cluster's folder {folder.path} cannot be written: {error}.") from None
        return folder

    def import_cluster(self, manifest: Manifest, keyring: Keyring, *, locks: Mapping[str, EnvLock]) -> None:
        """Make the folder of a cluster that another computer has exported, as a whole or not at all.

        What was imported of the same cluster before is replaced.

        Raises:
            StateDamaged: It cannot be made.
        """
        identity = manifest.identity
        target = self._clusters / f"{identity.prefix}-{identity.uid}"
        # No names of clusters' folders, so nobody takes them for one before it is whole, or after.
        aside, former = (Folder(self._clusters / f".{identity.uid}.{os.getpid()}.{what}") for what in ("new", "old"))
        try:
            for path in (self._clusters.parent, self._clusters, aside.path):
                private_folder(path)
            aside.save_endpoint(manifest.endpoint)
            write_private(aside.path / IMPORTED, b"Made on another computer.\n")
            aside.save_keyring(keyring)
            aside.save_locks(locks)
            aside.save(manifest)
            if target.exists():
                target.rename(former.path)
            aside.path.rename(target)
        except OSError as error:
            raise StateDamaged(f"A cluster's folder in {self._clusters} cannot be written: {error}.") from None
        finally:
            aside.drop()
            former.drop()

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


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter.

    On Windows the mode says little, but the user's own data folder admits nobody else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read: mode before content, aside, then renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
