# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults on request, the limit of requests, and sandboxes side by side."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_helpers import (
    WITHIN_S,
    Api,
    Waiter,
    make_firewall,
    unique,
)

from scherbelberg.sandbox.addresses import claim
from scherbelberg.sandbox.api.rate_limit import Bucket
from scherbelberg.sandbox.daemon import set_clock
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread


def test_fault_error(emulated: SandboxThread, api: Api) -> None:
    """Request k answers the error that was asked for, does nothing, and is the only one."""
    name = unique("firewall")
    emulated.set_faults(Faults(requests=(RequestFault(number=2, status=503, code="unavailable"),)))
    assert api("GET", "/firewalls").status == 200
    answer = api("POST", "/firewalls", {"name": name})
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert api("GET", "/firewalls", name=name).body["firewalls"] == []
    assert api("POST", "/firewalls", {"name": name}).status == 201


@pytest.mark.parametrize(("times", "statuses"), [(2, [200, 503, 503, 200]), (None, [200, 503, 503, 503])])
def test_fault_in_a_row(emulated: SandboxThread, api: Api, times: int | None, statuses: list[int]) -> None:
    """A fault lasts for as many requests as it is told to, or for good."""
    wrong = RequestFault(number=2, status=503, code="unavailable", times=times)
    emulated.set_faults(Faults(requests=(wrong,)))
    assert [api("GET", "/firewalls").status for _ in statuses] == statuses


def test_fault_of_the_limit(emulated: SandboxThread, api: Api) -> None:
    """A request beyond the limit that was made up says so in its headers, as a real one does."""
    emulated.set_faults(Faults(requests=(RequestFault(status=429, code="rate_limit_exceeded"),)))
    answer = api("GET", "/servers")
    assert (answer.status, answer.headers["RateLimit-Remaining"]) == (429, "0")
    assert int(answer.headers["RateLimit-Reset"]) > time.time() + 3000
    assert int(api("GET", "/servers").headers["RateLimit-Remaining"]) > 0


@pytest.mark.parametrize(("how", "made"), [("drop_before", 0), ("drop_after", 1)])
def test_fault_drop(emulated: SandboxThread, api: Api, how: Any, made: int) -> None:
    """A dropped connection answers nothing, with the work undone or done."""
    name = unique("firewall")
    emulated.set_faults(Faults(requests=(RequestFault(number=1, how=how),)))
    with pytest.raises(requests.ConnectionError):
        api("POST", "/firewalls", {"name": name})
    assert len(api("GET", "/firewalls", name=name).body["firewalls"]) == made


def test_fault_slow(emulated: SandboxThread, api: Api) -> None:
    """A slow answer meets an impatient client, and its work is done all the same."""
    name = unique("firewall")
    emulated.set_faults(Faults(slow_s=0.5))
    headers = {"Authorization": f"Bearer {api.settings.token}"}
    with pytest.raises(requests.ReadTimeout):
        requests.post(api.settings.endpoint + "/firewalls", json={"name": name}, headers=headers, timeout=0.1)
    emulated.set_faults(Faults())
    Waiter().wait(lambda: api("GET", "/firewalls", name=name).body["firewalls"], what="the slow work")


def test_requests_are_recorded(emulated: SandboxThread, api: Api) -> None:
    """Tests can see what a client sent."""
    before = len(emulated.sandbox.requests)
    api("GET", "/servers", name="x")
    assert emulated.sandbox.requests[before:] == [("GET", "/v1/servers")]


def test_rate_limit(emulated: SandboxThread, api: Api) -> None:
    """An empty bucket answers 429 with the time of full recovery."""
    gateway = emulated.sandbox._gateway
    assert gateway
    empty = Bucket()
    while empty.take():
        pass
    gateway.bucket, full = empty, gateway.bucket
    try:
        answer = api("GET", "/servers")
    finally:
        gateway.bucket = full
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert int(answer.headers["RateLimit-Reset"]) > time.time() + 3000


def test_clock(emulated: SandboxThread, api: Api) -> None:
    """A clock that is ahead shows in the date of answers, in what is made, in actions and in the limit's reset."""
    real = datetime.now(UTC)
    set_clock(emulated.settings, 13 * 3600)
    try:
        answer = api("POST", "/networks", {"name": unique("network"), "ip_range": api.settings.network_range})
        number = answer.body["network"]["id"]
        action = api("POST", f"/networks/{number}/actions/change_protection", {"delete": False}).body["action"]
    finally:
        emulated.set_clock(0)
    moments = [
        parsedate_to_datetime(answer.headers["Date"]),
        datetime.fromisoformat(answer.body["network"]["created"]),
        datetime.fromisoformat(action["started"]),
        datetime.fromisoformat(action["finished"]),
        datetime.fromtimestamp(int(answer.headers["RateLimit-Reset"]), UTC),
    ]
    for moment in moments:
        assert timedelta(hours=12.9) < moment - real < timedelta(hours=14.1)
    assert parsedate_to_datetime(api("GET", "/networks").headers["Date"]) - real < timedelta(hours=1)
    assert api("DELETE", f"/networks/{number}").status == 204


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"ahead_s": -1}', '{"ahead_s": true}', '{"ahead_s": 1e30}'])
def test_impossible_clock(emulated: SandboxThread, api: Api, body: str) -> None:
    """A clock that makes no sense is refused, and so is who has no token."""
    url = api.settings.endpoint.removesuffix("/v1") + "/sandbox/clock"
    headers = {"Authorization": f"Bearer {api.settings.token}"}
    assert requests.put(url, data=body, headers=headers, timeout=WITHIN_S).status_code == 422
    assert requests.put(url, data='{"ahead_s": 5}', timeout=WITHIN_S).status_code == 401
    assert requests.get(url, headers=headers, timeout=WITHIN_S).json() == {"ahead_s": 0.0}


def test_two_sandboxes_coexist(emulated: SandboxThread, tmp_path: Path) -> None:
    """Two sandboxes share no address, no token and no resource, and one that ends frees its own."""
    with SandboxThread(tmp_path / "other", Options(time_scale=0.02)) as other:
        mine, theirs = emulated.settings, other.settings
        assert mine.endpoint != theirs.endpoint
        assert mine.network_range != theirs.network_range
        first, second = Api(mine), Api(theirs)
        make_firewall(first)
        assert second("GET", "/firewalls").body["firewalls"] == []
        assert Api(theirs, token=mine.token)("GET", "/firewalls").status == 401
        number = int(theirs.network_range.split(".")[1])
        taken = claim(number)
        assert taken.number != number
        taken.close()
        second.close()
        first.close()
    assert not (tmp_path / "other").exists()
    again = claim(number)
    assert again.number == number
    again.close()
