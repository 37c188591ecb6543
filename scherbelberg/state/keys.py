# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""SSH key pairs, the cluster's certificate authority and what it signs, as bytes. Nothing is written here.

The authority signs requests (CSR) of keys that were born on their nodes: of a request it takes the public key alone and
writes subject, role, validity and usage itself. Sources: RFC 5280 for the extensions, which OpenSSL checks strictly
for clients on Python 3.13 and newer.

What leaves this computer is sealed behind a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM encrypts and
authenticates.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Literal

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scherbelberg.errors import BadInput, BootstrapFailed
from scherbelberg.planning.plan import BACKDATED_S, LEAST_VALID_S

Role = Literal["scheduler", "worker", "client"]


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


@frozen(kw_only=True)
class SshPair:
    """An ed25519 key pair in OpenSSH's formats.

    Args:
        private: The private key file's content.
        public: One line, type and key, without a comment.
    """

    private: str = field(repr=False)
    public: str


@frozen(kw_only=True)
class Certified:
    """A private key with its certificate, both PEM.

    Args:
        key: The private key.
        certificate: The certificate.
    """

    key: bytes = field(repr=False)
    certificate: bytes


def make_ssh_pair() -> SshPair:
    """Make a new ed25519 pair."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return SshPair(private=private.decode(), public=public.decode())


def make_authority(*, uid: str, now_s: float, lasts_s: float = LEAST_VALID_S) -> Certified:
    """Make a cluster's own certificate authority.

    Args:
        uid: The cluster's uid, for the subject.
        now_s: Now, as epoch seconds.
        lasts_s: Seconds after which it is not valid any more, and nothing that it signs.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"scherbelberg {uid}")
    builder = _builder(name, name, key.public_key(), key.public_key(), now_s=now_s, until_s=now_s + lasts_s)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Certified(key=_key_pem(key), certificate=_pem(builder.sign(key, hashes.SHA256())))


def make_client(authority: Certified, *, uid: str, now_s: float) -> Certified:
    """Make the client's key and certificate.

    Args:
        authority: Who signs.
        uid: The cluster's uid.
        now_s: Now, as epoch seconds.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(authority, key.public_key(), f"client.{uid}", "client", now_s)
    return Certified(key=_key_pem(key), certificate=certificate)


def sign_request(authority: Certified, request: bytes, *, node: str, role: Role, uid: str, now_s: float) -> bytes:
    """Sign the request of a key that was born on a node.

    Args:
        authority: Who signs.
        request: The request (CSR), PEM; only its public key is taken over.
        node: The node's name.
        role: The node's role.
        uid: The cluster's uid.
        now_s: Now, as epoch seconds.

    Returns:
        The certificate, PEM.

    Raises:
        BootstrapFailed: The request is none, is not signed by its own key, or is of a kind not used here.
    """
    try:
        csr = x509.load_pem_x509_csr(request)
        valid = csr.is_signature_valid
        public = csr.public_key()
    except Exception as error:  # noqa: BLE001 - whatever a node sends, the parser's complaint is our answer
        raise BootstrapFailed(
            f"Node {node} sent a certificate request that cannot be read: {error}.", node=node
        ) from None
    if not valid or not isinstance(public, ec.EllipticCurvePublicKey):
        raise BootstrapFailed(
            f"Node {node} sent a certificate request that is not signed by an elliptic curve key of its own.", node=node
        )
    return _sign(authority, public, f"{node}.{uid}", role, now_s)


def _sign(authority: Certified, public: ec.EllipticCurvePublicKey, subject: str, role: Role, now_s: float) -> bytes:
    signer = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is an elliptic curve key")
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    begins_s, ends_s = (at.timestamp() for at in (issuer.not_valid_before_utc, issuer.not_valid_after_utc))
    until_s = min(ends_s, now_s + ends_s - begins_s - BACKDATED_S)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role != "client":
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)  # workers serve each other
    builder = _builder(_name(subject), issuer.subject, public, signer.public_key(), now_s=now_s, until_s=until_s)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    return _pem(builder.sign(signer, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    *,
    now_s: float,
    until_s: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now_s - BACKDATED_S, UTC))
        .not_valid_after(datetime.fromtimestamp(until_s, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


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
