# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The API from within a company: through its proxy, past it, and behind a certificate authority of its own."""

from __future__ import annotations

import base64
import importlib.util
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from proxies import HOST, Api, Proxy, write_certificates
from serving import served

from scherbelberg.cloud.resources import Json
from scherbelberg.cloud.transport import Transport
from scherbelberg.errors import CloudUnreachable
from scherbelberg.settings import read_settings

pytestmark = pytest.mark.hosts("scripted")

TOKEN = "t" * 64
_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@frozen(kw_only=True)
class Company:
    """A network with a way to an API.

    Args:
        api: The API.
        proxy: What leads there.
        authority: The certificate that the API's is signed with.
    """

    api: Api
    proxy: Proxy
    authority: Path


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    """Such a network, where only the proxy knows the API's name, and where nothing is said of either so far."""
    for name in (*_NAMES, *(name.lower() for name in _NAMES), *_AUTHORITIES, "HCLOUD_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    monkeypatch.setattr(socket, "getaddrinfo", _lookup(known=False))
    authority, certificate = write_certificates(tmp_path)
    api = Api(certificate)
    proxy = Proxy(api.port)
    with ExitStack() as stack:
        stack.enter_context(served(api))
        stack.enter_context(served(proxy))
        yield Company(api=api, proxy=proxy, authority=authority)


@contextmanager
def plain_answers() -> Iterator[int]:
    """A server that answers in plain HTTP whatever it is sent; yields its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.connection.recv(1)
            self.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


_REAL_LOOKUP = socket.getaddrinfo


def _lookup(*, known: bool) -> object:
    """A look-up of names that asks nobody."""

    def look_up(host: str, *args: object, **kwargs: object) -> object:
        if host == HOST and not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return _REAL_LOOKUP("127.0.0.1" if host == HOST else host, *args, **kwargs)  # type: ignore[arg-type] # as given

    return look_up


async def ask(endpoint: str = f"https://{HOST}/v1") -> Json:
    """Send one request with what the surroundings say."""
    with closing(Transport(read_settings(endpoint=endpoint).access, request_s=10, patience_s=10)) as transport:
        return await transport.call("GET", "/servers")


@pytest.mark.parametrize("variable", _AUTHORITIES)
async def test_proxy_and_authority(company: Company, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Through the proxy the API is reached and proven; the proxy gets its name, and never the token."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{company.proxy.place}")
    monkeypatch.setenv(variable, str(company.authority))
    assert (await ask())["servers"] == []
    (head,) = company.proxy.heads
    assert head.startswith(f"CONNECT {HOST}:443 HTTP/1.")
    assert "authorization" not in head.lower()
    assert TOKEN not in head
    assert TOKEN.encode() not in b"".join(company.proxy.carried)
    assert [headers["Authorization"] for headers in company.api.seen] == [f"Bearer {TOKEN}"]


async def test_first_authority_wins(company: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """REQUESTS_CA_BUNDLE is what this computer's user said of HTTP, so SSL_CERT_FILE does not count beside it."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{company.proxy.place}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(company.authority))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert (await ask())["servers"] == []
    assert read_settings().access.authorities == str(company.authority)


async def test_unknown_authority(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody here trusts is one error that says so and what to do; the API is not asked."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{company.proxy.place}")
    with pytest.raises(CloudUnreachable) as caught:
        await ask()
    assert f"https://{HOST}/v1 cannot be talked to: its certificate cannot be checked with" in caught.value.message
    assert "the usual certificate authorities ([SSL: CERTIFICATE_VERIFY_FAILED]" in caught.value.message
    assert caught.value.message.endswith("REQUESTS_CA_BUNDLE or SSL_CERT_FILE names the PEM file that holds it.")
    assert len(company.proxy.heads) == 1
    assert company.api.seen == []


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_file_without_authorities(
    company: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str | None
) -> None:
    """A file of authorities that is not there or holds none is named."""
    path = tmp_path / "none.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{company.proxy.place}")
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(CloudUnreachable) as caught:
        await ask()
    assert f"its certificate cannot be checked with {path} (" in caught.value.message
    assert company.api.seen == []


@pytest.mark.parametrize("exempt", [HOST, ".cloud.example", "other.example,cloud.example", "*"])
async def test_past_the_proxy(company: Company, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    """NO_PROXY leads past the proxy, which sees nothing."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{company.proxy.place}")
    monkeypatch.setenv("NO_PROXY", exempt)
    monkeypatch.setenv("SSL_CERT_FILE", str(company.authority))
    monkeypatch.setattr(socket, "getaddrinfo", _lookup(known=True))
    assert (await ask(f"https://{HOST}:{company.api.port}/v1"))["servers"] == []
    assert company.proxy.heads == []
    assert len(company.api.seen) == 1


async def test_login_at_the_proxy(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name and password in the proxy's URL are for the proxy alone."""
    monkeypatch.setenv("https_proxy", f"http://anna:geheim@{company.proxy.place}")
    monkeypatch.setenv("SSL_CERT_FILE", str(company.authority))
    await ask()
    word = base64.b64encode(b"anna:geheim").decode()
    assert f"Proxy-Authorization: Basic {word}" in company.proxy.heads[0]
    (headers,) = company.api.seen
    assert "Proxy-Authorization" not in headers


async def test_refusal_by_the_proxy(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not let us through is named at once, with its words and without the password."""
    company.proxy.status = "407 Proxy Authentication Required"
    monkeypatch.setenv("HTTPS_PROXY", f"http://anna:geheim@{company.proxy.place}")
    with pytest.raises(CloudUnreachable) as caught:
        await ask()
    words = f"the proxy {company.proxy.place} does not lead there: Tunnel connection failed: 407"
    assert words in caught.value.message
    assert "; give it your login as HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT, then" in caught.value.message
    assert "geheim" not in caught.value.message
    assert len(company.proxy.heads) == 1


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="the package is there")
@pytest.mark.parametrize("kind", ["socks5", "socks5h", "socks4"])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_socks_without_its_package(
    company: Company, monkeypatch: pytest.MonkeyPatch, variable: str, kind: str
) -> None:
    """A SOCKS proxy for which this Python lacks a package is told as that, with the package, without the password."""
    monkeypatch.setenv(variable, f"{kind}://anna:geheim@{company.proxy.place}")
    with pytest.raises(CloudUnreachable) as caught:
        await ask()
    assert caught.value.message == (
        f"the cloud at https://{HOST}/v1 cannot be talked to: the proxy {company.proxy.place} speaks SOCKS, for which a"
        " package is missing here; install it with 'pip install pysocks', or name an http proxy in HTTPS_PROXY."
    )


@pytest.mark.parametrize("proxy", ["ftp://anna:geheim@127.0.0.1:9", "http://anna:geheim@", "http://anna:geheim@[::1"])
async def test_proxy_that_cannot_be(company: Company, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy's address that makes no sense is told as that, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(CloudUnreachable) as caught:
        await ask()
    assert "cannot be used; HTTPS_PROXY takes a proxy in the form http://HOST:PORT." in caught.value.message
    assert "geheim" not in caught.value.message


async def test_no_tls_where_it_should_be(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """What speaks no TLS in the API's place is not taken for a certificate that nobody trusts."""
    monkeypatch.setattr(socket, "getaddrinfo", _lookup(known=True))
    with plain_answers() as port, pytest.raises(CloudUnreachable) as caught:
        await ask(f"https://{HOST}:{port}/v1")
    assert "what answers there does not speak TLS as it should (" in caught.value.message
    assert "certificate" not in caught.value.message.partition(";")[2]


async def test_no_proxy_there(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not answer is named."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        place = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://{place}")
    with pytest.raises(CloudUnreachable, match=f"the proxy {place} does not lead there"):
        await ask()


def test_command_line(company: Company, tmp_path: Path) -> None:
    """The command line goes the same way, from its environment variables alone."""
    done = subprocess.run(
        [sys.executable, "-m", "scherbelberg", "ls"],
        env={
            **os.environ,
            "HCLOUD_ENDPOINT": f"https://{HOST}/v1",
            "HTTPS_PROXY": f"http://{company.proxy.place}",
            "SSL_CERT_FILE": str(company.authority),
            "SCHERBELBERG_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert company.proxy.heads
    assert {headers["Authorization"] for headers in company.api.seen} == {f"Bearer {TOKEN}"}
