# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line: a cluster's life, and every kind of bad input with its sentence and its exit code."""

from __future__ import annotations

import io
import json
import shutil
import socket
from decimal import Decimal
from pathlib import Path

import pytest
from shells import Shell, Terminal
from surroundings import folders, held

pytestmark = pytest.mark.hosts("scripted")


@pytest.mark.hosts("process")
def test_life(shell: Shell) -> None:
    """A cluster is made, listed, shown, entered and given back; results go to stdout, all else to stderr."""
    code, output, complaints = shell("create", "-p", "tour", "--workers", "1")
    assert code == 0, complaints
    assert output.startswith("Cluster tour (ready")
    assert complaints.startswith(f"SANDBOX at {shell.settings.access.endpoint}, token from HCLOUD_TOKEN")
    assert "proof done (1 workers compute)" in complaints

    code, output, _ = shell("ls", "--json")
    (listed,) = json.loads(output)["clusters"]
    assert (code, listed["prefix"], listed["state"], listed["keys_here"]) == (0, "tour", "ready", True)
    assert shell("ls")[1].splitlines()[1].split()[:2] == ["tour", "ready"]

    shown = json.loads(shell("show", "-p", "tour", "--json")[1])
    assert [node["name"] for node in shown["nodes"]] == ["scheduler", "worker000"]
    assert {node["status"] for node in shown["nodes"]} == {"running"}
    assert float(shown["hourly"]["net"]) == pytest.approx(2 * float(shown["nodes"][0]["hourly"]["net"]))

    if shutil.which("ssh"):
        _log_in(shell, shown["versions"]["dask"])

    code, _, complaints = shell("ssh", "-p", "tour", "worker001")
    assert (code, "has no node 'worker001'" in complaints) == (10, True)
    code, _, complaints = shell("create", "-p", "tour")
    assert (code, "There is a cluster 'tour'" in complaints) == (9, True)

    code, output, complaints = shell("destroy", "-p", "tour")
    assert (code, "nothing is left" in complaints) == (0, True)
    cost = shown["cost"]
    words = f"{Decimal(cost['net']):.4f} EUR net, {Decimal(cost['gross']):.4f} gross"
    assert output.startswith("Cluster tour (2 machines, ")
    assert f"has cost {words}; traffic beyond the included is not counted." in output
    assert held(shell.settings) == []
    assert folders(shell.settings) == []
    assert "There are no clusters." in shell("ls")[1]


def _log_in(shell: Shell, version: str) -> None:
    """Commands run in the cluster's environment, and their exit code is ours."""
    code, output, complaints = shell(
        "ssh", "-p", "tour", "worker000", "python3", "-c", "'import dask; print(dask.__version__)'"
    )
    assert (code, output.strip()) == (0, version), complaints
    assert shell("ssh", "-p", "tour", "scheduler", "exit 7")[0] == 7
    assert shell("ssh", "-p", "tour", "scheduler", "--", "ls", "-a", "/")[1].split()[:2] == [".", ".."]


def test_damaged_and_missing_state(shell: Shell, tmp_path: Path) -> None:
    """A damaged manifest is named; on another computer only nuke helps, and it asks first."""
    assert shell("create", "-p", "kaputt", "--workers", "1")[0] == 0
    (name,) = folders(shell.settings)
    manifest = shell.settings.home / "clusters" / name / "manifest.json"
    manifest.write_text("{", encoding="utf-8")
    code, _, complaints = shell("ssh", "-p", "kaputt", "scheduler")
    assert (code, "scherbelberg destroy -p kaputt" in complaints) == (11, True)
    assert shell("show", "-p", "kaputt")[0] == 0

    shell.monkeypatch.setenv("SCHERBELBERG_HOME", str(tmp_path / "elsewhere"))
    for command in (("destroy",), ("show",), ("ssh", "scheduler")):
        code, _, complaints = shell(command[0], "-p", "kaputt", *command[1:])
        assert (code, "keys are not on this computer" in complaints) == (11, True)
    shell.monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, complaints = shell("nuke", "-p", "kaputt")
    assert (code, "was not created on this computer. Use --yes" in complaints) == (2, True)
    shell.monkeypatch.setattr("sys.stdin", Terminal("kaputtt\n"))
    code, _, complaints = shell("nuke", "-p", "kaputt")
    assert (code, "'kaputtt' is not 'kaputt': nothing was deleted" in complaints) == (2, True)
    assert len(held(shell.settings)) == 5
    shell.monkeypatch.setattr("sys.stdin", Terminal("kaputt\n"))
    assert shell("nuke", "-p", "kaputt")[0] == 0
    assert held(shell.settings) == []

    shell.monkeypatch.setenv("SCHERBELBERG_HOME", str(shell.settings.home))
    assert shell("destroy", "-p", "kaputt")[0] == 0  # what this computer remembers goes, too
    assert folders(shell.settings) == []


def test_destroy_with_a_damaged_manifest(shell: Shell) -> None:
    """A cluster whose manifest cannot be read is given back all the same."""
    assert shell("create", "-p", "kaputt", "--workers", "1")[0] == 0
    (name,) = folders(shell.settings)
    (shell.settings.home / "clusters" / name / "manifest.json").unlink()
    assert shell("destroy", "-p", "kaputt")[0] == 0
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("create", "--workers", "0"), 2, "Invalid number of workers: 0. Use 1 to 99"),
        (("create", "--workers", "100"), 2, "Invalid number of workers: 100. Use 1 to 99"),
        (("create", "--workers", "some"), 2, "'some' is not a valid integer"),
        (("create", "-p", "größe"), 2, "for example 'groesse'"),
        (("show", "-p", "My Cluster"), 2, "for example 'my-cluster'"),
        (("create", "--worker-type", "cx32"), 2, "There is no server type 'cx32'; did you mean 'cx33'?"),
        (("create", "--scheduler-type", "mainframe"), 2, "There is no server type 'mainframe'"),
        (("create", "--location", "fsn2"), 2, "There is no location 'fsn2'; did you mean 'fsn1'?"),
        (("create", "--image", "ubuntu-20.04"), 2, "There is no image 'ubuntu-20.04' for x86; did you mean 'ubuntu-2"),
        (("create", "--worker-type", "cx33", "--location", "ash"), 2, "Server type cx33 is not sold in ash"),
        (("create", "--no-such"), 2, "No such option '--no-such'"),
        (("show", "-p", "nobody"), 10, "There is no cluster 'nobody' in this project of SANDBOX"),
        (("destroy", "-p", "nobody"), 10, "There is no cluster 'nobody'"),
        (("nuke", "-p", "nobody"), 10, "There is no cluster 'nobody' in this project."),
        (("ssh", "-p", "nobody", "scheduler"), 10, "There is no cluster 'nobody'"),
        (("ls", "--token-file", "/nowhere/token"), 2, "The token file /nowhere/token cannot be read"),
    ],
)
def test_bad_input(shell: Shell, words: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be is refused in one sentence, and nothing is made."""
    ended, output, complaints = shell(*words)
    assert (ended, output) == (code, "")
    assert sentence in complaints
    assert "Traceback" not in complaints
    assert held(shell.settings) == []
    assert folders(shell.settings) == []


@pytest.mark.parametrize(
    ("variable", "value", "code", "sentence"),
    [
        ("HCLOUD_TOKEN", None, 3, "/v1: set HCLOUD_TOKEN, or name a file with --token-file"),
        ("HCLOUD_TOKEN", "wrong" * 12, 3, "check the token from HCLOUD_TOKEN"),
        ("HCLOUD_TOKEN", "two words", 2, "is not a token"),
        ("HCLOUD_ENDPOINT", "http://example.org/v1", 2, "is plain http, which would send your token in the clear"),
        ("HCLOUD_ENDPOINT", "localhost", 2, "is not the URL of an API"),
        ("SCHERBELBERG_SSH_PORT", "ssh", 2, "which is no port"),
        ("SCHERBELBERG_NETWORK", "10.0.0.0/8/8", 2, "is not an IPv4 network"),
    ],
)
def test_bad_surroundings(shell: Shell, variable: str, value: str | None, code: int, sentence: str) -> None:
    """What is wrong with the surroundings is said in one sentence, with the name of what is wrong."""
    if value is None:
        shell.monkeypatch.delenv(variable)
    else:
        shell.monkeypatch.setenv(variable, value)
    ended, _, complaints = shell("create")
    assert (ended, sentence in complaints) == (code, True), complaints
    assert folders(shell.settings) == []


def test_unreachable_endpoint(shell: Shell) -> None:
    """An endpoint where nobody answers is named at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        shell.monkeypatch.setenv("HCLOUD_ENDPOINT", endpoint)
        code, _, complaints = shell("ls")
    assert code == 12
    assert f"the cloud at {endpoint} does not answer as it should: [Errno" in complaints
