# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Addresses that users give: of the API, to which a token is sent, and of mirrors."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from scherbelberg.errors import BadInput
from scherbelberg.spec.licence import check_licence

#: Hetzner Cloud's API.
HETZNER = "https://api.hetzner.cloud/v1"


def is_loopback(endpoint: str) -> bool:
    """Whether a URL leads to this computer.

    Args:
        endpoint: The URL.
    """
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(endpoint: str) -> str:
    """Check that a token may be sent to an endpoint.

    Args:
        endpoint: The API's URL.

    Returns:
        The URL without a slash at its end.

    Raises:
        BadInput: It is no URL, or plain http to another computer.
    """
    if not _is_plain_url(endpoint):
        shown = "with an @ in it" if "@" in endpoint else f"'{endpoint}'"  # a password may stand before it
        raise BadInput(f"The endpoint {shown} is not the URL of an API. Hetzner's is {HETZNER}.")
    if urlsplit(endpoint).scheme == "http" and not is_loopback(endpoint):
        raise BadInput(
            f"The endpoint {endpoint} is plain http, which would send your token in the clear; use https"
            " (plain http is for a sandbox on this computer's loopback)."
        )
    return endpoint.rstrip("/")


def check_mirror(url: str) -> str:
    """Check an address that stands for another one from which files come whose hashes are known.

    Args:
        url: Where the mirror is.

    Returns:
        The URL without a slash at its end.

    Raises:
        BadInput: It is no http(s) URL, has a password in it, or leads to Anaconda's own channels.
    """
    if not _is_plain_url(url) or has_secrets(url):
        shown = "with a login or a token in it" if has_secrets(url) else f"'{url}'"
        raise BadInput(f"The mirror {shown} is not an http(s) URL. Put credentials into ~/.netrc.")
    check_licence(url, what=f"The mirror '{url}'")
    return url.rstrip("/")


def has_secrets(url: str) -> bool:
    """Whether there is, or may be, a login or a token in an address.

    Args:
        url: Any.
    """
    return any(mark in url for mark in ("@", "/t/", "?", "#", '"'))


def _is_plain_url(text: str) -> bool:
    """Whether every reader of URLs sees the same host in it: libraries differ over backslashes, users and spaces."""
    if not text.isascii() or not text.isprintable() or any(character in text for character in "\\ @"):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
