# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bill of what is given back, against the emulated cloud and its prices."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import identity, server
from sandbox_helpers import Api, Json, unique
from sandbox_orders import idle
from surroundings import SHORT, settings_for

from scherbelberg.concurrency.processes import own_name
from scherbelberg.errors import LeftOver
from scherbelberg.events import ignore_events
from scherbelberg.inventory.billing import record_pending_deletions
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.history import History
from scherbelberg.inventory.ledger import Entry, entry
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Folder

pytestmark = pytest.mark.hosts("scripted")


@pytest.fixture
def settings(emulated: SandboxThread, tmp_path: Path) -> Settings:
    """Settings that lead to the module's cloud, with a home of the test's own."""
    return settings_for(emulated, tmp_path / "home")


@pytest.fixture
def uid(api: Api) -> str:
    """The uid of a cluster of one server that is off."""
    uid = unique("u")
    machine(api, uid)
    return uid


def machine(api: Api, uid: str, **changes: object) -> Json:
    """A server with our labels, which is never started."""
    return idle(api, name=unique("node"), server_type="cx23", location="fsn1", labels=labels(uid), **changes)


def labels(uid: str) -> dict[str, str]:
    """Labels of a worker."""
    return identity(uid=uid).labels("worker") | {"node": "worker000"}


def given_back(settings: Settings, *uids: str) -> tuple[Entry, ...]:
    """Give clusters back."""
    return asyncio.run(delete_clusters(settings, "cluster", uids, listener=ignore_events, timeouts=SHORT))


def price_of(api: Api, span: str, *, address: bool = True) -> Decimal:
    """What a cx23 in fsn1 costs hourly or monthly, net, as the cloud says."""
    pricing = api("GET", "/pricing").body["pricing"]
    kind = next(row for row in pricing["server_types"] if row["name"] == "cx23")
    rows = [kind["prices"]]
    if address:
        rows.append(next(row for row in pricing["primary_ips"] if row["type"] == "ipv4")["prices"])
    found = [next(row for row in prices if row["location"] == "fsn1")[f"price_{span}"]["net"] for prices in rows]
    return sum((Decimal(text) for text in found), start=Decimal(0))


def test_bill(settings: Settings, uid: str, api: Api) -> None:
    """What was off all the time costs its hour all the same; the bill is noted, one entry for each cluster."""
    other = unique("v")
    machine(api, other)
    machine(api, other, public_net={"enable_ipv4": False, "enable_ipv6": True})
    entries = given_back(settings, uid, other)
    assert History(settings.home).read() == (entries, ())
    assert [(one.uid, len(one.machines), one.endpoint) for one in entries] == [
        (uid, 1, settings.access.endpoint),
        (other, 2, settings.access.endpoint),
    ]
    first, second = (one.price for one in entries)
    assert first is not None
    assert second is not None
    assert (first.net, entries[0].currency) == (price_of(api, "hourly"), "EUR")
    assert second.net == price_of(api, "hourly") + price_of(api, "hourly", address=False)
    assert first.gross > first.net
    assert entries[0].created_s <= entries[0].ended_s


def test_months(settings: Settings, uid: str, api: Api, emulated: SandboxThread) -> None:
    """What lives on costs what the months say, by the cloud's clock, and no whole month costs more than its price."""
    emulated.set_clock(75 * 86400)
    try:
        (entry,) = given_back(settings, uid)
    finally:
        emulated.set_clock(0)
    months = list((entry.months or {}).values())
    assert 3 <= len(months) <= 4
    assert entry.ended_s - entry.created_s >= 75 * 86400
    assert months[1].net == price_of(api, "monthly") < 28 * 24 * price_of(api, "hourly")
    assert months[0].net <= months[1].net


def test_nothing_to_pay(settings: Settings, api: Api, emulated: SandboxThread) -> None:
    """What is free of charge has no bill, and no price is asked for."""
    uid = unique("u")
    api("POST", "/firewalls", {"name": uid, "labels": identity(uid=uid).labels("firewall")})
    before = len(emulated.sandbox.requests)
    assert given_back(settings, uid) == ()
    assert ("GET", "/pricing") not in emulated.sandbox.requests[before:]
    assert not History(settings.home).path.exists()


def test_prices_that_cannot_be_had(settings: Settings, uid: str, emulated: SandboxThread) -> None:
    """When the cloud names no prices, all is given back, and the bill is unknown and not nothing."""
    emulated.set_faults(Faults(requests=(RequestFault(method="GET", path="/pricing", status=403, code="forbidden"),)))
    (entry,) = given_back(settings, uid)
    assert (entry.price, entry.currency, len(entry.machines)) == (None, None, 1)
    assert History(settings.home).read() == ((entry,), ())


def test_what_is_gone_is_noted_when_something_stays(
    settings: Settings, uid: str, api: Api, emulated: SandboxThread
) -> None:
    """A machine that cannot go does not hide that another one is gone; together they are counted once."""
    kept = machine(api, uid)
    wrong = RequestFault(method="DELETE", path=f"/servers/{kept['id']}", status=403, code="protected", times=None)
    emulated.set_faults(Faults(requests=(wrong,)))
    with pytest.raises(LeftOver, match=kept["name"]):
        given_back(settings, uid)
    assert [len(one.machines) for one in History(settings.home).read()[0]] == [1]
    emulated.set_faults(Faults())
    given_back(settings, uid)
    assert [len(one.machines) for one in History(settings.home).read()[0]] == [1, 1]


def test_history_that_cannot_be_written(
    settings: Settings, uid: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """What is gone is gone: that it cannot be noted is told, and is no failure."""
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="scherbelberg"):
        (entry,) = given_back(evolve(settings, home=tmp_path / "file"), uid)
    assert entry.price is not None
    assert "is gone, but what it cost cannot be added to" in caplog.text


def test_what_another_process_has_left(tmp_path: Path) -> None:
    """Only what a process deleted that lives no more, and did not bill, is left to the next one."""
    folder, file = Folder(tmp_path), tmp_path / "leaving.json"
    first, second = (server(name, identity().labels("worker"), number) for number, name in enumerate(("one", "two"), 1))
    assert record_pending_deletions(folder, [first, second], (), now_s=5.0) == ()
    text = file.read_text(encoding="utf-8")
    assert record_pending_deletions(folder, [second], (), now_s=6.0) == ()

    dead = text.replace(own_name(), "1 1.5")
    known = [entry(group_clusters([first])[0], None, endpoint="https://api", ended_s=5.0)]
    for billed, lost in ((), ((5.0, first),)), (known, ()):
        file.write_text(dead, encoding="utf-8")
        assert record_pending_deletions(folder, [second], billed, now_s=7.0) == lost
    file.write_text("[]", encoding="utf-8")
    assert record_pending_deletions(folder, [], (), now_s=8.0) == ()
