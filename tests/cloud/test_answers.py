# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the API's errors mean, as one table."""

from __future__ import annotations

import pytest
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.answers import Verdict, triage

#: All codes that the API's description and its clients know.
TABLE = {
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
    "invalid_input": Verdict.FINAL,
    "json_error": Verdict.FINAL,
    "method_not_allowed": Verdict.FINAL,
    "protected": Verdict.FINAL,
    "resource_locked": Verdict.FINAL,
    "deprecated_api_endpoint": Verdict.FINAL,
    "unsupported_error": Verdict.FINAL,
    "no_subnet_available": Verdict.FINAL,
    "ip_not_available": Verdict.FINAL,
    "networks_overlap": Verdict.FINAL,
    "server_already_attached": Verdict.FINAL,
    "server_error_of_tomorrow": Verdict.FINAL,
    "": Verdict.FINAL,
}


@pytest.mark.parametrize(("code", "verdict"), TABLE.items())
def test_codes(code: str, verdict: Verdict) -> None:
    """Each code means what the table states, and one that nobody knows is final."""
    assert triage(code, "the API's words") is verdict


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_fault_without_a_code(status: int) -> None:
    """A fault of a server on the way comes without a code of the API's and passes."""
    assert triage(status, "Bad Gateway") is Verdict.RETRY


@pytest.mark.parametrize("message", ["unsupported location for server type", "server type 104 is deprecated"])
def test_not_sold_here(message: str) -> None:
    """Two messages of invalid_input really say that another place has to be tried; other codes may not use them."""
    assert triage("invalid_input", message) is Verdict.CAPACITY
    assert triage("forbidden", message) is Verdict.TOKEN


@CALM
@given(st.text() | st.integers(), st.text())
def test_anything_has_a_verdict(code: str | int, message: str) -> None:
    """No answer of the API leaves us without a verdict."""
    assert isinstance(triage(code, message), Verdict)
