# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the API is reached: what the place is called, and that nobody sees the token."""

from __future__ import annotations

import pytest
from attrs import evolve

from scherbelberg.cloud.access import Access
from scherbelberg.spec.urls import HETZNER


@pytest.mark.parametrize(
    ("endpoint", "is_local", "place"),
    [
        (HETZNER, False, "Hetzner Cloud"),
        ("http://127.65.0.1:40000/v1", True, "the cloud at http://127.65.0.1:40000/v1"),
        ("http://localhost/v1", True, "the cloud at http://localhost/v1"),
        ("https://[::1]/v1", True, "the cloud at https://[::1]/v1"),
        ("https://cloud.example/v1", False, "the cloud at https://cloud.example/v1"),
        ("https://api.hetzner.cloud.example/v1", False, "the cloud at https://api.hetzner.cloud.example/v1"),
    ],
)
def test_place(endpoint: str, is_local: bool, place: str) -> None:
    """Only Hetzner's own address is called Hetzner, and a sandbox only what says that it is one, wherever it is."""
    access = Access(endpoint=endpoint, token="t", token_source="here")
    assert (access.is_local, access.place) == (is_local, place)
    assert evolve(access, is_sandbox=True).place == "SANDBOX"


def test_token_is_not_shown() -> None:
    """The token is in no representation."""
    access = Access(endpoint=HETZNER, token="geheim", token_source="here")
    assert repr(access) == f"Access(endpoint='{HETZNER}', token_source='here')"
    assert "geheim" not in str(access)
