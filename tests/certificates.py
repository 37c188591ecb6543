# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Certificate requests and signed keys, for tests."""

from __future__ import annotations

from catalogues import NOW_S, UID
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from scherbelberg.state.keys import Certified, Role, sign_request


def key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Write a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(
    key: CertificateIssuerPrivateKeyTypes, *, subject: str = "x", extensions: tuple[x509.ExtensionType, ...] = ()
) -> bytes:
    """Write a request for a key, with whatever it asks for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def sign(authority: Certified, request: bytes, *, role: Role = "worker", now_s: float = NOW_S) -> bytes:
    """Sign a request of a worker."""
    return sign_request(authority, request, node="worker000", role=role, uid=UID, now_s=now_s)


def make_node(authority: Certified, *, role: Role = "worker", now_s: float) -> Certified:
    """Make a worker's key and have it certified."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Certified(key=key_pem(key), certificate=sign(authority, make_request(key), role=role, now_s=now_s))
