# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A scripted host's TLS key, its request and its certificate, made and looked at as the node's script does."""

from __future__ import annotations

import base64
import binascii
import ssl
import time
from pathlib import Path

from scherbelberg.sandbox.hosts import fake_programs
from scherbelberg.sandbox.hosts.system import write_private


class TlsIdentity:
    """The key and certificate of one host.

    Args:
        folder: Where they are kept.
        authority: The pushed certificate of the cluster's authority.
        mark: Tells the node from any other.
    """

    def __init__(self, folder: Path, authority: Path, mark: str) -> None:
        self._folder = folder
        self._authority = authority
        self._title = f"scherbelberg {mark}\n".encode()

    @property
    def authority(self) -> Path:
        """The authority's certificate, as installed."""
        return self._folder / "ca.pem"

    @property
    def certified(self) -> Path:
        """Key and certificate, in one file."""
        return self._folder / "node.pem"

    def valid_until(self) -> str | None:
        """When it expires; None where there is none that is this node's and good for this cluster."""
        try:
            same = self.authority.read_bytes() == self._authority.read_bytes()
            titled = self.certified.read_bytes().startswith(self._title)
            return examine(self.authority, self.certified) if same and titled else None
        except (OSError, ValueError):
            return None

    def request(self, name: str) -> str:
        """Make a key and a request for its certificate.

        Args:
            name: The node's.

        Returns:
            The request, base64 of PEM.
        """
        key, request = self._folder / "new.key", self._folder / "new.csr"
        fake_programs.openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)])
        fake_programs.openssl(
            ["req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-sha256", "-out", str(request)]
        )
        return base64.b64encode(request.read_bytes()).decode()

    def install(self, text: str) -> None:
        """Take the certificate.

        Args:
            text: Base64 of PEM.

        Raises:
            ValueError: It is refused; a sentence says why.
        """
        try:
            certificate = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError("the client's certificate is not base64") from None
        both = self._folder / "new.pem"
        write_private(both, self._title + (self._folder / "new.key").read_bytes() + certificate)
        try:
            examine(self._authority, both)
        except (OSError, ValueError) as error:
            raise ValueError(f"the client's certificate is refused: {error}") from None
        write_private(self.authority, self._authority.read_bytes(), mode=0o644)
        both.replace(self.certified)
        for left in self._folder.glob("new.*"):
            left.unlink()


def examine(authority: Path, certified: Path) -> str:
    """Talk to oneself over TLS as Dask does, both ends checked.

    Args:
        authority: Certificate of the authority.
        certified: Key and certificate.

    Returns:
        When the certificate expires.

    Raises:
        OSError: They do not fit together.
        ValueError: It expires soon.
    """
    back, forth = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _context(ssl.Purpose.SERVER_AUTH, authority, certified).wrap_bio(back, forth)
    server = _context(ssl.Purpose.CLIENT_AUTH, authority, certified).wrap_bio(forth, back, server_side=True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert() or {}
    server.getpeercert()
    begin, until = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    if until - time.time() < (until - begin) / 10:
        raise ValueError("it expires soon")
    return str(certificate["notAfter"])


def _context(purpose: ssl.Purpose, authority: Path, certified: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cafile=str(authority))
    context.load_cert_chain(certified)
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    return context
