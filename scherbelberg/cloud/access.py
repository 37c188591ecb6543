# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the cloud's API is reached: where it is, and with which token."""

from __future__ import annotations

from attrs import field, frozen

from scherbelberg.spec.urls import HETZNER, is_loopback


@frozen(kw_only=True)
class Access:
    """How the API is reached.

    Args:
        endpoint: Its URL.
        token: The project's token.
        token_source: Where the token came from, for people.
        authorities: File of the certificate authorities to trust instead of the usual ones, or None.
        is_sandbox: Whether the API has said that it is the sandbox, for people.
    """

    endpoint: str
    token: str = field(repr=False)
    token_source: str
    authorities: str | None = field(default=None, repr=False)
    is_sandbox: bool = field(default=False, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this computer, whatever it is."""
        return is_loopback(self.endpoint)

    @property
    def place(self) -> str:
        """The cloud's name for people."""
        if self.is_sandbox:
            return "SANDBOX"
        return "Hetzner Cloud" if self.endpoint == HETZNER else f"the cloud at {self.endpoint}"
