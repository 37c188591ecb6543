# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Changes of clusters that live: deadlines, protection against deletion, and who is let in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from attrs import evolve
from bare_clusters import labels_in, make, now_s
from catalogues import credentials, manifest
from sandbox_helpers import Api
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held

from scherbelberg import Cluster, sync
from scherbelberg.cloud.access import Access
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import Json, Resource
from scherbelberg.errors import BadInput, CloudError, ClusterBroken, ClusterNotFound, ClusterProtected, WaitTimeout
from scherbelberg.events import Event, Phase
from scherbelberg.inventory.history import History
from scherbelberg.inventory.ledger import merge_entries
from scherbelberg.inventory.listing import remembered_folder
from scherbelberg.lifecycle.update import set_source_ranges
from scherbelberg.sandbox.faults import ActionFault, Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.spec.model import ANYWHERE, ClusterSpec
from scherbelberg.spec.urls import HETZNER
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
    assert bill == merge_entries(History(settings.home).read()[0])
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


def deletions(sandbox: SandboxThread) -> list[str]:
    """What was asked to be deleted so far."""
    return [path for method, path in sandbox.sandbox.requests if method == "DELETE"]


def test_nothing_deletes_it(sandbox: SandboxThread, shell: Shell) -> None:
    """Neither destroy nor nuke nor gc nor a stranger deletes a protected cluster, until that is lifted."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "dear", ttl_s=3600)
    record = evolve(manifest("dear", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    labels, before = labels_in(cloud), held(shell.settings)
    document = read("protect", shell("protect", "-p", "dear", "--json")[1])
    assert unpromised("protect", document) == []
    assert document["protected"]
    assert labels_in(cloud) == {name: row | {"protected": "yes"} for name, row in labels.items()}
    servers = cloud("GET", "/servers").body["servers"]
    assert all(cloud("DELETE", f"/servers/{row['id']}").error["code"] == "protected" for row in servers)

    asked = len(deletions(sandbox))
    sandbox.set_clock(9000)
    for words in (("destroy",), ("nuke", "--yes"), ("nuke", "--yes", "--json")):
        code, _, complaints = shell(*words, "-p", "dear")
        assert code == 16
        assert "protected: nothing was deleted; 'scherbelberg unprotect -p dear' allows it again." in complaints
    code, output, complaints = shell("gc")
    assert (code, "overdue by 1 h 30 min; 'scherbelberg unprotect -p dear'" in output) == (0, True), complaints
    (row,) = json.loads(shell("gc", "--json")[1])["clusters"]
    assert (row["verdict"], row["deleted"]) == ("protected", False)
    assert "ready, protected" in shell("ls")[1]
    assert (held(shell.settings), folders(shell.settings)) == (before, ["dear-dear0"])
    assert len(deletions(sandbox)) == asked

    sandbox.set_clock(0)
    assert shell("unprotect", "-p", "dear")[1] == "Cluster 'dear' of anna_at_laptop is not protected any more.\n"
    assert labels_in(cloud) == labels
    assert unpromised("unprotect", read("unprotect", shell("unprotect", "-p", "dear", "--json")[1])) == []
    assert shell("destroy", "-p", "dear")[0] == 0
    assert held(shell.settings) == []
    cloud.close()


def guard(cloud: Api, kind: str, name: str, *, wanted: bool) -> None:
    """Protect something as its owner does in the console, without any of our labels."""
    (row,) = cloud("GET", f"/{kind}", name=name).body[kind]
    body = {"delete": wanted} | ({"rebuild": wanted} if kind == "servers" else {})
    done = cloud("POST", f"/{kind}/{row['id']}/actions/change_protection", body)
    assert done.status == 201
    cloud.done(done.body["action"])


@pytest.mark.parametrize(("kind", "name"), [("servers", "dear-worker"), ("networks", "dear")])
@pytest.mark.parametrize("state", ["ready", "creating"])
def test_guarded_in_the_console(sandbox: SandboxThread, shell: Shell, kind: str, name: str, state: str) -> None:
    """One resource that the cloud guards keeps the whole cluster from being deleted, and is named."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "dear", ttl_s=3600, state=state)
    record = evolve(manifest("dear", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    guard(cloud, kind, name, wanted=True)
    before = held(shell.settings)
    sandbox.set_clock(9000)
    for words in (("destroy",), ("nuke", "--yes")):
        code, _, complaints = shell(*words, "-p", "dear")
        assert code == 16
        assert f"nothing was deleted, since Hetzner protects {kind[:-1]} {name} against deletion;" in complaints
        assert "'scherbelberg unprotect -p dear' or Hetzner's console allows it again." in complaints
    (row,) = json.loads(shell("gc", "--json")[1])["clusters"]
    assert (row["verdict"], row["deleted"]) == ("protected", False)
    assert f"{state}, protected" in shell("ls")[1]
    assert (held(shell.settings), folders(shell.settings)) == (before, ["dear-dear0"])
    assert deletions(sandbox) == []
    sandbox.set_clock(0)
    if state == "ready":
        assert shell("unprotect", "-p", "dear")[0] == 0
    else:
        guard(cloud, kind, name, wanted=False)
    assert shell("destroy", "-p", "dear")[0] == 0
    assert held(shell.settings) == []
    cloud.close()


def test_void_deadline(sandbox: SandboxThread, shell: Shell) -> None:
    """No command warns of the near deadline of what is protected, also one that asks the cloud nothing."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "dear", ttl_s=1800)
    record = evolve(manifest("dear", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    folder = Store(shell.settings.home).claim(record, credentials())

    def warned() -> list[bool]:
        commands = (("ls",), ("ssh", "-p", "dear", "nobody"))
        lines = ["The deadline of cluster 'dear'" in shell(*words)[2] for words in commands]
        return [*lines, folder.read().is_protected]

    assert warned() == [True, True, False]
    assert shell("protect", "-p", "dear")[0] == 0
    assert warned() == [False, False, True]
    assert shell("extend", "50m", "-p", "dear")[0] == 0
    assert warned() == [False, False, True]
    assert shell("unprotect", "-p", "dear")[0] == 0
    assert warned() == [True, True, False]
    (folder.path / "manifest.json").unlink()
    assert shell("protect", "-p", "dear")[0] == 0
    cloud.close()


@pytest.mark.parametrize(("word", "number"), [("protect", 1), ("protect", 4), ("unprotect", 4)])
def test_interrupted(sandbox: SandboxThread, shell: Shell, word: str, number: int) -> None:
    """A cluster whose protection was changed half-way is protected, and the change can be repeated."""
    cloud = Api(sandbox.settings)
    make(cloud, "half", ttl_s=None)
    if word == "unprotect":
        assert shell("protect", "-p", "half")[0] == 0
    sandbox.set_faults(Faults(requests=(RequestFault(number=number, method="PUT"),)))
    assert shell(word, "-p", "half")[0] == 3
    assert shell("nuke", "-p", "half", "--yes")[0] == 16
    assert shell(word, "-p", "half")[0] == 0
    assert shell("nuke", "-p", "half", "--yes")[0] == (16 if word == "protect" else 0)
    cloud.close()


def test_answer_that_is_lost(sandbox: SandboxThread, shell: Shell) -> None:
    """Protection is asked for again where nobody knows whether it was understood."""
    cloud = Api(sandbox.settings)
    make(cloud, "lost", ttl_s=None)
    path = "/servers/*/actions/change_protection"
    sandbox.set_faults(Faults(requests=(RequestFault(method="POST", path=path, how="drop_after"),)))
    assert shell("protect", "-p", "lost")[0] == 0
    assert all(row["protection"]["delete"] for row in cloud("GET", "/servers").body["servers"])
    cloud.close()


def test_action_that_fails(sandbox: SandboxThread, shell: Shell) -> None:
    """Where the cloud does not protect a server in the end, that is an error, and the labels protect all the same."""
    cloud = Api(sandbox.settings)
    make(cloud, "weak", ttl_s=None)
    sandbox.set_faults(Faults(actions=(ActionFault(command="change_protection", server="weak-worker"),)))
    code, _, complaints = shell("protect", "-p", "weak")
    assert (code, "The change of the protection of server weak-worker failed" in complaints) == (12, True)
    assert shell("nuke", "-p", "weak", "--yes")[0] == 16
    sandbox.set_faults(Faults())
    assert shell("protect", "-p", "weak")[0] == 0
    assert all(row["protection"]["delete"] for row in cloud("GET", "/servers").body["servers"])
    cloud.close()


async def test_from_a_program(settings: Settings, sandbox: SandboxThread) -> None:
    """Programs protect and lift as the command line does, and an unprotected neighbour of the name is no way in."""
    cloud = Api(sandbox.settings)
    who = make(cloud, "dear", ttl_s=None)
    record = evolve(manifest("dear", who.uid, endpoint=settings.access.endpoint), identity=who)
    Store(settings.home).claim(record, credentials())
    # A firewall that an earlier cluster of the name left behind.
    rest = who.labels("firewall") | {"uid": "before"}
    assert cloud("POST", "/firewalls", {"name": "dear-before", "labels": rest}).status == 201
    # Another one, of which nobody knows whose it is.
    stray = {key: value for key, value in rest.items() if key != "uid"}
    assert cloud("POST", "/firewalls", {"name": "dear-stray", "labels": stray}).status == 201
    cluster = await Cluster.from_existing("dear", settings=settings)
    await cluster.protect()
    with pytest.raises(ClusterProtected):
        await cluster.destroy()
    with pytest.raises(ClusterProtected):
        await Cluster.nuke("dear", settings=settings)
    assert deletions(sandbox) == []
    await cluster.protect(wanted=False)
    await Cluster.nuke("dear", settings=settings)
    assert held(settings) == ["firewalls/dear-stray"]
    cloud.close()


def remembered(settings: Settings) -> ClusterSpec:
    """What this computer remembers of the wishes."""
    folder = remembered_folder(settings.home, settings.access.endpoint, "gate")
    assert folder is not None
    return folder.read().spec


def _change(settings: Settings, *ssh_from: str) -> ClusterSpec:
    return asyncio.run(set_source_ranges(settings, "gate", ssh_from=ssh_from))


def test_changes(settings: Settings) -> None:
    """What cannot be is refused, what was changed is remembered, and a firewall that is gone is named."""
    sync.Cluster.from_new(prefix="gate", workers=1, settings=settings).close()
    with pytest.raises(BadInput, match="'home' is not a range"):
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
