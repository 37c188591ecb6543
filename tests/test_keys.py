# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Keys and certificates, tried in real handshakes and against requests that ask for too much."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from catalogues import CALM, NOW_S, UID
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BootstrapFailed
from scherbelberg.keys import Certified, Role, make_authority, make_client, make_ssh_pair, sign_request

_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S
_VALID_DAYS = 400


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _request(
    key: CertificateIssuerPrivateKeyTypes, *, subject: str = "x", extensions: tuple[x509.ExtensionType, ...] = ()
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def _sign(authority: Certified, request: bytes, *, role: Role = "worker", now_s: float = NOW_S) -> bytes:
    return sign_request(authority, request, node="worker000", role=role, uid=UID, now_s=now_s)


def _node(authority: Certified, *, role: Role = "worker", now_s: float) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    return Certified(key=_key_pem(key), certificate=_sign(authority, _request(key), role=role, now_s=now_s))


def _context(folder: Path, side: int, authority: bytes, own: Certified) -> ssl.SSLContext:
    """Make a context as strict as Python's newest default."""
    context = ssl.SSLContext(side)
    context.check_hostname = False  # as Dask does it
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=authority.decode())
    chain = folder / "chain.pem"
    chain.write_bytes(own.key + own.certificate)
    context.load_cert_chain(chain)
    return context


def _talk(folder: Path, server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Shake hands in memory, exchange a word each way, and return the subjects that client and server saw."""
    forth, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, forth)
    other = server.wrap_bio(forth, back, server_side=True)
    ended = set()
    for end in (one, other) * 4:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        ended.add(end)
    assert ended == {one, other}
    one.write(b"ping")
    assert other.read() == b"ping"
    other.write(b"pong")
    assert one.read() == b"pong"
    return _subject(one), _subject(other)


def _subject(end: ssl.SSLObject) -> str:
    certificate = x509.load_der_x509_certificate(end.getpeercert(binary_form=True) or b"")
    return certificate.subject.rfc4514_string()


Handshake = Callable[[Certified, Certified], tuple[str, str]]


@pytest.fixture
def authority() -> Certified:
    """An authority that was made now."""
    return make_authority(uid=UID, now_s=time.time())


@pytest.fixture
def shake(tmp_path: Path, authority: Certified) -> Handshake:
    """Lets a server and a client talk, both trusting the authority alone."""

    def shake(server: Certified, client: Certified) -> tuple[str, str]:
        return _talk(
            tmp_path,
            _context(tmp_path, ssl.PROTOCOL_TLS_SERVER, authority.certificate, server),
            _context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, authority.certificate, client),
        )

    return shake


def test_client_and_nodes_trust_each_other(shake: Handshake, authority: Certified) -> None:
    """Client, scheduler and workers reach each other as Dask has them do, under strict checks."""
    now_s = time.time()
    client = make_client(authority, uid=UID, now_s=now_s)
    scheduler = _node(authority, role="scheduler", now_s=now_s)
    worker = _node(authority, now_s=now_s)
    assert shake(scheduler, client) == (f"CN=worker000.{UID}", f"CN=client.{UID}")
    for server, other in ((scheduler, worker), (worker, scheduler), (worker, worker)):
        assert shake(server, other) == (f"CN=worker000.{UID}",) * 2


def test_client_cannot_serve(shake: Handshake, authority: Certified) -> None:
    """Who holds the client's key cannot pass for a scheduler."""
    client = make_client(authority, uid=UID, now_s=time.time())
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake(client, client)


def test_clusters_do_not_mix(shake: Handshake, authority: Certified) -> None:
    """Another cluster's certificates are refused on both sides, though it has the same names."""
    now_s = time.time()
    stranger = make_authority(uid=UID, now_s=now_s)
    own, foreign = _node(authority, now_s=now_s), _node(stranger, now_s=now_s)
    for server, client in ((foreign, own), (own, foreign)):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            shake(server, client)


def test_nodes_are_no_authorities(shake: Handshake, authority: Certified) -> None:
    """What a node signs with its own key is not trusted."""
    now_s = time.time()
    node = _node(authority, now_s=now_s)
    forged = _node(node, now_s=now_s)
    chained = Certified(key=forged.key, certificate=forged.certificate + node.certificate)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(chained, make_client(authority, uid=UID, now_s=now_s))


@pytest.mark.parametrize(
    ("ahead_s", "trusted"),
    [(0.9 * _HOUR_S, True), (1.1 * _HOUR_S, False), (-399 * _DAY_S, True), (-401 * _DAY_S, False)],
)
def test_validity_in_a_handshake(shake: Handshake, authority: Certified, ahead_s: float, trusted: bool) -> None:
    """A clock that is nearly an hour behind does not matter; after 400 days it is over."""
    node = _node(authority, now_s=time.time() + ahead_s)
    client = make_client(authority, uid=UID, now_s=time.time())
    if trusted:
        shake(node, client)
    else:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            shake(node, client)


def _stated(pem: bytes) -> dict[str, object]:
    """State all that a certificate says but its keys and number."""
    certificate = x509.load_pem_x509_certificate(pem)
    algorithm = certificate.signature_hash_algorithm
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "begins": certificate.not_valid_before_utc,
        "ends": certificate.not_valid_after_utc,
        "hash": algorithm and algorithm.name,
        "extensions": {
            extension.oid._name: (extension.critical, extension.value)
            for extension in certificate.extensions
            if not isinstance(extension.value, x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier)
        },
    }


def _usage(*, signs_data: bool, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _expected(subject: str, usages: list[x509.ObjectIdentifier]) -> dict[str, object]:
    now = datetime.fromtimestamp(NOW_S, UTC)
    return {
        "subject": f"CN={subject}",
        "issuer": f"CN=scherbelberg {UID}",
        "begins": now - timedelta(hours=1),
        "ends": now + timedelta(days=_VALID_DAYS),
        "hash": "sha256",
        "extensions": {
            "basicConstraints": (True, x509.BasicConstraints(ca=False, path_length=None)),
            "keyUsage": (True, _usage(signs_data=True, signs_certificates=False)),
            "extendedKeyUsage": (False, x509.ExtendedKeyUsage(usages)),
            "subjectAltName": (False, x509.SubjectAlternativeName([x509.DNSName(subject)])),
        },
    }


_CLIENT, _SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def test_authority_in_full() -> None:
    """The authority signs certificates and nothing else, and no other authority."""
    now = datetime.fromtimestamp(NOW_S, UTC)
    assert _stated(make_authority(uid=UID, now_s=NOW_S).certificate) == {
        "subject": f"CN=scherbelberg {UID}",
        "issuer": f"CN=scherbelberg {UID}",
        "begins": now - timedelta(hours=1),
        "ends": now + timedelta(days=_VALID_DAYS),
        "hash": "sha256",
        "extensions": {
            "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=0)),
            "keyUsage": (True, _usage(signs_data=False, signs_certificates=True)),
        },
    }


def test_client_in_full() -> None:
    """The client's certificate is a client's only."""
    authority = make_authority(uid=UID, now_s=NOW_S)
    certificate = make_client(authority, uid=UID, now_s=NOW_S).certificate
    assert _stated(certificate) == _expected(f"client.{UID}", [_CLIENT])


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_node_in_full(role: Role) -> None:
    """A node's certificate is its own, for both ends of a connection."""
    authority = make_authority(uid=UID, now_s=NOW_S)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(authority, _request(key), role=role)
    assert _stated(certificate) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])
    assert x509.load_pem_x509_certificate(certificate).public_key() == key.public_key()


def test_request_that_asks_for_too_much() -> None:
    """A request for another subject, to be an authority or to sign for others gets nothing but its key certified."""
    authority = make_authority(uid=UID, now_s=NOW_S)
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = _request(
        key,
        subject=f"client.{UID}",
        extensions=(
            x509.BasicConstraints(ca=True, path_length=None),
            _usage(signs_data=True, signs_certificates=True),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            x509.SubjectAlternativeName([x509.DNSName("scheduler"), x509.DNSName("*")]),
        ),
    )
    assert _stated(_sign(authority, greedy)) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()], ids=["rsa", "ed25519"]
)
def test_other_kinds_of_keys(key: CertificateIssuerPrivateKeyTypes) -> None:
    """A request of a kind that bootstrap.sh does not make is refused."""
    with pytest.raises(BootstrapFailed, match="worker000") as caught:
        _sign(make_authority(uid=UID, now_s=NOW_S), _request(key))
    assert caught.value.node == "worker000"


def test_request_of_somebody_elses_key() -> None:
    """Who cannot sign with a key gets no certificate for it."""
    request = x509.load_pem_x509_csr(_request(ec.generate_private_key(ec.SECP256R1())))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1  # the signature's last byte
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(BootstrapFailed, match="its key did not sign"):
        _sign(make_authority(uid=UID, now_s=NOW_S), forged)


_AUTHORITY = make_authority(uid=UID, now_s=NOW_S)
_PLAIN = _request(ec.generate_private_key(ec.SECP256R1()))


@CALM
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda junk: _PLAIN[:60] + junk + _PLAIN[60:]))
def test_request_of_garbage(request: bytes) -> None:
    """Whatever a node sends, the answer is our error or a certificate of the usual kind, never a crash."""
    try:
        certificate = _sign(_AUTHORITY, request)
    except BootstrapFailed:
        return
    assert _stated(certificate) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_request_of_openssl(tmp_path: Path, shake: Handshake, authority: Certified) -> None:
    """A key and a request that openssl made, as on a node, become a certificate that works."""
    key, request = tmp_path / "node.key", tmp_path / "node.csr"
    make_key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]
    make_request = ["openssl", "req", "-new", "-key", key, "-subj", "/CN=worker000", "-sha256", "-out", request]
    for command in (make_key, make_request):
        subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=20)
    now_s = time.time()
    node = Certified(key=key.read_bytes(), certificate=_sign(authority, request.read_bytes(), now_s=now_s))
    assert shake(node, make_client(authority, uid=UID, now_s=now_s))[0] == f"CN=worker000.{UID}"


def test_everything_is_new_each_time() -> None:
    """No key and no serial number is used twice."""
    assert len({make_ssh_pair().private for _ in range(5)}) == 5
    made = [make_client(_AUTHORITY, uid=UID, now_s=NOW_S) for _ in range(5)]
    assert len({one.key for one in made}) == 5
    assert len({x509.load_pem_x509_certificate(one.certificate).serial_number for one in made}) == 5


def test_ssh_pair() -> None:
    """Both halves are in OpenSSH's formats and belong together."""
    pair = make_ssh_pair()
    key = serialization.load_ssh_private_key(pair.private.encode(), password=None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    assert key.public_key() == serialization.load_ssh_public_key(pair.public.encode())
    kind, _, rest = pair.public.partition(" ")
    assert (kind, rest.split()) == ("ssh-ed25519", [rest])
    assert pair.private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert pair.private.endswith("-----END OPENSSH PRIVATE KEY-----\n")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")
def test_ssh_pair_of_openssh(tmp_path: Path) -> None:
    """OpenSSH reads the private key and finds the same public one."""
    pair = make_ssh_pair()
    file = tmp_path / "id"
    file.touch(mode=0o600)
    file.write_text(pair.private, encoding="utf-8")
    found = subprocess.run(["ssh-keygen", "-y", "-f", file], check=True, capture_output=True, text=True, timeout=20)
    assert found.stdout.split()[:2] == pair.public.split()


def test_private_keys_are_not_shown() -> None:
    """No representation holds a private key."""
    pair, client = make_ssh_pair(), make_client(_AUTHORITY, uid=UID, now_s=NOW_S)
    assert repr(pair) == f"SshPair(public='{pair.public}')"
    assert repr(client) == f"Certified(certificate={client.certificate!r})"
    assert "PRIVATE" not in f"{pair} {client}"
