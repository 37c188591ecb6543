# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lets another computer use a cluster: one encrypted file that is exported here and imported there.

Who imports it can compute and destroy. It has keys of its own, and not the authority's, so nothing that needs a new
certificate can be done there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from scherbelberg.concurrency.waiting import gather_or_cancel
from scherbelberg.environments.lock import EnvLock, read_lock, write_lock, write_records
from scherbelberg.errors import BadInput, BootstrapFailed, ClusterExists, ScherbelbergError, StateDamaged
from scherbelberg.inventory.listing import find_own
from scherbelberg.nodes.connections import Connections
from scherbelberg.settings import Settings, home_folder
from scherbelberg.spec.model import check_prefix
from scherbelberg.state.keys import Certified, SshPair, check_passphrase, make_client, make_ssh_pair, seal, unseal
from scherbelberg.state.manifest import Keyring, Manifest, manifest_document, read_manifest
from scherbelberg.state.store import Folder, Store, write_private

_WITHIN_S = 60.0
#: The folder is named after it.
_UID = re.compile(r"[a-z0-9]{1,32}", re.ASCII)
#: Takes the line from its standard input; a second time it changes nothing.
_LET_IN = """umask 077 && mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys && IFS= read -r line &&
{ grep -qxF -e "$line" ~/.ssh/authorized_keys ||
  { [ -z "$(tail -c 1 ~/.ssh/authorized_keys)" ] || echo; printf '%s\\n' "$line"; } >>~/.ssh/authorized_keys; }"""


async def export_cluster(settings: Settings, connections: Connections, file: Path, *, passphrase: str) -> None:
    """Write a file with which another computer can use a cluster; on the private loop.

    Args:
        settings: The ambient configuration.
        connections: Connections to the cluster.
        file: Where to; what is there is replaced.
        passphrase: What opens it.

    Raises:
        BadInput: The passphrase is too short, or the file cannot be written.
        StateMissing: This computer has not made the cluster.
        NodeUnreachable: A node did not answer; nothing was written.
    """
    check_passphrase(passphrase)
    credentials = connections.folder.credentials()
    identity = connections.manifest.identity
    kept = await find_own(settings, identity.prefix)
    ssh = make_ssh_pair()
    client = make_client(credentials.authority, uid=identity.uid, now_s=kept.now_s)
    line = f"{ssh.public} exported-{identity.uid}\n"
    await gather_or_cancel(*(_let_in(connections, node.name, line) for node in connections.manifest.nodes))
    keyring = Keyring(ssh=ssh, authority=credentials.authority.certificate, client=client)
    content = _pack(connections.manifest, keyring, connections.folder.locks())
    sealed = await asyncio.to_thread(seal, content, passphrase)
    try:
        write_private(file, sealed)
    except OSError as error:
        raise BadInput(f"The file {file} cannot be written: {error}.") from None


async def _let_in(connections: Connections, name: str, line: str) -> None:
    async with connections.connect(name) as remote:
        await remote.reach(within_s=_WITHIN_S)
        done = await remote.run(_LET_IN, within_s=_WITHIN_S, stdin=line.encode())
    if done.exit_code:
        raise BootstrapFailed(f"Node {name} did not take the new SSH key.", node=name, log_tail=done.tail)


def _pack(manifest: Manifest, keyring: Keyring, locks: dict[str, EnvLock]) -> bytes:
    document = {
        "manifest": manifest_document(manifest),
        "ssh": [keyring.ssh.private, keyring.ssh.public],
        "authority": keyring.authority.decode(),
        "client": [keyring.client.key.decode(), keyring.client.certificate.decode()],
        "locks": [[write_lock(lock), write_records(lock)] for lock in locks.values()],
    }
    return json.dumps(document).encode()


async def import_cluster(
    file: str | os.PathLike[str], *, passphrase: str, home: str | os.PathLike[str] | None = None
) -> str:
    """Take in a file that another computer has exported; neither the cloud nor a node is asked.

    Args:
        file: The file.
        passphrase: What opens it.
        home: Folder for what is kept on this computer; the usual one if not given.

    Returns:
        The cluster's prefix, for `Cluster.from_existing`.

    Raises:
        BadInput: The file cannot be read, is damaged, is of another version, or is not opened by the passphrase.
        ClusterExists: This computer has made the cluster, or knows another one by its uid.
        StateDamaged: The folder cannot be written.
    """
    # The passphrase costs half a second of computing.
    manifest = await asyncio.to_thread(import_file, _home(home), Path(file), passphrase=passphrase)
    return manifest.identity.prefix


def _home(given: str | os.PathLike[str] | None) -> Path:
    return home_folder() if given is None else Path(given)


def import_file(home: Path, file: Path, *, passphrase: str) -> Manifest:
    """Do what `import_cluster` does, and tell what is now remembered of the cluster."""
    try:
        sealed = file.read_bytes()
    except OSError as error:
        raise BadInput(f"The file {file} cannot be read: {error}.") from None
    manifest, keyring, locks = _unpack(json.loads(unseal(sealed, passphrase)))
    store, identity = Store(home), manifest.identity
    for folder in store.folders(prefix=identity.prefix):
        if folder.uid == identity.uid and (kept := _imported_before(folder, keyring)) is not None:
            return kept
    store.import_cluster(manifest, keyring, locks=locks)
    return manifest


def _imported_before(folder: Folder, keyring: Keyring) -> Manifest | None:
    """What is remembered of a cluster if its folder has these very keys, or None if an import is to replace them.

    Raises:
        ClusterExists: They are no other export of the same cluster.
    """
    if not folder.is_imported:
        raise ClusterExists(
            f"Cluster '{folder.prefix}' ({folder.uid}) was made on this computer, which has all its keys in"
            f" {folder.path}: there is nothing to import."
        )
    try:
        # The manifest may know more by now, such as who is let in.
        manifest, own = folder.read(), folder.keyring()
    except StateDamaged:
        return None
    if own.authority != keyring.authority:
        raise ClusterExists(
            f"This computer knows another cluster '{folder.prefix}' with the uid {folder.uid}, in {folder.path}:"
            " nothing was changed."
        )
    return manifest if own == keyring else None


def _unpack(document: dict[str, Any]) -> tuple[Manifest, Keyring, dict[str, EnvLock]]:
    try:
        manifest = read_manifest(document["manifest"])
        check_prefix(manifest.identity.prefix)
        _check_uid(manifest.identity.uid)
        keyring = Keyring(
            ssh=SshPair(private=document["ssh"][0], public=document["ssh"][1]),
            authority=document["authority"].encode(),
            client=Certified(key=document["client"][0].encode(), certificate=document["client"][1].encode()),
        )
        locks = [read_lock(text, source="export", records=records) for text, records in document["locks"]]
    except (ScherbelbergError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInput(f"The exported file was written by another version of scherbelberg ({error!r}).") from None
    return manifest, keyring, {lock.platform: lock for lock in locks}


def _check_uid(uid: str) -> None:
    if not _UID.fullmatch(uid):
        raise ValueError("no uid")
