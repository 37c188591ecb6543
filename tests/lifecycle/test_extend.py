# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a program's handle does at the end of a cluster's time: it gives it more, and is told the bill."""

from __future__ import annotations

import pytest
from bare_clusters import labels_in, make, now_s
from sandbox_helpers import Api
from surroundings import held

from scherbelberg import sync
from scherbelberg.cluster import Cluster
from scherbelberg.errors import BadInput, ClusterNotFound
from scherbelberg.events import Event, Phase
from scherbelberg.inventory.history import History
from scherbelberg.inventory.ledger import whole
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

pytestmark = pytest.mark.hosts("scripted")

_HOUR = 3600
_MOST_LOOKS = 3000


async def test_extend_and_bill(sandbox: SandboxThread, settings: Settings) -> None:
    """A handle moves its own cluster's deadline and idle time, and its end returns what the history has of it."""
    cloud = Api(sandbox.settings)
    cluster = await Cluster.from_new(prefix="mine", workers=1, ttl_s=2 * _HOUR, settings=settings)
    namesake = make(cloud, "other", ttl_s=_HOUR, owner="bob_at_desk")
    for kind in ("servers", "networks", "firewalls"):
        for row in cloud("GET", f"/{kind}").body[kind]:
            if row["labels"]["uid"] == namesake.uid:
                cloud("PUT", f"/{kind}/{row['id']}", {"labels": row["labels"] | {"prefix": "mine"}})
    theirs = {name: row for name, row in labels_in(cloud).items() if row["uid"] == namesake.uid}
    deadline_s = await cluster.extend(ttl_s=6 * _HOUR, idle_s=600)
    assert deadline_s is not None
    assert 0 <= now_s(cloud) + 6 * _HOUR - deadline_s < 60
    ours = [row for row in labels_in(cloud).values() if row["uid"] == cluster.uid]
    assert {(row["deadline"], row["idle"]) for row in ours} == {(str(deadline_s), "600")}
    with pytest.raises(BadInput, match="lives longer than that anyway"):
        await cluster.extend(ttl_s=60)
    with pytest.raises(BadInput, match=r"'mine' cannot live until \d{4}-\d\d-\d\d: its certificates end on \d{4}-"):
        await cluster.extend(ttl_s=401 * 24 * _HOUR)
    with pytest.raises(BadInput):
        await cluster.extend(idle_s=0)
    assert await cluster.extend(idle_s=None) == deadline_s
    assert await cluster.extend(ttl_s=None) is None
    assert {name: row for name, row in labels_in(cloud).items() if row["uid"] == namesake.uid} == theirs
    bill = await cluster.destroy()
    assert bill is not None
    assert bill.price is not None
    assert ([machine.name for machine in bill.machines], bill.price.gross > 0) == (["scheduler", "worker000"], True)
    assert bill == whole(History(settings.home).read()[0])
    assert await cluster.destroy() == bill
    with pytest.raises(ClusterNotFound):
        await cluster.extend(ttl_s=_HOUR)
    cloud.close()


async def test_made_after_its_deadline(sandbox: SandboxThread, settings: Settings) -> None:
    """A create that slept past its deadline ends with a cluster whose time to live begins when it is ready."""
    sandbox.set_clock(-5 * _HOUR)  # certificates of later than now would not be taken

    def wake(event: Event) -> None:
        if (event.phase, event.state) == (Phase.PROOF, "start"):
            sandbox.set_clock(0)

    cluster = await Cluster.from_new(prefix="late", workers=1, ttl_s=_HOUR, settings=settings, listen=wake)
    cloud = Api(sandbox.settings)
    (deadline,) = {labels["deadline"] for labels in labels_in(cloud).values()}
    (folder,) = Store(settings.home).folders()
    assert folder.read().identity.deadline_s == int(deadline)
    assert now_s(cloud) < int(deadline) <= now_s(cloud) + _HOUR
    assert cloud("GET", "/networks").body["networks"][0]["labels"]["state"] == "ready"
    await cluster.destroy()
    cloud.close()


def test_the_same_without_await(sandbox: SandboxThread, settings: Settings) -> None:
    """The blocking face has both, and there is no bill of what somebody else deleted."""
    with sync.Cluster.from_new(prefix="mine", workers=1, settings=settings) as cluster:
        assert cluster.extend(ttl_s=None, idle_s=1800) is None
        deadline_s = cluster.extend(ttl_s=_HOUR, may_shorten=True)
        assert deadline_s is not None
        bill = cluster.destroy()
    assert bill is not None
    assert len(bill.machines) == 2
    with sync.Cluster.from_new(prefix="again", workers=1, settings=settings) as cluster:
        cloud = Api(sandbox.settings)
        for row in cloud("GET", "/servers").body["servers"]:
            assert cloud("DELETE", f"/servers/{row['id']}").status == 200
        assert any(not cloud("GET", "/servers").body["servers"] for _ in range(_MOST_LOOKS))
        cloud.close()
        assert cluster.destroy() is None
    assert held(settings) == []
