# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Actions of the cloud that fail: they are noticed soon, told with the cloud's reason, and asked about seldom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from catalogues import identity
from sandbox_helpers import Api, order, unique
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster
from scherbelberg.cloud.hetzner import IDS_AT_ONCE, open_api
from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import CloudError, LeftOver
from scherbelberg.events import ignore_events
from scherbelberg.inventory.clusters import selector
from scherbelberg.lifecycle import deletion, server_watch
from scherbelberg.lifecycle.destroy import delete_clusters
from scherbelberg.sandbox.faults import ActionFault, Faults
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")
ACTIONS = ("GET", "/v1/actions")


@pytest.fixture
def own(emulated: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that lead to the module's cloud."""
    return settings_for(emulated, tmp_path_factory.mktemp("home"))


def _servers(api: Api, uid: str, count: int) -> None:
    for number in range(count):
        labels = identity(uid=uid).labels("worker") | {"node": f"worker{number:03d}"}
        answer = api("POST", "/servers", order(name=f"{uid}-worker{number:03d}", labels=labels))
        assert answer.status == 201, answer.body
        api.done(answer.body["action"], *answer.body["next_actions"])


async def _mended_once_asked(emulated: SandboxThread, before: int) -> None:
    """Lets deletions work again as soon as somebody has asked what became of them."""

    async def asked() -> bool | None:
        return ACTIONS in emulated.sandbox.requests[before:] or None

    await until(asked, every_s=0.02, within_s=25, what="A question for actions")
    emulated.set_faults(Faults())


@pytest.mark.parametrize("of_one_node", [False, True])
async def test_deletion_that_fails_once(
    own: Settings, api: Api, emulated: SandboxThread, monkeypatch: pytest.MonkeyPatch, *, of_one_node: bool
) -> None:
    """When the cloud fails to delete a server it is asked to do so again at once, and not after a while."""
    monkeypatch.setattr(deletion, "_ASK_AGAIN_S", 600.0)
    uid = unique("u")
    await asyncio.to_thread(_servers, api, uid, 2)
    emulated.set_faults(Faults(actions=(ActionFault(command="delete_server", server="*-worker001"),)))
    before = len(emulated.sandbox.requests)
    mending = asyncio.create_task(_mended_once_asked(emulated, before))
    if of_one_node:
        async with open_api(own.access, SHORT) as hetzner:
            wanted = selector(prefix="cluster", uid=uid)
            await deletion.delete_servers(hetzner, wanted, note=lambda gone: None, within_s=SHORT.delete)
    else:
        await delete_clusters(own, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    await mending
    assert [name for name in held(own) if uid in name] == []
    assert emulated.sandbox.requests[before:].count(ACTIONS) <= 3


async def test_deletion_that_always_fails(own: Settings, api: Api, emulated: SandboxThread) -> None:
    """A server that the cloud cannot delete is left over with the cloud's reason, and all others are gone."""
    uid = unique("u")
    await asyncio.to_thread(_servers, api, uid, 2)
    emulated.set_faults(Faults(actions=(ActionFault(command="delete_server", server="*-worker001"),)))
    with pytest.raises(LeftOver, match=r"delete_server: the sandbox was told to fail delete_server") as caught:
        await delete_clusters(own, "cluster", (uid,), listener=ignore_events, timeouts=evolve(SHORT, delete=5))
    assert caught.value.left_over == (f"server {uid}-worker001",)
    emulated.set_faults(Faults())
    await delete_clusters(own, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)


@pytest.mark.parametrize("row", [{"id": []}, {"id": {}, "status": "error"}, None, 5, {"id": "x", "status": "error"}])
async def test_actions_of_nonsense(own: Settings, monkeypatch: pytest.MonkeyPatch, row: Any) -> None:
    """Of actions that make no sense nothing is told, and nothing breaks."""

    async def answer(*_: object, **__: object) -> dict[str, Any]:
        good = {"id": 1, "status": "error", "command": "c", "error": {"message": "m"}}
        return {"actions": [row, good], "meta": None}

    async with open_api(own.access, SHORT) as hetzner:
        monkeypatch.setattr(hetzner, "call", answer)
        assert await hetzner.failed_actions((1, 2)) == {1: "c: m"}


async def test_deletion_that_works(own: Settings, api: Api, emulated: SandboxThread) -> None:
    """Where servers go as they should, nobody asks for actions."""
    uid = unique("u")
    await asyncio.to_thread(_servers, api, uid, 2)
    before = len(emulated.sandbox.requests)
    await delete_clusters(own, "cluster", (uid,), listener=ignore_events, timeouts=SHORT)
    assert ACTIONS not in emulated.sandbox.requests[before:]


@pytest.mark.parametrize("command", ["create_server", "start_server"])
@pytest.mark.parametrize("answers", [False, True], ids=["nobody answers", "a worker answers"])
async def test_scheduler_that_is_not_made(
    sandbox: SandboxThread, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: str, *, answers: bool
) -> None:
    """A scheduler's server that the cloud fails to make is noticed before anybody loses patience."""
    monkeypatch.setattr(server_watch, "_PATIENCE_S", 600.0)
    dead = () if answers else ("*-worker000",)
    sandbox.set_faults(Faults(actions=(ActionFault(command=command, server="*-scheduler"),), dead=dead))
    timeouts = evolve(SHORT, rent=60, reach=60, logs=1)
    with pytest.raises(CloudError, match=rf"could not start node scheduler: .*told to fail {command}") as caught:
        await Cluster.from_new(workers=1, settings=settings, timeouts=timeouts)
    assert caught.value.node == "scheduler"
    requests = sandbox.sandbox.requests
    made = max(place for place, request in enumerate(requests) if request == ("POST", "/v1/servers"))
    looks = requests[made : requests.index(ACTIONS)].count(("GET", "/v1/servers"))
    assert looks <= 3
    assert (held(settings), folders(settings)) == ([], [])


def test_questions_are_few() -> None:
    """However many servers are waited for, what became of their orders takes one request, the scheduler's always."""
    actions = {f"worker{number:03d}": tuple(range(3 * number, 3 * number + 3)) for number in range(30)}
    actions["scheduler"] = (1000, 1001, 1002)
    seen = [server_watch.next_to_ask(actions, turn) for turn in range(5)]
    assert all(len(ids) <= IDS_AT_ONCE and {1000, 1001, 1002} <= set(ids) for ids in seen)
    assert {number for ids in seen for number in ids} == {*range(90), 1000, 1001, 1002}
    assert server_watch.next_to_ask({"worker000": (7,)}, 3) == (7,)
    assert server_watch.next_to_ask({"scheduler": (8,)}, 3) == (8,)
    assert server_watch.next_to_ask({}, 0) == ()
