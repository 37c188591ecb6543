# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A company's network on the loopback: an HTTPS server with a certificate of the company's own, and a proxy to it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from certificates import key_pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: No name server knows this name, since none may: it is reserved.
HOST = "api.cloud.example"
_QUIET_S = 20.0
_DAY = dt.timedelta(days=1)


def write_certificates(folder: Path, *, host: str = HOST) -> tuple[Path, Path]:
    """Make an authority, and a server's certificate that it signed.

    Args:
        folder: Where to write them.
        host: The server's name or IP address.

    Returns:
        The authority's certificate; the server's certificate with its key.
    """
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certify("The company's authority", authority_key, "The company's authority", authority_key)
    server = _certify(host, server_key, "The company's authority", authority_key)
    authority_file, server_file = folder / "company authority.pem", folder / "server.pem"
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    server_file.write_bytes(server.public_bytes(serialization.Encoding.PEM) + key_pem(server_key))
    return authority_file, server_file


def _other_name(subject: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(subject))
    except ValueError:
        return x509.DNSName(subject.replace(" ", "-"))


def _certify(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    is_authority = subject == issuer
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectAlternativeName([_other_name(subject)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def server_context(certificate: Path) -> ssl.SSLContext:
    """What a server with such a certificate speaks TLS by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class _Threads(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server whose connections' threads end before it is closed."""

    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what is tested."""


class Api(ThreadingHTTPServer):
    """An HTTPS server that answers every list with nothing in it, and remembers the headers of what it was asked."""

    daemon_threads = False

    def __init__(self, certificate: Path) -> None:
        self.seen: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Answers)
        self._context = server_context(certificate)
        self.port = int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, object]:
        """Take a connection; its handshake is left to its own thread."""
        inner, address = super().get_request()
        inner.settimeout(_QUIET_S)
        return self._context.wrap_socket(inner, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that do not trust us are what is tested."""


class _Answers(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))
        kind = self.path.partition("?")[0].rpartition("/")[2]
        body = json.dumps({kind: [], "meta": {"pagination": {"next_page": None, "total_entries": 0}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


class Proxy(_Threads):
    """A proxy that leads to one port of the loopback whatever it is asked for, and remembers all that it is given.

    Args:
        target: That port.
        status: What it answers to a CONNECT.
    """

    def __init__(self, target: int, status: str = "200 Connection established") -> None:
        self.target, self.status = target, status
        self.heads: list[str] = []
        self.carried: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.place = f"127.0.0.1:{self.server_address[1]}"


class _Tunnel(socketserver.StreamRequestHandler):
    server: Proxy
    timeout = _QUIET_S

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        self.server.heads.append(head.decode())
        self.wfile.write(f"HTTP/1.1 {self.server.status}\r\n\r\n".encode())
        if self.server.status.startswith("200"):
            with socket.create_connection(("127.0.0.1", self.server.target), timeout=_QUIET_S) as far:
                back = threading.Thread(target=_copy, args=(far, self.connection, []))
                back.start()
                _copy(self.connection, far, self.server.carried)
                back.join()


def _copy(source: socket.socket, target: socket.socket, kept: list[bytes]) -> None:
    try:
        while data := source.recv(65536):
            kept.append(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            end.close()
