# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads a server's user data as cloud-init would on hosts without a cloud-init of their own.

As on a real machine, nothing in it makes the API refuse an order: what cannot be read or is not done here is noted in
the host's /var/log/cloud-init.log, and sshd is what a client finds out about it by.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import asyncssh
import yaml
from attrs import field, frozen

#: What unpacks to more is not meant well.
_UNPACKED_LIMIT_BYTES = 1024 * 1024
KEY_KINDS = ("ed25519", "ecdsa", "rsa")
#: Keys without effect here, whose value asks for nothing that is not so anyway: hosts have neither passwords nor
#: packages, and keys of an image are always deleted.
_IDLE = {
    "ssh_pwauth": (False,),
    "package_update": (False,),
    "package_upgrade": (False,),
    "package_reboot_if_required": (False,),
    "ssh_deletekeys": (True,),
    "ssh_quiet_keygen": (True, False),
    "preserve_hostname": (True, False),
}


@frozen(kw_only=True)
class HostKey:
    """A host key that came with the user data.

    Args:
        kind: ``ed25519``, ``ecdsa`` or ``rsa``.
        private: In OpenSSH's format.
        public: One line.
    """

    kind: str
    private: str = field(repr=False)
    public: str


@frozen(kw_only=True)
class CloudConfig:
    """What a host does on its first boot.

    Args:
        host_keys: Host keys to plant; if there are any, none is generated.
        authorized_keys: Further keys for root.
        files: Files to write: path and text.
        root_login: Whether the project's keys let root in.
        undone: A sentence for each thing that was asked for and is not done.
    """

    host_keys: tuple[HostKey, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    files: tuple[tuple[PurePosixPath, str], ...] = ()
    root_login: bool = True
    undone: tuple[str, ...] = ()


def read_user_data(data: str | None) -> CloudConfig:
    """Read user data.

    Args:
        data: As given to the API: cloud-config, plain or base64 of it or of its gzip.
    """
    if not data:
        return CloudConfig()
    try:
        config = _parse(_unpack(data))
    except ValueError as error:
        return CloudConfig(undone=(f"user data {error}",))
    undone = [f"'{key}' is not done here" for key, value in config.items() if not _is_done(key, value)]
    pairs = config.get("ssh_keys") or {}
    try:
        host_keys = _host_keys(pairs)
    except (asyncssh.KeyImportError, ValueError) as error:
        host_keys = ()
        undone.append(f"ssh_keys: {error}")
    authorized = config.get("ssh_authorized_keys") or ()
    return CloudConfig(
        host_keys=host_keys,
        authorized_keys=tuple(str(key) for key in authorized),
        files=_files(config.get("write_files") or ()),
        root_login=config.get("disable_root", False) is False,
        undone=tuple(undone),
    )


def _unpack(data: str) -> str:
    if data.startswith("#"):
        return data
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
        if raw.startswith(b"\x1f\x8b"):
            raw = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(raw, _UNPACKED_LIMIT_BYTES)
        return raw.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"is neither cloud-config nor base64 of it: {error}") from None


def _parse(text: str) -> dict[str, Any]:
    if text.split("\n", 1)[0].rstrip() != "#cloud-config":
        raise ValueError("does not begin with #cloud-config, and hosts of this sandbox do nothing else")
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {error}") from None
    if not isinstance(config, dict):
        raise ValueError("is no mapping")  # noqa: TRY004 - one kind of error for all that can be wrong with it
    return config


def _is_done(key: object, value: object) -> bool:
    if key in ("ssh_keys", "ssh_authorized_keys"):
        return True
    if key == "write_files":
        return isinstance(value, list) and len(_files(value)) == len(value)
    return value in _IDLE.get(str(key), ()) or (key == "disable_root" and isinstance(value, bool))


def _files(entries: Iterable[Any]) -> tuple[tuple[PurePosixPath, str], ...]:
    """Those that are plain: text at a path, with cloud-init's own mode and owner."""
    plain = [entry for entry in entries if isinstance(entry, dict) and set(entry) == {"path", "content"}]
    found = ((PurePosixPath(str(entry["path"])), str(entry["content"])) for entry in plain)
    return tuple((path, text) for path, text in found if path.is_absolute() and ".." not in path.parts)


def _host_keys(pairs: Mapping[str, Any]) -> tuple[HostKey, ...]:
    strange = set(pairs) - {f"{kind}_{half}" for kind in KEY_KINDS for half in ("private", "public")}
    if strange:
        raise ValueError(f"'{', '.join(sorted(strange))}' is not known here")
    keys = []
    for kind in KEY_KINDS:
        private, public = pairs.get(f"{kind}_private"), pairs.get(f"{kind}_public")
        if private is None and public is None:
            continue
        if private is None or public is None:
            raise ValueError(f"{kind} needs both halves of its key")
        ours = asyncssh.import_private_key(private).convert_to_public().public_data
        if ours != asyncssh.import_public_key(public).public_data:
            raise ValueError(f"the halves of the {kind} key do not fit")
        keys.append(HostKey(kind=kind, private=private, public=public))
    return tuple(keys)
