# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who is let into a cluster that lives: what the cloud refuses is not remembered as if it were so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from scherbelberg import sync
from scherbelberg.cloud.access import Access
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Json, Resource
from scherbelberg.errors import BadInput, CloudError, ClusterBroken, WaitTimeout
from scherbelberg.inventory.listing import remembered_folder
from scherbelberg.lifecycle.firewall import let_in
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ANYWHERE, ClusterSpec
from scherbelberg.spec.urls import HETZNER

pytestmark = pytest.mark.hosts("scripted")


def remembered(settings: Settings) -> ClusterSpec:
    """What this computer remembers of the wishes."""
    folder = remembered_folder(settings.home, settings.access.endpoint, "gate")
    assert folder is not None
    return folder.read().spec


def _change(settings: Settings, *ssh_from: str) -> ClusterSpec:
    return asyncio.run(let_in(settings, "gate", ssh_from=ssh_from))


def test_changes(settings: Settings) -> None:
    """What cannot be is refused, what was changed is remembered, and a firewall that is gone is named."""
    sync.Cluster.from_new(prefix="gate", workers=1, settings=settings).close()
    with pytest.raises(BadInput, match="'home' is no range"):
        _change(settings, "home")
    with pytest.raises(BadInput, match="Nobody could reach the nodes"):
        _change(settings)
    assert remembered(settings).ssh_from == ANYWHERE
    spec = _change(settings, "203.0.113.0/24", "2001:db8::/32")
    assert remembered(settings) == spec
    assert spec.ssh_from == ("203.0.113.0/24", "2001:db8::/32")
    headers = {"Authorization": f"Bearer {settings.access.token}"}
    where = f"{settings.access.endpoint}/firewalls"
    (firewall,) = requests.get(where, headers=headers, timeout=10).json()["firewalls"]
    assert [rule["source_ips"] for rule in firewall["rules"]] == [list(spec.ssh_from)]
    # Somebody took it for their own.
    path = f"{where}/{firewall['id']}"
    assert requests.put(path, json={"labels": {}}, headers=headers, timeout=10).status_code == 200
    with pytest.raises(ClusterBroken, match="The firewall of cluster 'gate' is gone"):
        _change(settings, *ANYWHERE)


class _Slow(Hetzner):
    """A cloud whose actions end at the second look, the last of them as told."""

    def __init__(self, status: str) -> None:
        super().__init__(Access(endpoint=HETZNER, token="t", token_source="the test"), request_s=1, patience_s=1)
        self.looks = 0
        self._status = status

    async def call(self, method: str, path: str, **more: Any) -> Json:
        """Take the rules."""
        assert (method, path, more) == ("POST", "/firewalls/7/actions/set_rules", {"body": {"rules": []}})
        return {"actions": [{"id": number} for number in range(30)]}

    async def _list(self, path: str, params: Mapping[str, Any] | None = None) -> list[Json]:
        self.looks += 1
        ids = (params or {})["id"]
        assert (path, len(ids) <= 25) == ("actions", True)
        status = "running" if self.looks <= 2 or self._status == "running" else "success"
        error = {"message": "no such server"}
        return [
            {"id": one, "status": self._status if one == 29 and self.looks > 2 else status, "error": error}
            for one in ids
        ]


async def test_actions_are_awaited() -> None:
    """The rules count when all actions have ended well; one that fails, or never ends, is an error."""
    firewall = Resource(kind="firewalls", id=7, name="gate", labels={})
    cloud = _Slow("success")
    await cloud.set_rules(firewall, [], within_s=30)
    assert cloud.looks == 4
    with pytest.raises(CloudError, match="change of firewall gate is not in force everywhere: no such server"):
        await _Slow("error").set_rules(firewall, [], within_s=30)
    with pytest.raises(WaitTimeout, match="The change of firewall gate did not happen"):
        await _Slow("running").set_rules(firewall, [], within_s=0.3)
