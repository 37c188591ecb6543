# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an answer of the cloud's API means for us. Pure, so that a table of tests can state all of it."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What to do about an error."""

    RETRY = "the cloud will answer otherwise in a moment"
    BUSY = "the resource is locked or in use for now"
    TAKEN = "a resource of this name exists"
    GONE = "there is no such resource"
    CAPACITY = "not available in this place"
    QUOTA = "a limit of the account is reached"
    TOKEN = "the token is not good for this"  # noqa: S105 - a sentence, not a secret
    FINAL = "the request is wrong"


_VERDICTS = {
    "rate_limit_exceeded": Verdict.RETRY,
    "maintenance": Verdict.RETRY,
    "unavailable": Verdict.RETRY,
    "service_error": Verdict.RETRY,
    "server_error": Verdict.RETRY,
    "bad_gateway": Verdict.RETRY,
    "timeout": Verdict.RETRY,
    "locked": Verdict.BUSY,
    "conflict": Verdict.BUSY,
    "resource_in_use": Verdict.BUSY,
    "uniqueness_error": Verdict.TAKEN,
    "not_found": Verdict.GONE,
    "resource_unavailable": Verdict.CAPACITY,
    "placement_error": Verdict.CAPACITY,
    "resource_limit_exceeded": Verdict.QUOTA,
    "unauthorized": Verdict.TOKEN,
    "token_readonly": Verdict.TOKEN,
    "forbidden": Verdict.TOKEN,
}
#: Said as ``invalid_input``, meant as "not sold here".
_NOT_SOLD = ("unsupported location for server type", "is deprecated")


def triage(code: str | int, message: str) -> Verdict:
    """Tell what an error means.

    Args:
        code: The API's error code, or the HTTP status of an answer without one, which a server on the way gives for a
            moment.
        message: The API's words.
    """
    if isinstance(code, int):
        return Verdict.RETRY
    if code == "invalid_input" and any(words in message for words in _NOT_SOLD):
        return Verdict.CAPACITY
    return _VERDICTS.get(code, Verdict.FINAL)
