# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The one rule about Anaconda's own channels: nothing on nodes comes from there, by whatever name or address."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from scherbelberg.errors import BadInput

_NAMES = r"defaults|anaconda|(pkgs/)?(main|free|r|pro|msys2)"
_NAME = re.compile(rf"({_NAMES})(/(noarch|(linux|osx|win)-\w+))?", re.IGNORECASE)
_HOST = re.compile(r"repo\.(anaconda\.(com|cloud|io|org)|continuum\.(com|io))")
#: Where all channels are, theirs among them, perhaps behind a token.
_SHARED = "conda.anaconda.org"
_PATH = re.compile(rf"(/t/[^/]*)?/({_NAMES})(/.*)?", re.IGNORECASE)
#: The channel that a match spec names.
_OF_SPEC = re.compile(r"""^(?P<before>[^\s\[]+?)::|\bchannel\s*=\s*["']?(?P<within>[^"',\]\s]+)""")


def is_licensed(text: str) -> bool:
    """Whether a channel is Anaconda's own, which wants a licence of many.

    Args:
        text: A channel's name or URL, or the URL of a file in it or of a mirror.
    """
    if "://" not in text:
        return _NAME.fullmatch(text.strip("/")) is not None
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    return _HOST.fullmatch(host) is not None or (host == _SHARED and _PATH.fullmatch(parts.path) is not None)


def check_licence(text: str, *, what: str) -> None:
    """Refuse what comes from a channel of Anaconda's own.

    Args:
        text: As for `is_licensed`.
        what: Begins the error's sentence: who wants what.

    Raises:
        BadInput: It does.
    """
    if is_licensed(text):
        raise BadInput(f"{what} belongs to Anaconda, and many users need a licence for it. Use conda-forge.")


def check_licence_of_spec(text: str, *, what: str) -> None:
    """Refuse a match spec that names a channel of Anaconda's own.

    Args:
        text: The match spec.
        what: As for `check_licence`.

    Raises:
        BadInput: It does.
    """
    for match in _OF_SPEC.finditer(text):
        check_licence(match["before"] or match["within"], what=what)
