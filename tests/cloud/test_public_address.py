# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``here``: the address from which this computer is seen, or an error, never everybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.public_address import resolve_ranges
from scherbelberg.errors import BadInput, PublicAddressUnknown
from scherbelberg.settings import ADDRESS_URL, address_url_in, environment_with, variables
from scherbelberg.spec.model import check_cidr
from scherbelberg.spec.urls import HETZNER

REAL = Access(endpoint=HETZNER, token="t", token_source="the test")


@contextmanager
def echo(
    body: bytes, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Iterator[tuple[str, list[str]]]:
    """A service that tells an address; gives its URL, and a list that gets the headers of each request."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.path}\n{self.headers}")
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service says is let in, and other ranges stay as they are; no proxy comes between."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with echo(b"93.184.216.34\n") as (url, seen):
        found = resolve_ranges(("198.51.100.0/24", "here", "::/0"), REAL, address_url=url)
    assert found == ("198.51.100.0/24", "93.184.216.34/32", "::/0")
    assert [check_cidr(text) for text in found] == list(found)
    assert len(seen) == 1
    assert seen[0].startswith("/\n")
    assert "Authorization" not in seen[0]


def test_nobody_is_asked_without_need() -> None:
    """Without ``here`` no service is asked."""
    with echo(b"93.184.216.34") as (url, seen):
        assert resolve_ranges(("198.51.100.0/24",), REAL, address_url=url) == ("198.51.100.0/24",)
        assert resolve_ranges((), REAL, address_url=url) == ()
    assert seen == []


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"<html>Log in to the hotel's network</html>", 200, "answers with something that is no IPv4 address"),
        (b"", 200, "answers with something that is no IPv4 address"),
        (b"0.0.0.0/0", 200, "answers with something that is no IPv4 address"),
        (b"93.184.216.34" * 100, 200, "answers with something that is no IPv4 address"),
        (b"2a01:4f8::1", 200, "answers with something that is no IPv4 address"),
        (b"0.0.0.0", 200, "says 0.0.0.0, which is nobody's public address"),
        (b"10.1.2.3", 200, "says 10.1.2.3, which is nobody's public address"),
        (b"127.0.0.1", 200, "says 127.0.0.1, which is nobody's public address"),
        (b"100.64.1.1", 200, "says 100.64.1.1, which is nobody's public address"),
        (b"93.184.216.34", 503, "it answers with status 503"),
        (b"93.184.216.34", 302, "it answers with status 302"),
    ],
)
def test_no_address(body: bytes, status: int, reason: str) -> None:
    """An answer that is no public address is an error."""
    with (
        echo(body, status=status, headers=(("Location", "/"),)) as (url, _),
        pytest.raises(PublicAddressUnknown) as caught,
    ):
        resolve_ranges(("here",), REAL, address_url=url)
    assert reason in caught.value.message
    assert int(caught.value.exit_code) == 1


def test_nobody_answers() -> None:
    """A service that is not there is an error, with its address."""
    with echo(b"") as (url, _):
        pass
    with pytest.raises(PublicAddressUnknown, match=f"{url} does not tell"):
        resolve_ranges(("here",), REAL, address_url=url)


def test_a_sandbox_is_near() -> None:
    """For the sandbox, here is where this computer reaches it from; anything else on this computer is a cloud."""
    for body, expected in ((b'{"sandbox": "scherbelberg"}', "127.0.0.1/32"), (b"{}", "93.184.216.34/32")):
        with echo(body) as (url, seen), echo(b"93.184.216.34") as (far, _):
            access = Access(endpoint=f"{url}/v1", token="geheim", token_source="the test")
            assert resolve_ranges(("here",), access, address_url=far) == (expected,)
        assert [text.splitlines()[0] for text in seen] == ["/sandbox"]
        assert "geheim" not in seen[0]


@pytest.mark.parametrize("url", ["http://example.org", "ftp://127.0.0.1", "echo", "https://a@b.example"])
def test_address_url(url: str) -> None:
    """A service that anybody on the way could speak for is not asked."""
    with pytest.raises(BadInput, match="SCHERBELBERG_ADDRESS_URL is no https address"):
        address_url_in({"SCHERBELBERG_ADDRESS_URL": url})
    assert address_url_in({}) == ADDRESS_URL
    assert address_url_in({"SCHERBELBERG_ADDRESS_URL": "https://echo.example/ip/"}) == "https://echo.example/ip"


def test_variables() -> None:
    """Variables are taken by name, and one that is not there is named."""
    environ = {"A": "1", "B": "2"}
    assert variables(("B",), environ) == {"B": "2"}
    with pytest.raises(BadInput, match="There is no environment variable C here"):
        variables(("A", "C"), environ)
    assert environment_with({"B": "3", "C": "4"}, environ) == {"A": "1", "B": "3", "C": "4"}
