# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which answers are not the cloud's API's: those of login pages, proxies and other servers in its place. Pure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

#: Statuses that any server on the way may send for a moment, without an error in the API's form.
_PASSING = {408, 429}
#: Those of a network that wants a login first, and of a proxy that does.
_NETWORK_LOGIN, _PROXY_LOGIN = 511, 407


def stranger_in(method: str, path: str, *, status: int, location: str | None, content: bytes) -> str | None:
    """Say what answered instead of the API.

    Args:
        method: Of the request.
        path: Of the request, below the endpoint.
        status: Of the answer.
        location: Where the answer leads, or None.
        content: The answer's body.

    Returns:
        A few words, or None for an answer that may be the API's, or that will be another one in a moment.
    """
    if 300 <= status < 400:
        target = urlsplit(location or "").hostname or "another page"
        return f"a redirection to {target} (status {status})"
    if status in {_NETWORK_LOGIN, _PROXY_LOGIN}:
        return f"something that asks for a login (status {status})"
    if status >= 500 or status in _PASSING or status == 204:
        return None
    try:
        payload = json.loads(content)
    except ValueError:
        return f"{_kind(content)} (status {status})"
    return None if _is_ours(method, path, status, payload) else f"JSON of another kind (status {status})"


def _kind(content: bytes) -> str:
    if not content.strip():
        return "an empty answer"
    return "a web page" if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else "text that is no JSON"


def _is_ours(method: str, path: str, status: int, payload: Any) -> bool:
    if not isinstance(payload, dict):
        return False
    if status >= 400:
        error = payload.get("error")
        return isinstance(error, dict) and all(isinstance(error.get(key), str) for key in ("code", "message"))
    words = path.strip("/").split("/")
    if method == "GET":
        return words[-1] in payload
    return not {words[0].removesuffix("s"), "action", "actions"}.isdisjoint(payload)
