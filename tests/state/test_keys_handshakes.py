# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Certificates in real handshakes, as strict as Python's newest default."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogues import UID
from certificates import make_node, sign
from cryptography import x509

from scherbelberg.state.keys import Certified, make_authority, make_client

_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S


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
    scheduler = make_node(authority, role="scheduler", now_s=now_s)
    worker = make_node(authority, now_s=now_s)
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
    own, foreign = make_node(authority, now_s=now_s), make_node(stranger, now_s=now_s)
    for server, client in ((foreign, own), (own, foreign)):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            shake(server, client)


def test_nodes_are_no_authorities(shake: Handshake, authority: Certified) -> None:
    """What a node signs with its own key is not trusted."""
    now_s = time.time()
    node = make_node(authority, now_s=now_s)
    forged = make_node(node, now_s=now_s)
    chained = Certified(key=forged.key, certificate=forged.certificate + node.certificate)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(chained, make_client(authority, uid=UID, now_s=now_s))


@pytest.mark.parametrize(
    ("ahead_s", "trusted"),
    [(0.9 * _HOUR_S, True), (1.1 * _HOUR_S, False), (-399 * _DAY_S, True), (-401 * _DAY_S, False)],
)
def test_validity_in_a_handshake(shake: Handshake, authority: Certified, ahead_s: float, trusted: bool) -> None:
    """A clock that is nearly an hour behind does not matter; after 400 days it is over."""
    node = make_node(authority, now_s=time.time() + ahead_s)
    client = make_client(authority, uid=UID, now_s=time.time())
    if trusted:
        shake(node, client)
    else:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            shake(node, client)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_request_of_openssl(tmp_path: Path, shake: Handshake, authority: Certified) -> None:
    """A key and a request that openssl made, as on a node, become a certificate that works."""
    key, request = tmp_path / "node.key", tmp_path / "node.csr"
    make_key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]
    make_csr = ["openssl", "req", "-new", "-key", key, "-subj", "/CN=worker000", "-sha256", "-out", request]
    for command in (make_key, make_csr):
        subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=20)
    now_s = time.time()
    node = Certified(key=key.read_bytes(), certificate=sign(authority, request.read_bytes(), now_s=now_s))
    assert shake(node, make_client(authority, uid=UID, now_s=now_s))[0] == f"CN=worker000.{UID}"
