# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Garbage is collected by the cloud's clock, by nothing else, and nothing but garbage is."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest
from attrs import evolve
from bare_clusters import labels_in, make, now_s
from catalogues import credentials, manifest
from sandbox_helpers import Api
from schemas import read, unpromised
from shells import Shell
from surroundings import folders, held

from scherbelberg.errors import StateDamaged
from scherbelberg.events import Event, ignore_events
from scherbelberg.inventory import listing
from scherbelberg.inventory.deadlines import GcVerdict
from scherbelberg.lifecycle.gc import collect, find_expired
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.state.store import Folder, Store

pytestmark = pytest.mark.hosts("scripted")

_HOUR = 3600


@pytest.fixture
def cloud(sandbox: SandboxThread) -> Api:
    """Requests without any code of ours."""
    return Api(sandbox.settings)


def verdicts(output: str) -> dict[str, tuple[str, bool]]:
    """Name to verdict and whether it is gone, of a document."""
    return {row["prefix"]: (row["verdict"], row["deleted"]) for row in json.loads(output)["clusters"]}


def test_gc(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """What is overdue by the cloud's clock is deleted, whoever made it; all else stays, and what is odd is named."""
    make(cloud, "short", ttl_s=_HOUR, owner="bob_at_desk")
    make(cloud, "long", ttl_s=10 * _HOUR)
    make(cloud, "ever", ttl_s=None)
    make(cloud, "torn", ttl_s=None, state="broken")
    stray = {"name": "lost", "labels": {"managed-by": "scherbelberg", "prefix": "short"}}
    assert cloud("POST", "/firewalls", stray).status == 201
    assert cloud("POST", "/firewalls", {"name": "short-theirs", "labels": {"uid": "short0"}}).status == 201
    before = held(shell.settings)
    code, output, complaints = shell("gc", "--json")
    assert (code, held(shell.settings)) == (0, before), complaints
    assert set(verdicts(output).values()) == {("alive", False)}
    assert "Forgotten?" not in shell("ls")[2]

    sandbox.set_clock(2.5 * _HOUR)
    code, output, complaints = shell("ls")
    assert "Forgotten? 'short' of bob_at_desk (overdue by 1 h 30 min): 'scherbelberg gc' deletes that" in complaints
    assert complaints.count("\n") == 2
    assert "Forgotten? 'short' of bob_at_desk" in shell("doctor")[2]
    assert [line.split()[0] for line in output.splitlines() if "overdue by 1 h 30 min" in line] == ["short"]
    code, output, _ = shell("gc", "--dry-run")
    assert (code, held(shell.settings)) == (0, before)
    assert (
        "'short' of bob_at_desk, 2 h 30 min old, 2 machines, ready: overdue by 1 h 30 min -> would be deleted" in output
    )
    assert (
        "'torn' of anna_at_laptop, 2 h 30 min old, 2 machines, broken: it cannot be used; 'scherbelberg nuke -p torn'"
        in output
    )
    assert verdicts(shell("gc", "--owner", "anna_at_laptop", "--json")[1]).keys() == {"long", "ever", "torn"}
    assert json.loads(shell("gc", "--prefix", "shor", "--json")[1]) == {
        "schema": 1,
        "dry_run": False,
        "clusters": [],
        "strays": [],
        "outliving": [],
    }
    assert held(shell.settings) == before

    code, output, complaints = shell("gc", "--json", "--progress", "none")
    document = read("gc", output)
    assert code == 0, complaints
    assert unpromised("gc", document) == []
    assert verdicts(output) == {
        "short": ("expired", True),
        "long": ("alive", False),
        "ever": ("alive", False),
        "torn": ("orphan", False),
    }
    (bill,) = [bill for row in document["clusters"] for bill in row["bills"]]
    assert (bill["prefix"], len(bill["nodes"])) == ("short", 2)
    assert Decimal(bill["cost"]["gross"]) == sum(Decimal(node["cost"]["gross"]) for node in bill["nodes"]) > 0
    assert json.loads(shell("bill", "--json")[1])["clusters"] == [bill]
    assert document["strays"] == ["firewall lost"]
    assert [row for row in before if row not in held(shell.settings)] == [
        "servers/short-scheduler",
        "servers/short-worker",
        "networks/short",
        "firewalls/short",
    ]
    code, output, complaints = shell("gc")
    assert (code, "There is nothing to delete." in complaints) == (0, True)
    assert "it in the console: firewall lost" in complaints


def test_what_is_kept_here_goes_too(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """A cluster of this computer that was collected is forgotten; a near deadline is pointed at before, once."""
    who = make(cloud, "mine", ttl_s=_HOUR + 600)
    record = evolve(manifest("mine", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    assert "deadline" not in shell("ls")[2]
    sandbox.set_clock(_HOUR / 2)
    complaints = shell("show", "-p", "mine")[2]
    assert complaints.count("The deadline of cluster 'mine' is in 39 min") == 1
    assert "'scherbelberg extend -p mine' moves it." in complaints
    assert "deadline" not in shell("ls", "-q")[2]
    sandbox.set_clock(2 * _HOUR)
    code, output, complaints = shell("gc", "-p", "mine")
    assert (code, "-> deleted\nCluster mine (2 machines, 2 h" in output) == (0, True), complaints + output
    assert output.count("\n") == 2
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


async def test_extended_in_the_last_moment(sandbox: SandboxThread, settings: Settings, cloud: Api) -> None:
    """A cluster whose deadline is moved between the judgement and the deletion stays whole, also if half is moved."""
    who = make(cloud, "hurry", ttl_s=_HOUR)
    sandbox.set_clock(2 * _HOUR)
    (judged,) = (await find_expired(settings)).clusters
    assert judged.verdict is GcVerdict.EXPIRED
    (server, _) = cloud("GET", "/servers").body["servers"]
    labels = server["labels"] | {"deadline": str(now_s(cloud) + 60)}
    assert cloud("PUT", f"/servers/{server['id']}", {"labels": labels}).status == 200
    before = held(settings)
    told: list[Event] = []
    assert await collect(settings, judged, listener=told.append) is None
    assert (held(settings), told) == (before, [])
    sandbox.set_clock(2 * _HOUR + 61)
    assert await collect(settings, judged, listener=ignore_events)
    assert (held(settings), who.uid) == ([], "hurry0")


def test_one_that_cannot_go(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """A cluster that cannot be deleted does not keep the others, and is an error in the end."""
    make(cloud, "first", ttl_s=_HOUR)
    make(cloud, "second", ttl_s=_HOUR)
    (number,) = [row["id"] for row in cloud("GET", "/servers").body["servers"] if row["name"] == "first-worker"]
    wrong = RequestFault(method="DELETE", path=f"/servers/{number}", status=403, code="protected", times=None)
    sandbox.set_faults(Faults(requests=(wrong,)))
    sandbox.set_clock(2 * _HOUR)
    code, output, complaints = shell("gc", "--json")
    failure, document = read("error", output), read("gc", output)
    assert (code, failure["error"]["code"]) == (8, "left_over"), complaints
    assert "server first-worker" in failure["left_over"]
    assert verdicts(output) == {"first": ("expired", False), "second": ("expired", True)}
    first, second = document["clusters"]
    assert (first["error"]["code"], second["error"], document["strays"]) == ("left_over", None, [])
    assert first["error"]["message"] in failure["error"]["message"]
    assert [len(bill["nodes"]) for row in (first, second) for bill in row["bills"]] == [1, 2]
    assert all("second" not in row for row in held(shell.settings))
    code, output, complaints = shell("gc")
    assert (code, "-> not all could be deleted" in output) == (8, True), output
    assert "Error: Cluster 'first': The cloud still lists server first-worker" in complaints


def test_any_failure_is_of_one(
    sandbox: SandboxThread, shell: Shell, cloud: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with one cluster, the next one is taken, and a document tells what became of each."""
    for name in ("first", "second", "third"):
        who = make(cloud, name, ttl_s=_HOUR)
        record = evolve(manifest(name, who.uid, endpoint=shell.settings.access.endpoint), identity=who)
        Store(shell.settings.home).claim(record, credentials()).end_making()
    sandbox.set_clock(2 * _HOUR)
    drop = Folder.drop

    def fail(folder: Folder) -> None:
        if folder.prefix == "second":
            raise StateDamaged("It cannot be deleted.")
        drop(folder)

    monkeypatch.setattr(Folder, "drop", fail)
    # The first list is that of what there is, the second that of the first cluster.
    sandbox.set_faults(Faults(requests=(RequestFault(number=2, method="GET", path="/servers", status=401),)))
    code, output, complaints = shell("gc", "--json")
    failure, document = read("error", output), read("gc", output)
    assert (code, failure["error"]["code"], failure["left_over"]) == (3, "token_refused", ["cluster first"]), complaints
    assert failure["error"]["message"].endswith("Cluster 'second': It cannot be deleted.")
    errors = [row["error"] and row["error"]["code"] for row in document["clusters"]]
    assert errors == ["token_refused", "state_damaged", None]
    assert [row["deleted"] for row in document["clusters"]] == [False, True, True]
    assert [len(row["bills"]) for row in document["clusters"]] == [0, 1, 1]
    assert {row.partition("/")[2].partition("-")[0] for row in held(shell.settings)} == {"first"}
    monkeypatch.setattr(Folder, "drop", drop)
    assert json.loads(shell("destroy", "-p", "second", "--json")[1])["bills"] == document["clusters"][1]["bills"]


@pytest.mark.parametrize("words", [("gc",), ("nuke", "--yes", "-p", "ours")])
def test_folders_that_cannot_be_read(
    sandbox: SandboxThread,
    shell: Shell,
    cloud: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    words: tuple[str, ...],
) -> None:
    """Where this computer's folders of clusters cannot be read, what is rented goes all the same."""
    make(cloud, "ours", ttl_s=_HOUR)
    sandbox.set_clock(2 * _HOUR)

    def fail(store: Store, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(shell.settings.home / "clusters"))

    monkeypatch.setattr(Store, "folders", fail)
    code, _, complaints = shell(*words)
    assert (code, held(shell.settings)) == (0, []), complaints
    assert f"The folders of clusters in {shell.settings.home} cannot be read: [Errno 13] Permission" in caplog.text


def test_extend(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """A deadline is moved on all resources with no other label touched, remembered here, and earlier only if asked."""
    who = make(cloud, "more", ttl_s=_HOUR)
    record = evolve(manifest("more", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    folder = Store(shell.settings.home).claim(record, credentials())
    before = labels_in(cloud)
    code, output, complaints = shell("extend", "2d", "-p", "more", "--json")
    document = read("extend", output)
    assert code == 0, complaints
    assert unpromised("extend", document) == []
    deadline = document["deadline_s"]
    assert 0 <= deadline - 48 * _HOUR - now_s(cloud) + 60 <= 120
    assert labels_in(cloud) == {name: labels | {"deadline": str(deadline)} for name, labels in before.items()}
    assert folder.read().identity.deadline_s == deadline
    code, _, complaints = shell("extend", "-p", "more")
    assert (code, "lives longer than that anyway, for 1 d 23 h; --allow-shorter" in complaints) == (2, True), complaints
    assert shell("extend", "30m", "-p", "more", "--allow-shorter")[0] == 0
    assert shell("extend", "none", "-p", "more")[1] == "Cluster 'more' of anna_at_laptop has no deadline any more.\n"
    assert {labels["deadline"] for labels in labels_in(cloud).values()} == {"none"}
    code, _, complaints = shell("extend", "9d", "-p", "more")
    assert (code, "has no deadline; --allow-shorter" in complaints) == (2, True)
    assert read("extend", shell("extend", "none", "-p", "more", "--json")[1])["left_s"] is None
    assert shell("extend", "0", "-p", "more")[0] == 2
    assert shell("extend", "-p", "nobody")[0] == 10


def test_extend_idle(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """The idle time is changed on all resources, remembered here, and alone unless a deadline is given as well."""
    who = make(cloud, "calm", ttl_s=_HOUR)
    record = evolve(manifest("calm", who.uid, endpoint=shell.settings.access.endpoint), identity=who)
    folder = Store(shell.settings.home).claim(record, credentials())
    before = labels_in(cloud)
    code, output, complaints = shell("extend", "--idle-timeout", "2h", "-p", "calm", "--json")
    document = read("extend", output)
    assert code == 0, complaints
    assert unpromised("extend", document) == []
    assert (document["deadline_s"], document["idle_limit_s"]) == (who.deadline_s, 2 * _HOUR)
    assert 0 < document["left_s"] <= _HOUR
    assert labels_in(cloud) == {name: labels | {"idle": str(2 * _HOUR)} for name, labels in before.items()}
    assert folder.read().identity == evolve(who, idle_s=2 * _HOUR)
    assert json.loads(shell("ls", "--json")[1])["clusters"][0]["idle_limit_s"] == 2 * _HOUR
    said = shell("extend", "2d", "--idle-timeout", "10m", "-p", "calm")[1]
    assert said.endswith(" may live for 2d from now on and counts as forgotten when it was idle for 10m.\n")
    assert folder.read().identity.idle_s == 600
    said = shell("extend", "--idle-timeout", "none", "-p", "calm")[1]
    assert said == "Cluster 'calm' of anna_at_laptop never counts as forgotten for being idle.\n"
    assert folder.read().identity.idle_s is None
    assert json.loads(shell("ls", "--json")[1])["clusters"][0]["idle_limit_s"] is None
    assert shell("extend", "--idle-timeout", "0", "-p", "calm")[0] == 2
    assert shell("extend", "--idle-timeout", "soon", "-p", "calm")[0] == 2


def test_overdue_is_extended(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """An overdue cluster of somebody else can be let live, from a computer that has nothing of it."""
    make(cloud, "late", ttl_s=_HOUR)
    sandbox.set_clock(5 * _HOUR)
    code, output, complaints = shell("extend", "3h", "-p", "late")
    assert (code, output) == (0, "Cluster 'late' of anna_at_laptop may live for 3h from now on.\n"), complaints
    assert verdicts(shell("gc", "--json")[1]) == {"late": ("alive", False)}
    assert " left " in shell("ls")[1]


def test_what_a_command_changes_is_not_pointed_at(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """Who moves a deadline, protects or deletes is not told to do so, but of other clusters, and of what stays."""
    for prefix in ("one", "two"):
        make(cloud, prefix, ttl_s=_HOUR)
    sandbox.set_clock(5 * _HOUR)

    def told(*words: str) -> list[str]:
        code, _, complaints = shell(*words, "-p", "one")
        assert code == 0, complaints
        return [prefix for prefix in ("one", "two") if f"'{prefix}' of anna_at_laptop (overdue" in complaints]

    assert told("extend", "--idle-timeout", "2h") == ["one", "two"]
    assert told("protect") == ["two"]
    assert told("unprotect") == ["two"]
    assert told("extend", "30m") == ["two"]
    record = manifest("one", "one0", endpoint=shell.settings.access.endpoint)
    Store(shell.settings.home).claim(record, credentials()).end_making()
    assert "The deadline of cluster 'one' is in" in shell("ls")[2]
    assert "The deadline" not in shell("extend", "40m", "-p", "one")[2]
    sandbox.set_clock(9 * _HOUR)
    assert told("nuke", "--yes") == ["two"]


def test_no_extension_while_it_is_made(shell: Shell, cloud: Api) -> None:
    """Labels of a cluster that is being made are its maker's."""
    make(cloud, "young", ttl_s=_HOUR, state="creating")
    before = labels_in(cloud)
    code, _, complaints = shell("extend", "20h", "-p", "young")
    assert (code, "its labels can be changed when it is ready" in complaints) == (13, True)
    assert labels_in(cloud) == before


def test_interrupted_extension(sandbox: SandboxThread, shell: Shell, cloud: Api) -> None:
    """An extension that fails half-way is one: what got the later deadline keeps all of the cluster alive."""
    make(cloud, "half", ttl_s=_HOUR)
    sandbox.set_faults(Faults(requests=(RequestFault(number=2, method="PUT"),)))
    assert shell("extend", "20h", "-p", "half")[0] == 3
    assert len({labels["deadline"] for labels in labels_in(cloud).values()}) == 2
    sandbox.set_clock(2 * _HOUR)
    assert verdicts(shell("gc", "--json")[1]) == {"half": ("alive", False)}


@pytest.mark.parametrize("seed", range(3))
async def test_strangers_are_never_touched(sandbox: SandboxThread, settings: Settings, cloud: Api, seed: int) -> None:
    """Whatever stands around, with names and labels nearly ours, garbage is only what carries all of our labels."""
    chance = random.Random(seed)
    doomed = make(cloud, "old", ttl_s=_HOUR).labels("firewall")
    for number in range(12):
        labels = {key: value for key, value in doomed.items() if chance.random() < 0.6}
        if labels.keys() >= {"managed-by", "uid", "prefix"}:
            del labels[chance.choice(["managed-by", "uid", "prefix"])]
        assert cloud("POST", "/firewalls", {"name": f"old-{number}", "labels": labels}).status == 201
    sandbox.set_clock(2 * _HOUR)
    for judged in (await find_expired(settings)).clusters:
        assert await collect(settings, judged, listener=ignore_events)
    assert sorted(held(settings)) == sorted(f"firewalls/old-{number}" for number in range(12))


async def test_one_question(sandbox: SandboxThread, settings: Settings) -> None:
    """That all clusters are looked at costs no request more than looking at one."""
    await listing.fetch_clusters(settings, prefix="x")
    assert len(sandbox.sandbox.requests) == 4
