# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The values that the sandbox shares with those who use it."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen


@frozen(kw_only=True)
class SandboxSettings:
    """What a client needs in order to use a sandbox.

    Args:
        endpoint: URL of the API, without a slash at its end.
        token: The project's API token.
        ssh_port: TCP port on which every host's SSH server listens.
        network_range: Range in which private networks must lie.
    """

    endpoint: str
    token: str = field(repr=False)
    ssh_port: int
    network_range: str


@frozen(kw_only=True)
class Faults:
    """What goes wrong on purpose.

    Args:
        fail_request: Which request fails, counted from 1 since the faults were set; None for none of them.
        how: ``error`` answers status and code and leaves the work undone; ``drop_before`` closes the connection and
            leaves the work undone; ``drop_after`` does the work and then closes the connection without an answer.
        status: HTTP status of an ``error``.
        code: The API's code of an ``error``.
        slow_s: Seconds that every request waits before it is worked on.
    """

    fail_request: int | None = None
    how: Literal["error", "drop_before", "drop_after"] = "error"
    status: int = 403
    code: str = "forbidden"
    slow_s: float = 0.0
