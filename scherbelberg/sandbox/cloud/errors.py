# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud refuses: errors of its API as exceptions, in Hetzner's words where those are known."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
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


def invalid(field: str, message: str) -> ApiError:
    """A field of the request is wrong."""
    details = {"fields": [{"name": field, "messages": [message]}]}
    return ApiError(422, "invalid_input", f"invalid input in field '{field}': {message}", details)


def invalid_combination(message: str) -> ApiError:
    """The fields are right, but not together."""
    return ApiError(422, "invalid_input", message)


def missing(kind: str, key: object) -> ApiError:
    """There is no such resource."""
    return ApiError(404, "not_found", f"{kind} with ID '{key}' not found")


def taken(field: str, message: str) -> ApiError:
    """Something must be unique and is not."""
    return ApiError(409, "uniqueness_error", message, {"fields": [{"name": field}]})


def locked() -> ApiError:
    """An action runs on this resource."""
    return ApiError(423, "locked", "cannot perform operation because resource is locked")


def in_use(kind: str, key: object) -> ApiError:
    """Something still uses the resource."""
    return ApiError(422, "resource_in_use", f"{kind} with ID '{key}' is still in use")


def protected() -> ApiError:
    """The resource is protected from deletion."""
    return ApiError(403, "protected", "cannot perform operation because resource is protected")


def over_limit(name: str, message: str) -> ApiError:
    """A quota of the account, or a limit of the cloud, is reached.

    Args:
        name: Of the limit, as Hetzner shows it.
        message: One line for people.
    """
    return ApiError(403, "resource_limit_exceeded", message, {"limits": [{"name": name}]})


def placement_error(message: str) -> ApiError:
    """A placement group's promise cannot be kept."""
    return ApiError(409, "placement_error", message)
