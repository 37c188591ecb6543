# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Servers that do not come up: what the user is told, and that nothing is left."""

from __future__ import annotations

import pytest
from attrs import evolve
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, Event, roster
from scherbelberg.errors import CloudError, NodeUnreachable, WaitTimeout
from scherbelberg.events import Phase
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.sandbox.words import ActionFault, Faults
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")


async def test_failed_action(sandbox: SandboxThread, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is heard of a server for a while its actions are asked, and the cloud's reason is told."""
    monkeypatch.setattr(roster, "_PATIENCE_S", 0.5)
    sandbox.set_faults(Faults(actions=(ActionFault(command="start_server", server="*-worker000"),)))
    with pytest.raises(CloudError, match=r"could not start node worker000: start_server: .*told to fail") as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=SHORT)
    assert caught.value.node == "worker000"
    assert (held(settings), folders(settings)) == ([], [])


async def test_endless_action(sandbox: SandboxThread, settings: Settings) -> None:
    """A server whose start never ends is named at the deadline, and deleted all the same."""
    sandbox.set_faults(Faults(actions=(ActionFault(command="start_server", server="*-worker000", how="endless"),)))
    timeouts = evolve(SHORT, rent=2, reach=60, logs=1)
    with pytest.raises(WaitTimeout, match="start of node worker000 in the private network"):
        await Cluster.from_new(workers=1, settings=settings, timeouts=timeouts)
    assert (held(settings), folders(settings)) == ([], [])


async def test_dead_server(sandbox: SandboxThread, settings: Settings) -> None:
    """A server that runs and never answers is named at its deadline, and deleted."""
    sandbox.set_faults(Faults(dead=("*-worker000",)))
    with pytest.raises(NodeUnreachable, match="worker000") as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=evolve(SHORT, reach=3, logs=1))
    assert caught.value.node == "worker000"
    assert (held(settings), folders(settings)) == ([], [])


async def test_addresses_are_looked_up_when_a_node_answers(sandbox: SandboxThread, settings: Settings) -> None:
    """Between the last order and the first node that answers, the cloud is not asked for anything."""
    requests: list[int] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (Phase.REACH, "done"):
            requests.append(len(sandbox.sandbox.requests))

    cluster = await Cluster.from_new(workers=2, settings=settings, listen=listen)
    try:
        orders = [place for place, row in enumerate(sandbox.sandbox.requests) if row == ("POST", "/v1/servers")]
        assert len(orders) == 3
        assert requests[0] == orders[-1] + 1
    finally:
        await cluster.destroy()
