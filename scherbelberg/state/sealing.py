# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bytes behind a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM encrypts and authenticates. Values only.

A sealed file is a line of text with its version, salt, nonce, the encrypted content, and a SHA-256 of all that stands
before. The digest protects nothing: it tells a damaged file from a wrong passphrase, which look alike to a cipher.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from scherbelberg.errors import BadInput

_NAME = b"scherbelberg export "
_HEADER = _NAME + b"1\n"
_SALT = 16
_NONCE = 12
_TAG = 16
_DIGEST = 32
#: scrypt's N of version 1: some 128 MiB of memory and half a second for each guess.
COST = 2**17
#: A passphrase is all that protects a file which may lie anywhere.
SHORTEST = 12


def check_passphrase(passphrase: str) -> str:
    """Check that a passphrase is good for a new file.

    Raises:
        BadInput: It is too short.
    """
    if len(passphrase) < SHORTEST:
        raise BadInput(f"The passphrase has fewer than {SHORTEST} characters, and it is all that protects the file.")
    return passphrase


def seal(content: bytes, passphrase: str, *, cost: int = COST) -> bytes:
    """Encrypt.

    Args:
        content: What nobody else may see.
        passphrase: What opens it again.
        cost: scrypt's N, a power of two.

    Returns:
        A whole file.
    """
    # What is random comes from the one foreign library here.
    salt, nonce = AESGCM.generate_key(8 * _SALT), AESGCM.generate_key(128)[:_NONCE]
    head = _HEADER + salt + nonce
    body = head + AESGCM(_key(passphrase, salt, cost)).encrypt(nonce, content, head)
    return body + hashlib.sha256(body).digest()


def unseal(sealed: bytes, passphrase: str, *, cost: int = COST) -> bytes:
    """Decrypt what `seal` made.

    Args:
        sealed: A whole file.
        passphrase: As it was given then.
        cost: As it was then.

    Raises:
        BadInput: It is none, is of a newer version, is damaged, or the passphrase is another one.
    """
    line, end, _ = sealed[: len(_HEADER) + 8].partition(b"\n")
    version = line.removeprefix(_NAME)
    if not line.startswith(_NAME) or not end or not version.isdigit():
        raise BadInput("This is no file that 'scherbelberg export' has written, or its beginning is damaged.")
    if not sealed.startswith(_HEADER):
        raise BadInput("The exported file was written by a newer scherbelberg than this one: update this one.")
    body = sealed[:-_DIGEST]
    start = len(_HEADER) + _SALT + _NONCE
    if len(body) < start + _TAG or hashlib.sha256(body).digest() != sealed[-_DIGEST:]:
        raise BadInput("The exported file is damaged: copy it again.")
    head = body[:start]
    salt, nonce = head[len(_HEADER) : -_NONCE], head[-_NONCE:]
    try:
        return AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, body[start:], head)
    except InvalidTag:
        raise BadInput("The passphrase is not the one with which the file was exported.") from None


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase.encode())
