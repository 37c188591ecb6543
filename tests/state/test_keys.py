# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Keys and certificates in full, also for requests that ask for too much or are none, and sealed bytes."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from catalogues import CALM, NOW_S, UID
from certificates import make_request, sign
from cheap_seal import CHEAP
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput, BootstrapFailed
from scherbelberg.state.keys import Role, make_authority, make_client, make_ssh_pair, seal, unseal

_VALID_DAYS = 400


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


def test_authority_that_lives_long() -> None:
    """What an authority signs lives as long as it, also what it signs later, and nothing lives longer."""
    days, later_s = 3660, 500 * 86400
    authority = make_authority(uid=UID, now_s=NOW_S, lasts_s=days * 86400)
    end = datetime.fromtimestamp(NOW_S, UTC) + timedelta(days=days)
    request = make_request(ec.generate_private_key(ec.SECP256R1()))
    made = [authority.certificate, make_client(authority, uid=UID, now_s=NOW_S).certificate]
    made += [sign(authority, request), sign(authority, request, now_s=NOW_S + later_s)]
    assert [_stated(pem)["ends"] for pem in made] == [end] * 4


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
    certificate = sign(authority, make_request(key), role=role)
    assert _stated(certificate) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])
    assert x509.load_pem_x509_certificate(certificate).public_key() == key.public_key()


def test_request_that_asks_for_too_much() -> None:
    """A request for another subject, to be an authority or to sign for others gets nothing but its key certified."""
    authority = make_authority(uid=UID, now_s=NOW_S)
    key = ec.generate_private_key(ec.SECP256R1())
    greedy = make_request(
        key,
        subject=f"client.{UID}",
        extensions=(
            x509.BasicConstraints(ca=True, path_length=None),
            _usage(signs_data=True, signs_certificates=True),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            x509.SubjectAlternativeName([x509.DNSName("scheduler"), x509.DNSName("*")]),
        ),
    )
    assert _stated(sign(authority, greedy)) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()], ids=["rsa", "ed25519"]
)
def test_other_kinds_of_keys(key: CertificateIssuerPrivateKeyTypes) -> None:
    """A request of a kind that bootstrap.sh does not make is refused."""
    with pytest.raises(BootstrapFailed, match="worker000") as caught:
        sign(make_authority(uid=UID, now_s=NOW_S), make_request(key))
    assert caught.value.node == "worker000"


def test_request_of_somebody_elses_key() -> None:
    """Who cannot sign with a key gets no certificate for it."""
    request = x509.load_pem_x509_csr(make_request(ec.generate_private_key(ec.SECP256R1())))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1  # the signature's last byte
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(BootstrapFailed, match="is not signed by an elliptic curve key of its own"):
        sign(make_authority(uid=UID, now_s=NOW_S), forged)


_AUTHORITY = make_authority(uid=UID, now_s=NOW_S)
_PLAIN = make_request(ec.generate_private_key(ec.SECP256R1()))


@CALM
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda junk: _PLAIN[:60] + junk + _PLAIN[60:]))
def test_request_of_garbage(request: bytes) -> None:
    """Whatever a node sends, the answer is our error or a certificate of the usual kind, never a crash."""
    try:
        certificate = sign(_AUTHORITY, request)
    except BootstrapFailed:
        return
    assert _stated(certificate) == _expected(f"worker000.{UID}", [_CLIENT, _SERVER])


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


_PASSPHRASE = "correct horse battery"


@given(content=st.binary(max_size=500), passphrase=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_round_trip(content: bytes, passphrase: str) -> None:
    """What comes out is what went in, and none of a longer content stands in the file."""
    sealed = seal(content, passphrase, cost=CHEAP)
    assert unseal(sealed, passphrase, cost=CHEAP) == content
    assert len(content) < 8 or content not in sealed[len("scherbelberg export 1\n") :]


@given(content=st.binary(max_size=60), data=st.data())
def test_any_other_byte_is_refused(content: bytes, data: st.DataObject) -> None:
    """A file in which one byte is another one is refused, wherever it is."""
    sealed = bytearray(seal(content, _PASSPHRASE, cost=CHEAP))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadInput):
        unseal(bytes(sealed), _PASSPHRASE, cost=CHEAP)


@given(noise=st.binary(max_size=200), with_header=st.booleans())
def test_noise_is_refused(noise: bytes, with_header: bool) -> None:
    """Random bytes are refused, also behind a header."""
    with pytest.raises(BadInput):
        unseal((b"scherbelberg export 1\n" if with_header else b"") + noise, _PASSPHRASE, cost=CHEAP)


def test_sentences() -> None:
    """A wrong passphrase, a cut file and a newer version are told apart, at the real cost."""
    sealed = seal(b"content", _PASSPHRASE)
    assert unseal(sealed, _PASSPHRASE) == b"content"
    with pytest.raises(BadInput, match=r"^The passphrase is not the one"):
        unseal(sealed, "another passphrase")
    with pytest.raises(BadInput, match=r"^The exported file is damaged"):
        unseal(sealed[:-1], _PASSPHRASE)
    with pytest.raises(BadInput, match=r"by a newer scherbelberg"):
        unseal(sealed.replace(b"export 1\n", b"export 2\n"), _PASSPHRASE)
