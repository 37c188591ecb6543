# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""`scherbelberg logs` with all sources, on nodes that play their part."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from schemas import read, unpromised
from shells import Shell
from surroundings import settings_for

from scherbelberg import Event, Phase, sync
from scherbelberg.sandbox.faults import Faults, HostFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

_WITHIN_S = 60


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    """A cloud of scripted hosts."""
    folder = tmp_path_factory.mktemp("logs")
    with SandboxThread(folder / "cloud", Options(hosts="scripted", time_scale=0.02)) as running:
        yield running


@pytest.fixture(scope="module")
def around(stage: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that lead to one living cluster there, called nodes."""
    settings = settings_for(stage, tmp_path_factory.mktemp("home") / "Häuser & Höfe 100%h")
    sync.Cluster.from_new(prefix="nodes", workers=1, settings=settings).close()
    return settings


@pytest.fixture
def offline(around: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """A shell where that cluster was made, without a token."""
    shell = Shell(around, monkeypatch, capfd)
    monkeypatch.delenv("HCLOUD_TOKEN")
    return shell


def test_sources(offline: Shell) -> None:
    """The bootstrap's log, all logs with what they are, what is not there, and all of it as a document."""
    code, output, complaints = offline("logs", "-p", "nodes", "scheduler", "--source", "bootstrap", "-n", "1")
    assert (code, output, complaints) == (0, "phase service done\n", "")
    code, output, complaints = offline("logs", "-p", "nodes", "worker000", "-s", "dask", "-s", "bootstrap", "-n1")
    assert [line.partition(" | ")[0] for line in output.splitlines()] == ["bootstrap", "dask     "]
    code, output, complaints = offline("logs", "-p", "nodes", "-s", "all", "-n", "1")
    labels = [line.partition(" | ")[0].split() for line in output.splitlines()]
    assert labels == [[node, source] for node in ("scheduler", "worker000") for source in ("bootstrap", "dask")]
    lacks = "cloud-init has written no log here"
    assert (code, complaints) == (0, f"scheduler: {lacks}.\nworker000: {lacks}.\n")
    assert offline("logs", "-p", "nodes", "-s", "cloud-init", "-q") == (0, "", "")
    code, output, complaints = offline("logs", "-p", "nodes", "worker000", "-s", "all", "-n", "1", "--json")
    document = read("logs", output)
    assert [log["lacks"] for log in document["logs"]] == [lacks, None, None]
    assert [len(log["lines"]) for log in document["logs"]] == [0, 1, 1]
    assert unpromised("logs", document) == []
    code, output, _ = offline("logs", "-p", "nodes", "-f", "--json")
    assert (code, "--follow and --json exclude each other" in read("error", output)["error"]["message"]) == (2, True)


def test_node_that_is_not_made(offline: Shell) -> None:
    """Of a node whose bootstrap has not ended all logs are shown, and one that is lost does not hide the others."""
    (manifest,) = offline.settings.home.glob("clusters/*/manifest.json")
    before = manifest.read_text(encoding="utf-8")
    document = json.loads(before)
    scheduler, worker = document["nodes"]
    scheduler["script"] = ""
    worker |= {"public_ip": None, "public_ipv6": None}
    manifest.write_text(json.dumps(document), encoding="utf-8")
    try:
        code, output, complaints = offline("logs", "-p", "nodes", "-n", "1")
    finally:
        manifest.write_text(before, encoding="utf-8")
    assert [line.partition(" | ")[0].split() for line in output.splitlines()] == [
        ["scheduler", "bootstrap"],
        ["scheduler", "dask"],
    ]
    assert (code, complaints.splitlines()[-1]) == (13, "Error: Node worker000 has no public address yet.")


def test_while_it_is_made(stage: SandboxThread, offline: Shell) -> None:
    """In a second shell one sees what a node does that is still being made."""
    begun = threading.Event()

    def listen(event: Event) -> None:
        if (event.phase, event.state, event.node) == (Phase.ENVIRONMENT, "start", "worker000"):
            begun.set()

    stage.set_faults(Faults(hosts=(HostFault(server="made-worker000", how="hangs", phase="environment"),)))
    making = sync.Cluster.begin_new(prefix="made", workers=1, settings=offline.settings, listen=listen)
    try:
        assert begun.wait(60)
        code, output, complaints = offline("logs", "-p", "made", "worker000", "-n", "1")
    finally:
        making.cancel()
        stage.set_faults(Faults())
    assert (code, output) == (0, "bootstrap  | phase environment start\n")
    assert complaints == (
        "worker000: cloud-init has written no log here.\nworker000: Dask has not been started here.\n"
    )
