# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an answer of the cloud's API means for us. Pure, so that a table of tests can state all of it."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

#: Said as ``invalid_input``, meant as "not sold here".
_NOT_SOLD = ("unsupported location for server type", "is deprecated")
#: Statuses that any server on the way may send for a moment, without an error in the API's form.
_PASSING = {408, 429}
#: Those of a network that wants a login first, and of a proxy that does.
_NETWORK_LOGIN, _PROXY_LOGIN = 511, 407


class ErrorClass(Enum):
    """What to do about an error."""

    RETRY = "the cloud will answer otherwise in a moment"
    BUSY = "the resource is locked or in use for now"
    TAKEN = "a resource of this name exists"
    GONE = "there is no such resource"
    CAPACITY = "not available in this place"
    QUOTA = "a limit of the account is reached"
    TOKEN = "the token is not good for this"  # noqa: S105 - a sentence, not a secret
    FINAL = "the request is wrong"


_ERROR_CLASSES = {
    "rate_limit_exceeded": ErrorClass.RETRY,
    "maintenance": ErrorClass.RETRY,
    "unavailable": ErrorClass.RETRY,
    "service_error": ErrorClass.RETRY,
    "server_error": ErrorClass.RETRY,
    "bad_gateway": ErrorClass.RETRY,
    "timeout": ErrorClass.RETRY,
    "locked": ErrorClass.BUSY,
    "conflict": ErrorClass.BUSY,
    "resource_in_use": ErrorClass.BUSY,
    "uniqueness_error": ErrorClass.TAKEN,
    "not_found": ErrorClass.GONE,
    "resource_unavailable": ErrorClass.CAPACITY,
    "placement_error": ErrorClass.CAPACITY,
    "resource_limit_exceeded": ErrorClass.QUOTA,
    "unauthorized": ErrorClass.TOKEN,
    "token_readonly": ErrorClass.TOKEN,
    "forbidden": ErrorClass.TOKEN,
}


def classify(code: str | int, message: str) -> ErrorClass:
    """Tell what an error means.

    Args:
        code: The API's error code, or the HTTP status of an answer without one, which a server on the way gives for a
            moment.
        message: The API's words.
    """
    if isinstance(code, int):
        return ErrorClass.RETRY
    if code == "invalid_input" and any(words in message for words in _NOT_SOLD):
        return ErrorClass.CAPACITY
    return _ERROR_CLASSES.get(code, ErrorClass.FINAL)


def foreign_answer(method: str, path: str, *, status: int, location: str | None, content: bytes) -> str | None:
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
