# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands on a living cluster: files, logs, tunnels, its firewall. Most of them ask the cloud nothing."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
import requests
from attrs import evolve
from conftest import TIME_SCALE
from description import Witness
from shells import Shell, program
from surroundings import settings_for

from scherbelberg import sync
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

WITHIN_S = 60
_CLIENT = """
from distributed import Client
with Client() as client:
    assert [preload.module.__name__ for preload in client.preloads] == ["openssl_errors"]
    print(client.submit(pow, 2, 10).result(timeout=30), client.dashboard_link)
"""


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Settings]]:
    """A cloud with one living cluster, called nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    witness = Witness()
    with SandboxThread(folder / "cloud", Options(time_scale=TIME_SCALE), witness=witness) as running:
        settings = settings_for(running, folder / "Häuser & Höfe 100%h")
        cluster = sync.Cluster.from_new(prefix="nodes", workers=1, direct="203.0.113.7", settings=settings)
        cluster.close()
        yield running, settings
    assert witness.complaints == []


@pytest.fixture
def shell(
    around: tuple[SandboxThread, Settings], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Shell:
    """A shell where that cluster was made."""
    return Shell(around[1], monkeypatch, capfd)


@pytest.fixture
def offline(around: tuple[SandboxThread, Settings], shell: Shell) -> Iterator[Shell]:
    """The same without a token, and proof that the cloud was asked nothing."""
    shell.monkeypatch.delenv("HCLOUD_TOKEN")
    before = len(around[0].sandbox.requests)
    yield shell
    assert around[0].sandbox.requests[before:] == []


def lines_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read what the program prints up to a line with these words."""
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line.rstrip("\n"))
        if words in line:
            return lines
    raise AssertionError(f"ended without '{words}': {lines} {process.stderr.read() if process.stderr else ''}")


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> int:
    """Send a signal and wait for the exit code."""
    process.send_signal(number)
    process.communicate(timeout=WITHIN_S)
    return process.returncode


# --- files ---


@pytest.mark.skipif(shutil.which("scp") is None, reason="needs OpenSSH's scp")
def test_scp(offline: Shell, tmp_path: Path) -> None:
    """Files and folders go to a node and come back; the cloud is not asked."""
    source, back = tmp_path / "so urce:1", tmp_path / "back"
    (source / "in side").mkdir(parents=True)
    (source / "in side" / "ä.txt").write_text("content", encoding="utf-8")
    assert offline("scp", "-p", "nodes", "-r", str(source), "worker000:copied")[0] == 0
    code, output, complaints = offline("scp", "-p", "nodes", "worker000:copied/in side/ä.txt", str(back))
    assert (code, output) == (0, ""), complaints
    assert back.read_text(encoding="utf-8") == "content"
    offline.monkeypatch.chdir(source.parent)
    assert offline("scp", "-p", "nodes", "-r", "./so urce:1", "worker000:again")[0] == 0
    assert offline("scp", "-p", "nodes", "worker000:nothing", str(back))[0] != 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("scp", "a", "b"), 2, "Neither side is on a node. Write one as NODE:PATH"),
        (("scp", "worker000:a", "scheduler:b"), 2, "copy to this computer first"),
        (("scp", "worker000:a", "b", "c"), 2, "copy to this computer first"),
        (("scp", "worker000:a", "scheduler:b", "c"), 2, "copy to this computer first"),
        (("scp", "worker007:a", "b"), 10, "has no node 'worker007'; it has: scheduler, worker000"),
        (("cp", __file__, "worker007:a"), 10, "has no node 'worker007'"),
        (("cp", __file__, "worker000,worker007:a"), 10, "has no node 'worker007'"),
        (("cp", __file__, "worker000"), 2, "Neither side is on a node. Write one as NODE:PATH or all:PATH."),
        (("cp", __file__, "worker000:"), 2, "There is no path after 'worker000:'"),
        (("cp", "worker000:a", "scheduler:b"), 2, "Both sides are on nodes. Copy to this computer first"),
        (("cp", "/nowhere", "worker000:a"), 2, "'/nowhere' does not exist"),
        (("cp", "a" * 5000, "worker000:a"), 2, "cannot be read: File name too long"),
        (("cp", __file__, "worker000:/nowhere/at/all"), 13, "/nowhere/at/all"),
        (("cp", "worker000:/nowhere/at/all", "a"), 13, "/nowhere/at/all"),
        (("cp", "all:a", __file__), 2, f"Cannot create folders in {__file__}: "),
        (("logs", "worker007"), 10, "has no node 'worker007'"),
        (("logs", "-n", "-1"), 2, "-1 is not in the range"),
        (("logs", "-s", "kernel"), 2, "'kernel' is not one of"),
        (("logs", "-p", "nobody"), 3, "There is no API token"),
        (("tunnel", "-p", "Nobody"), 2, "for example 'nobody'"),
    ],
)
def test_refused(offline: Shell, words: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be is refused in one sentence."""
    prefix = () if "-p" in words else ("-p", "nodes")
    ended, output, complaints = offline(words[0], *prefix, *words[1:])
    assert (ended, output, "Traceback" in complaints) == (code, "", False), complaints
    assert sentence in complaints


def test_cp(offline: Shell, tmp_path: Path) -> None:
    """A folder goes to all nodes at once, and a file to one."""
    source = tmp_path / "füller"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.txt").write_text("A", encoding="utf-8")
    code, _, complaints = offline("cp", "-p", "nodes", str(source), "all:füller")
    assert (code, complaints) == (0, f"Copied {source} to scheduler, worker000.\n")
    for name in ("scheduler", "worker000"):
        code, output, complaints = offline("ssh", "-p", "nodes", name, "cat", "füller/sub/a.txt")
        assert (code, output) == (0, "A"), complaints
    assert offline("cp", "-p", "nodes", str(source / "sub" / "a.txt"), "worker000:only-here")[0] == 0
    assert offline("ssh", "-p", "nodes", "scheduler", "cat only-here")[0] == 1


def test_cp_from_nodes(offline: Shell, tmp_path: Path) -> None:
    """From one node a copy gets its own name, and from several there is a folder for each."""
    here = tmp_path / "here.txt"
    here.write_text("twice", encoding="utf-8")
    assert offline("cp", "-p", "nodes", str(here), "scheduler,worker000,scheduler:back.txt")[0] == 0
    code, output, complaints = offline("cp", "-p", "nodes", "worker000:back.txt", str(tmp_path / "one.txt"))
    assert (code, output) == (0, "")
    assert complaints == f"Copied back.txt from worker000 to {tmp_path / 'one.txt'}.\n"
    assert (tmp_path / "one.txt").read_text(encoding="utf-8") == "twice"
    assert offline("cp", "-p", "nodes", "all:back.txt", str(tmp_path / "new" / "folder"))[0] == 0
    for name in ("scheduler", "worker000"):
        assert (tmp_path / "new" / "folder" / name / "back.txt").read_text(encoding="utf-8") == "twice"


# --- logs ---


def test_logs(offline: Shell) -> None:
    """The last lines of one node's log, or of all with their names before them."""
    code, output, complaints = offline("logs", "-p", "nodes", "scheduler", "--lines", "1000")
    assert code == 0, complaints
    assert "Scheduler at:" in output
    assert "scheduler | " not in output
    code, few, _ = offline("logs", "-p", "nodes", "scheduler", "-n", "2")
    assert few.splitlines() == output.splitlines()[-2:]
    code, output, _ = offline("logs", "-p", "nodes", "-n", "1000")
    assert {line.partition(" | ")[0].strip() for line in output.splitlines()} == {"scheduler", "worker000"}
    assert "Start worker at:" in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_following_logs(around: tuple[SandboxThread, Settings], number: signal.Signals, code: int) -> None:
    """New lines of all nodes come as they are written, until Ctrl-C, which is no failure."""
    _, settings = around
    with program(settings, "logs", "-p", "nodes", "-f", "-n", "1") as process:
        lines_until(process, "scheduler | ")
        with sync.Cluster.from_existing("nodes", settings=settings) as cluster, cluster.get_client() as client:
            (address,) = client.scheduler_info()["workers"]

            def speak() -> None:
                import logging

                logging.getLogger("distributed.worker").warning("hello from work")

            client.submit(speak, workers=[address], pure=False).result(timeout=30)
            assert "worker000 | " in lines_until(process, "hello from work")[-1]
        assert end(process, number) == code


def test_nobody_reads_on(around: tuple[SandboxThread, Settings]) -> None:
    """Where whoever read the log has left, following it ends without a complaint about a connection."""
    with program(around[1], "logs", "-p", "nodes", "-f", "-n", "1000", "scheduler") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(WITHIN_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


# --- tunnels ---


def test_tunnel(around: tuple[SandboxThread, Settings]) -> None:
    """What is printed lets Client() without arguments compute, and Python make a client; Ctrl-C ends it with 0."""
    _, settings = around
    with program(settings, "tunnel", "-p", "nodes", HCLOUD_TOKEN="") as process:
        lines = lines_until(process, "DASHBOARD__LINK")
        variables = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT],
            env={**os.environ, **variables},
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_S,
            check=False,
        )
        assert done.stdout.split() == ["1024", variables["DASK_DISTRIBUTED__DASHBOARD__LINK"]], done.stderr
        with _client_by(lines) as client:
            assert client.submit(pow, 3, 2).result(timeout=30) == 9
        assert end(process) == 0


@contextmanager
def _client_by(lines: list[str]) -> Iterator[Any]:
    """Make a client by the lines of Python that were printed."""
    names: dict[str, Any] = {}
    with dask.config.set({"distributed.client.preload": []}):
        exec("\n".join(line.removeprefix("#     ") for line in lines if line.startswith("#     ")), names)
        with names["client"] as client:
            (preload,) = client.preloads
            assert preload.module.__name__ == "openssl_errors"
            yield client


def test_tunnel_for_programs(around: tuple[SandboxThread, Settings]) -> None:
    """The same as a document; SIGTERM ends it with its usual code."""
    with program(around[1], "tunnel", "-p", "nodes", "--json") as process:
        lines: list[str] = []
        while lines[-1:] != ["}"]:
            lines += lines_until(process, "}")
        document = json.loads("".join(lines))
        assert document["schema"] == 1
        assert document["environ"]["DASK_SCHEDULER_ADDRESS"] == document["address"]
        assert end(process, signal.SIGTERM) == 143


def test_dashboard(around: tuple[SandboxThread, Settings], tmp_path: Path) -> None:
    """The dashboard's address is printed, answers, and is opened in the user's browser unless that is not wanted."""
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{shlex.quote(str(opened))}\n', encoding="utf-8")
    browser.chmod(0o755)
    for words, is_opened in (((), True), (("--no-browser",), False)):
        with program(around[1], "dashboard", "-p", "nodes", *words, BROWSER=str(browser)) as process:
            (link,) = lines_until(process, "/status")
            with urllib.request.urlopen(link, timeout=WITHIN_S) as page:
                assert page.status == 200
            assert process.stderr is not None
            assert "Ctrl-C closes it" in process.stderr.readline()
            assert end(process) == 0
        assert opened.exists() is is_opened
        opened.unlink(missing_ok=True)


# --- TLS on the nodes ---


def test_doctor(shell: Shell) -> None:
    """Scheduler, worker and nanny tell their Python and OpenSSL, and that a broken connection breaks no other."""
    code, output, complaints = shell("doctor", "-p", "nodes", "--json")
    checks = {check["name"]: check for check in json.loads(output)["checks"]}
    check, here = checks["tls_on_nodes"], checks["tls"]
    assert (code, check["status"], here["status"]) == (0, "ok", "ok"), complaints
    assert check["message"] == f"scheduler, worker000, worker000's nanny: {here['message']}"
    assert f"Python {platform.python_version()} with {ssl.OPENSSL_VERSION}, " in here["message"]
    code, output, _ = shell("doctor", "-p", "nobody", "--json")
    (check,) = (check for check in json.loads(output)["checks"] if check["name"] == "tls_on_nodes")
    assert (code, check["message"]) == (0, "Not looked at: this computer has no keys of a cluster 'nobody'.")


# --- the firewall ---


def _rules(settings: Settings) -> list[list[str]]:
    headers = {"Authorization": f"Bearer {settings.access.token}"}
    answer = requests.get(f"{settings.access.endpoint}/firewalls", headers=headers, timeout=10)
    (firewall,) = answer.json()["firewalls"]
    return [rule["source_ips"] for rule in firewall["rules"]]


def test_firewall(shell: Shell) -> None:
    """Who is let in changes in the cloud and in what this computer remembers; what is not named stays."""
    here, office = ["127.0.0.1/32"], ["198.51.100.0/24"]
    assert _rules(shell.settings) == [["0.0.0.0/0", "::/0"], ["203.0.113.7/32"]]
    code, output, complaints = shell("firewall", "-p", "nodes", "--ssh-from", "198.51.100.0/24", "--ssh-from", "here")
    assert code == 0, complaints
    assert output.splitlines()[0] == "SSH is let in from 198.51.100.0/24, 127.0.0.1/32."
    assert _rules(shell.settings) == [office + here, ["203.0.113.7/32"]]
    code, output, _ = shell("firewall", "-p", "nodes", "--expose-scheduler", "here", "--json")
    expected = {"schema": 1, "prefix": "nodes", "ssh_from": office + here, "direct": here}
    assert (code, json.loads(output)) == (0, expected)
    assert _rules(shell.settings) == [office + here, here]
    assert shell("firewall", "-p", "nodes", "--expose-scheduler", "none")[0] == 0
    assert _rules(shell.settings) == [office + here]
    (manifest,) = shell.settings.home.glob("clusters/*/manifest.json")
    spec = json.loads(manifest.read_text(encoding="utf-8"))["spec"]
    assert (spec["ssh_from"], spec["direct"]) == (office + here, [])
    code, _, complaints = shell("firewall", "-p", "nodes", "--expose-scheduler", "here")
    assert (code, "was made without --expose-scheduler" in complaints) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "Name the ranges to let in: --ssh-from CIDR|here, --expose-scheduler CIDR|here|none, or both."),
        (("--ssh-from", "anybody"), 2, "'anybody' is not a range of addresses"),
        (("--expose-scheduler", "none", "--expose-scheduler", "here"), 2, "'none' is not a range of addresses"),
        (("--ssh-from", "here", "-p", "nobody"), 10, "There is no cluster 'nobody'"),
    ],
)
def test_firewall_refused(shell: Shell, words: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be is refused in one sentence."""
    before = _rules(shell.settings)
    ended, _, complaints = shell("firewall", "-p", "nodes", *words)
    assert (ended, sentence in complaints) == (code, True), complaints
    assert _rules(shell.settings) == before


# --- on another computer ---


def test_imported(around: tuple[SandboxThread, Settings], tmp_path: Path, shell: Shell) -> None:
    """Where it was imported, the same commands work without the maker's keys; each node knows each key once."""
    file, there = tmp_path / "handed.over", evolve(around[1], home=tmp_path / "Häuser & Höfe 100%h")
    with sync.Cluster.from_existing("nodes", settings=around[1]) as cluster:
        for _ in range(2):
            cluster.export(file, passphrase="marked-passphrase-7261")
    for _ in range(2):
        sync.import_cluster(file, passphrase="marked-passphrase-7261", home=there.home)
    shell.monkeypatch.setenv("SCHERBELBERG_HOME", str(there.home))
    shell.monkeypatch.delenv("HCLOUD_TOKEN")
    code, output, complaints = shell("ssh", "-p", "nodes", "worker000", "cat ~/.ssh/authorized_keys")
    assert code == 0, complaints
    keys = output.splitlines()
    assert (len(set(keys)), len([line for line in keys if " exported-" in line])) == (len(keys), 2)
    assert shell("cp", "-p", "nodes", __file__, "scheduler:copy")[0] == 0
    code, output, complaints = shell("logs", "-p", "nodes", "-n", "1000")
    assert (code, "Start worker at:" in output) == (0, True), complaints
    with program(there, "tunnel", "-p", "nodes", HCLOUD_TOKEN="") as process:
        with _client_by(lines_until(process, "DASHBOARD__LINK")) as client:
            assert client.submit(pow, 3, 2).result(timeout=30) == 9
        assert end(process) == 0
