# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads a server's user data as cloud-init would, and refuses what a host of this sandbox would not do."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable
from typing import Any

import asyncssh
import yaml
from attrs import field, frozen

from scherbelberg.sandbox import checks
from scherbelberg.sandbox.refusals import Refused, invalid

LIMIT_BYTES = 32 * 1024
#: What unpacks to more is not meant well.
_UNPACKED_LIMIT_BYTES = 1024 * 1024
KEY_KINDS = ("ed25519", "ecdsa", "rsa")


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
        root_login: Whether the project's keys let root in.
    """

    host_keys: tuple[HostKey, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    root_login: bool = True


def read_user_data(data: str | None) -> CloudConfig:
    """Read user data.

    Args:
        data: As given to the API: cloud-config, plain or base64 of it or of its gzip.

    Raises:
        Refused: It is too long, cannot be read, or asks for something that a host here does not do.
    """
    if not data:
        return CloudConfig()
    if len(data.encode()) > LIMIT_BYTES:
        raise invalid("user_data", "Must be at most 32 KiB.")
    config = _parse(_unpack(data))
    for key, value in config.items():
        _check(key, value)
    return CloudConfig(
        host_keys=_host_keys(config.get("ssh_keys") or {}),
        authorized_keys=tuple(config.get("ssh_authorized_keys") or ()),
        root_login=not config.get("disable_root", False),
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
        raise invalid("user_data", f"is neither cloud-config nor base64 of it: {error}") from None


def _parse(text: str) -> dict[str, Any]:
    if text.split("\n", 1)[0].rstrip() != "#cloud-config":
        raise invalid("user_data", "the first line must be #cloud-config: hosts of the sandbox do nothing else")
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise invalid("user_data", f"is no YAML: {error}") from None
    if not isinstance(config, dict):
        raise invalid("user_data", "is no mapping")
    return config


def _check(key: object, value: object) -> None:
    check = _KNOWN.get(str(key))
    if check is None:
        raise invalid("user_data", f"unknown key '{key}' in the cloud-config")
    try:
        check(value)
    except (ValueError, Refused) as reason:
        raise invalid("user_data", f"key '{key}' of the cloud-config: {reason}") from None


def _false(value: Any) -> None:
    if value is not False:
        raise ValueError("only false is honoured by the sandbox")


def _key_pairs(value: Any) -> None:
    known: dict[str, Callable[[Any], Any]] = {}
    for kind in KEY_KINDS:
        known |= {f"{kind}_private": checks.text, f"{kind}_public": checks.text}
    pairs = checks.read_fields(value, known)
    for kind in KEY_KINDS:
        halves = (f"{kind}_private" in pairs, f"{kind}_public" in pairs)
        if any(halves) and not all(halves):
            raise ValueError(f"{kind} needs both halves of its key")
    try:
        _host_keys(pairs)
    except asyncssh.KeyImportError as error:
        raise ValueError(str(error)) from None


def _host_keys(pairs: dict[str, str]) -> tuple[HostKey, ...]:
    keys = []
    for kind in KEY_KINDS:
        if f"{kind}_private" not in pairs:
            continue
        key = HostKey(kind=kind, private=pairs[f"{kind}_private"], public=pairs[f"{kind}_public"])
        ours = asyncssh.import_private_key(key.private).convert_to_public().public_data
        if ours != asyncssh.import_public_key(key.public).public_data:
            raise asyncssh.KeyImportError(f"the halves of the {kind} key do not fit")
        keys.append(key)
    return tuple(keys)


#: Every key that may come, with a check of its value. None of those without effect here promises anything.
_KNOWN: dict[str, Callable[[Any], Any]] = {
    "ssh_keys": _key_pairs,
    "ssh_authorized_keys": checks.list_of(checks.text),
    "disable_root": checks.boolean,
    # Keys of an image are always deleted here, and there are no passwords and no packages.
    "ssh_deletekeys": checks.boolean,
    "ssh_pwauth": _false,
    "package_update": _false,
    "package_upgrade": _false,
    "package_reboot_if_required": _false,
    "preserve_hostname": checks.boolean,
    "hostname": checks.host_name,
    "ssh_quiet_keygen": checks.boolean,
}
