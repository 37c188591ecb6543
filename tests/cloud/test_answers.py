# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the API's errors mean, as one table."""

from __future__ import annotations

import pytest
from catalogues import CALM
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.answers import ErrorClass, classify

#: All codes that the API's description and its clients know.
TABLE = {
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
    "invalid_input": ErrorClass.FINAL,
    "json_error": ErrorClass.FINAL,
    "method_not_allowed": ErrorClass.FINAL,
    "protected": ErrorClass.FINAL,
    "resource_locked": ErrorClass.FINAL,
    "deprecated_api_endpoint": ErrorClass.FINAL,
    "unsupported_error": ErrorClass.FINAL,
    "no_subnet_available": ErrorClass.FINAL,
    "ip_not_available": ErrorClass.FINAL,
    "networks_overlap": ErrorClass.FINAL,
    "server_already_attached": ErrorClass.FINAL,
    "server_error_of_tomorrow": ErrorClass.FINAL,
    "": ErrorClass.FINAL,
}


@pytest.mark.parametrize(("code", "verdict"), TABLE.items())
def test_codes(code: str, verdict: ErrorClass) -> None:
    """Each code means what the table states, and one that nobody knows is final."""
    assert classify(code, "the API's words") is verdict


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_fault_without_a_code(status: int) -> None:
    """A fault of a server on the way comes without a code of the API's and passes."""
    assert classify(status, "Bad Gateway") is ErrorClass.RETRY


@pytest.mark.parametrize("message", ["unsupported location for server type", "server type 104 is deprecated"])
def test_not_sold_here(message: str) -> None:
    """Two messages of invalid_input really say that another place has to be tried; other codes may not use them."""
    assert classify("invalid_input", message) is ErrorClass.CAPACITY
    assert classify("forbidden", message) is ErrorClass.TOKEN


@CALM
@given(st.text() | st.integers(), st.text())
def test_anything_has_a_verdict(code: str | int, message: str) -> None:
    """No answer of the API leaves us without a verdict."""
    assert isinstance(classify(code, message), ErrorClass)
