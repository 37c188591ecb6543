# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From which address this computer is seen, so that a firewall lets it in and nobody else.

Asked plainly: no proxy, no redirection, no cookie, and over IPv4, since nodes are reached by IPv4 without a proxy; over
IPv6 where this computer has no way by IPv4, since then they are reached by that.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.emulated import is_emulated
from scherbelberg.errors import PublicAddressUnknown

#: The word for a range that is not known yet.
HERE = "here"
_WITHIN_S = 5.0
#: Is nobody's, and shows whether there is a way into the internet by IPv4.
_SOMEWHERE = "203.0.113.1"
#: What a provider gives to one customer at the least; a computer changes its address within it from day to day.
_OWN_IPV6_BITS = 64
#: An address takes at most 45 characters.
_LONGEST = 64


def resolve_ranges(ranges: Iterable[str], access: Access, *, address_url: str) -> tuple[str, ...]:
    """Replace ``here`` among ranges of addresses; nobody is asked where there is none.

    Args:
        ranges: In CIDR notation, or ``here``.
        access: Where the cloud is.
        address_url: Where to ask for the public address.

    Raises:
        PublicAddressUnknown: It cannot be found out.
    """
    texts = tuple(ranges)
    if HERE not in texts:
        return texts
    own = _near(access) if is_emulated(access) else _public(address_url)
    return tuple(own if text == HERE else text for text in texts)


def _near(access: Access) -> str:
    """The address from which this computer reaches the sandbox on itself; no packet is sent to find out."""
    parts = urlsplit(access.endpoint)
    kind, _, _, _, place = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind, socket.SOCK_DGRAM) as probe:
        probe.connect(place)
        return str(ipaddress.ip_network(probe.getsockname()[0]))


def _public(url: str) -> str:
    is_ipv4 = has_route(_SOMEWHERE) or not _is_by_ipv6(url)
    try:
        said = _ask(url, "0.0.0.0" if is_ipv4 else "::")  # noqa: S104 - any of ours
    except (OSError, http.client.HTTPException) as error:
        raise _unknown(f"{url} does not tell ({str(error) or type(error).__name__})") from None
    try:
        address = ipaddress.IPv4Address(said) if is_ipv4 else ipaddress.IPv6Address(said)
    except ValueError:
        kind = "IPv4" if is_ipv4 else "IPv6"
        raise _unknown(f"{url} answers with something that is no {kind} address") from None
    if not address.is_global:
        raise _unknown(f"{url} says {address}, which is nobody's public address")
    bits = address.max_prefixlen if is_ipv4 else _OWN_IPV6_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))


def _is_by_ipv6(url: str) -> bool:
    """Whether a service has an IPv6 address to which this computer has a way."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return False
    return any(has_route(str(place[0])) for *_, place in found)


def _ask(url: str, source: str) -> str:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    # A source address of one kind keeps the connection from going by the other.
    connection = kind(parts.hostname or "", parts.port, timeout=_WITHIN_S, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request("GET", parts.path or "/", headers={"Accept": "text/plain", "User-Agent": "scherbelberg"})
        # Closed on its own: as long as the answer is not read to its end, it holds the connection's socket.
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise http.client.HTTPException(f"it answers with status {answer.status}")
            return answer.read(_LONGEST).decode("ascii", "replace").strip()


def _unknown(reason: str) -> PublicAddressUnknown:
    return PublicAddressUnknown(
        f"This computer's public address is not known: {reason}. Name it yourself as a range, such as 203.0.113.7/32."
    )


def has_route(address: str) -> bool:
    """Whether this computer has a way to an address, which may still lead nowhere. No packet is sent to find out.

    Args:
        address: IPv4 or IPv6.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 1))
    except OSError:
        return False
    return True
