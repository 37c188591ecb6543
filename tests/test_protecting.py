# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is protected is not deleted, by whichever way, and nothing of it is touched by the try."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from bare_clusters import labels_in, make
from catalogues import credentials, manifest
from sandbox_helpers import Api
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held

from scherbelberg import Cluster
from scherbelberg.errors import ClusterProtected
from scherbelberg.sandbox.faults import ActionFault, Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.store import Store

pytestmark = pytest.mark.hosts("scripted")


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
