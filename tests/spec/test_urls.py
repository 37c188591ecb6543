# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Addresses that users give: where a token may be sent, and which mirrors are taken."""

from __future__ import annotations

import pytest

from scherbelberg.errors import BadInput
from scherbelberg.spec.urls import HETZNER, check_endpoint, check_mirror


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (HETZNER, HETZNER),
        ("https://api.hetzner.cloud/v1/", HETZNER),
        ("https://cloud.example:8443/v1", "https://cloud.example:8443/v1"),
        ("http://127.65.0.1:40000/v1", "http://127.65.0.1:40000/v1"),
        ("http://localhost:80/v1/", "http://localhost:80/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("HTTP://LOCALHOST/v1", "HTTP://LOCALHOST/v1"),
    ],
)
def test_good_endpoint(endpoint: str, expected: str) -> None:
    """Https anywhere and plain http on the loopback are fine; a slash at the end is dropped."""
    assert check_endpoint(endpoint) == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://api.hetzner.cloud/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0/v1",
        "http://127.0.0.1.example/v1",
        "http://localhost.example/v1",
        "http://evil.example/127.0.0.1",
        "http://evil.example?http://127.0.0.1",
        "http://evil.example#127.0.0.1",
        "http://2130706433/v1",
        "http://[2001:db8::1]/v1",
    ],
)
def test_plain_http_off_the_loopback(endpoint: str) -> None:
    """Plain http to another computer, however it is dressed, would show the token to everybody."""
    with pytest.raises(BadInput, match="plain http, which would send your token in the clear"):
        check_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "api.hetzner.cloud/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "//x/v1",
        "http://[bad/v1",
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:0/v1",
        "https://ho st/v1",
        "https://clöud.example/v1",
        "https://cloud.example/v1\n",
    ],
)
def test_no_endpoint(endpoint: str) -> None:
    """What is no URL of an API is refused, and the sentence shows a good one."""
    with pytest.raises(BadInput) as caught:
        check_endpoint(endpoint)
    assert caught.value.message == (
        f"The endpoint '{endpoint}' is not the URL of an API. Hetzner's is https://api.hetzner.cloud/v1."
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1@evil.example/v1",
        "http://127.0.0.1:80@evil.example/v1",
        "http://evil.example@127.0.0.1/v1",
        "http://evil.example\\@127.0.0.1/v1",
        "http://127.0.0.1\\.evil.example/v1",
        "http://evil.example#@127.0.0.1",
        "https://user:password@cloud.example/v1",
    ],
)
def test_endpoint_that_readers_differ_over(endpoint: str) -> None:
    """What one library takes for the host and another for a user's name is refused: the token may go to neither."""
    with pytest.raises(BadInput, match="is not the URL of an API"):
        check_endpoint(endpoint)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://mirror.example/conda/", "https://mirror.example/conda"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("HTTP://[::1]/x/y//", "HTTP://[::1]/x/y"),
    ],
)
def test_good_mirror(url: str, expected: str) -> None:
    """A mirror may be plain http anywhere, since all that comes from it is verified."""
    assert check_mirror(url) == expected


@pytest.mark.parametrize(
    "url", ["", "mirror.example", "ftp://a.b/c", "file:///srv", "https://", "https://a b/", "http://a:0"]
)
def test_bad_mirror(url: str) -> None:
    """What is no http(s) address is none of a mirror."""
    with pytest.raises(BadInput, match="is not an http"):
        check_mirror(url)


@pytest.mark.parametrize("end", ["/t/tk-123/conda", "/conda?token=tk-123", "/conda#tk-123"])
def test_mirror_with_a_token(end: str) -> None:
    """A token in a mirror's address is refused without showing it: nodes' files would hold it."""
    with pytest.raises(BadInput, match="with a login or a token in it") as caught:
        check_mirror(f"https://mirror.example{end}")
    assert "tk-123" not in caught.value.message


def test_mirror_with_a_password() -> None:
    """A password in a mirror's address is refused without showing it, and with a better place for it."""
    with pytest.raises(BadInput) as caught:
        check_mirror("https://anna:s3cret@mirror.example")
    assert caught.value.message == (
        "The mirror with a login or a token in it is not an http(s) URL. Put credentials into ~/.netrc."
    )
