# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks an API on this computer whether it is the sandbox; what does not say so is a cloud, wherever it is."""

from __future__ import annotations

import contextlib
import http.client
import json
from urllib.parse import urlsplit

from scherbelberg.cloud.access import Access

#: Beside the API, and what it says there.
PATH = "/sandbox"
ANSWER = {"sandbox": "scherbelberg"}
_WITHIN_S = 2.0
_LONGEST = 1024


def is_emulated(access: Access) -> bool:
    """Whether the API says that it is the sandbox; only one on this computer is asked, and without the token.

    Args:
        access: Where it is.
    """
    if not access.is_local:
        return False
    parts = urlsplit(access.endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_WITHIN_S)
    try:
        with contextlib.closing(connection):
            connection.request("GET", PATH, headers={"User-Agent": "scherbelberg"})
            with connection.getresponse() as answer:
                return answer.status == 200 and bool(json.loads(answer.read(_LONGEST)) == ANSWER)
    except (OSError, ValueError, http.client.HTTPException):
        return False
