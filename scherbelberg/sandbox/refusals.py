# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Errors of the API as exceptions, in Hetzner's words where those are known."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """The API refuses a request.

    Args:
        status: HTTP status.
        code: The API's code.
        message: One line for people.
        details: Data for programs, or None.
    """

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


def invalid(field: str, message: str) -> Refused:
    """A field of the request is wrong."""
    details = {"fields": [{"name": field, "messages": [message]}]}
    return Refused(422, "invalid_input", f"invalid input in field '{field}': {message}", details)


def unsupported(message: str) -> Refused:
    """The fields are right, but not together."""
    return Refused(422, "invalid_input", message)


def missing(kind: str, key: object) -> Refused:
    """There is no such resource."""
    return Refused(404, "not_found", f"{kind} with ID '{key}' not found")


def taken(field: str, message: str) -> Refused:
    """Something must be unique and is not."""
    return Refused(409, "uniqueness_error", message, {"fields": [{"name": field}]})


def locked() -> Refused:
    """An action runs on this resource."""
    return Refused(423, "locked", "cannot perform operation because resource is locked")


def in_use(kind: str, key: object) -> Refused:
    """Something still uses the resource."""
    return Refused(422, "resource_in_use", f"{kind} with ID '{key}' is still in use")


def protected() -> Refused:
    """The resource is protected from deletion."""
    return Refused(403, "protected", "cannot perform operation because resource is protected")


def over_limit(name: str, message: str) -> Refused:
    """A quota of the account, or a limit of the cloud, is reached.

    Args:
        name: Of the limit, as Hetzner shows it.
        message: One line for people.
    """
    return Refused(403, "resource_limit_exceeded", message, {"limits": [{"name": name}]})


def placement_error(message: str) -> Refused:
    """A placement group's promise cannot be kept."""
    return Refused(409, "placement_error", message)
