# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals to a program that another program waits for: there is a document all the same."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bare_clusters import make
from sandbox_helpers import Api
from schemas import read, read_lines, unpromised
from shells import Shell
from standstill import STANDSTILL
from surroundings import environment_for, folders, held

from scherbelberg.cli.output import Failure, Reporter
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60
CREATE = ("create", "-p", "signal", "-w", "1", "--json", "--progress", "json")
DESTROY = ("destroy", "-p", "signal", "--json", "--progress", "json")
SLOW = Faults(slow_s=0.3)


@contextmanager
def program(settings: Settings, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which is gone at the end whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scherbelberg", *words],
        env=environment_for(settings),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], **wanted: str) -> list[str]:
    """Read lines up to one with these values."""
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        values = json.loads(line)
        if all(values.get(name) == value for name, value in wanted.items()):
            return lines
    raise AssertionError(f"ended without {wanted}: {''.join(lines)}")


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end; returns what was not read yet of its output and its errors.

    The streams were read line by line: communicate would know nothing of what they hold beyond the last line.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    timer = threading.Timer(WITHIN_S, process.kill)
    timer.start()
    rest = process.stderr.read()
    output = process.stdout.read()
    process.wait()
    timer.cancel()
    return output, rest


def test_cancelled(sandbox: SandboxThread, settings: Settings) -> None:
    """A create that is cancelled tells so on stdout, and its undoing in lines; nothing is left."""
    sandbox.set_faults(STANDSTILL["reach done"])
    with program(settings, *CREATE) as process:
        begin = read_until(process, phase="reach", state="done")
        process.send_signal(signal.SIGTERM)
        output, rest = ended(process)
    failure = read("error", output)
    assert (process.returncode, failure["error"]["code"], failure["left_over"]) == (143, "cancelled", [])
    lines = read_lines("".join(begin) + rest)
    assert {"type": "message", "schema": 1, "text": "Interrupted: giving everything back ..."} in lines
    assert [line["phase"] for line in lines if line["type"] == "event"][-1] == "empty"
    assert lines[-1] == {**failure, "type": "error"}
    assert (held(settings), folders(settings)) == ([], [])


@pytest.mark.parametrize(
    ("words", "phase", "before"),
    [(CREATE, "environment", STANDSTILL["environment start"]), (DESTROY, "delete", SLOW)],
    ids=["create", "destroy"],
)
def test_abandoned(sandbox: SandboxThread, shell: Shell, words: tuple[str, ...], phase: str, before: Faults) -> None:
    """A person who leaves before the end is proven leaves a document, too, which names what may be left."""
    if words == DESTROY:
        assert shell(*CREATE)[0] == 0
    sandbox.set_faults(before)
    master, slave = pty.openpty()
    try:
        with program(shell.settings, *words, stdin=slave) as process:
            read_until(process, phase=phase, state="start")
            sandbox.set_faults(SLOW)
            process.send_signal(signal.SIGINT)
            read_until(process, type="message")
            process.send_signal(signal.SIGINT)
            output, rest = ended(process)
    finally:
        os.close(master)
        os.close(slave)
    failure = read("error", output)
    assert (process.returncode, failure["error"]["code"], failure["left_over"]) == (
        130,
        "cancelled",
        ["cluster signal"],
    )
    assert "scherbelberg nuke -p signal" in failure["error"]["message"]
    assert read_lines(rest)[-1] == {**failure, "type": "error"}


def test_tunnel(shell: Shell) -> None:
    """A tunnel gives its document when it is open, and adds nothing to it when it ends."""
    assert shell("create", "-p", "tour", "-w", "1", "-q")[0] == 0
    with program(shell.settings, "tunnel", "-p", "tour", "--json") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        process.send_signal(signal.SIGINT)
        rest, _ = ended(process)
    document = read("tunnel", "".join(lines) + rest)
    assert (process.returncode, unpromised("tunnel", document)) == (0, [])
    ranges = read("firewall", shell("firewall", "-p", "tour", "--ssh-from", "127.0.0.0/8", "--json", "-q")[1])
    assert (ranges["ssh_from"], unpromised("firewall", ranges)) == (["127.0.0.0/8"], [])


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_between(shell: Shell, name: str, code: int) -> None:
    """A signal that comes while nothing is asked of the cloud yet is a document as well."""

    def interrupted(token_file: object) -> None:
        signal.raise_signal(getattr(signal, name))

    shell.monkeypatch.setattr("scherbelberg.cli.list.load_settings", interrupted)
    ended, output, complaints = shell("ls", "--json")
    assert (ended, read("error", output)["error"]["code"]) == (code, "cancelled")
    assert complaints == f"Interrupted by {name}.\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_again_while_it_is_told(shell: Shell, name: str) -> None:
    """Who is impatient and interrupts again while the end is told hears it all the same."""

    def interrupted(token_file: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def told(reporter: Reporter, failure: Failure) -> None:
        signal.raise_signal(getattr(signal, name))
        fail(reporter, failure)

    fail = Reporter.fail
    shell.monkeypatch.setattr("scherbelberg.cli.list.load_settings", interrupted)
    shell.monkeypatch.setattr(Reporter, "fail", told)
    ended, output, complaints = shell("ls", "--json")
    assert (ended, read("error", output)["error"]["code"]) == (130, "cancelled")
    assert complaints == "Interrupted by SIGINT.\n"


def test_interrupted_after_the_making(shell: Shell) -> None:
    """When a cluster is made and only its description fails, the document says that it stays."""

    def interrupted(*args: object, **kwargs: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    shell.monkeypatch.setattr("scherbelberg.cli.actions.print_cluster_of", interrupted)
    code, output, complaints = shell(*CREATE)
    assert (code, read("error", output)["left_over"]) == (143, ["cluster signal"])
    (hint,) = [line["text"] for line in read_lines(complaints) if "stays" in line.get("text", "")]
    assert hint.endswith("give it back with: scherbelberg destroy -p signal")
    assert len(held(shell.settings)) == 5


def test_gc_that_fails_and_is_interrupted(sandbox: SandboxThread, settings: Settings) -> None:
    """After a signal no further cluster is begun, also where the deletion that it met ends with something left."""
    cloud = Api(sandbox.settings)
    for name in ("first", "second"):
        make(cloud, name, ttl_s=1)
    cloud.close()
    sandbox.set_clock(3600)
    refused = RequestFault(method="DELETE", path="/servers/*", status=403, code="protected", times=None)
    sandbox.set_faults(Faults(slow_s=SLOW.slow_s, requests=(refused,)))
    with program(settings, "gc", "--json", "--progress", "json") as process:
        read_until(process, phase="delete", state="start")
        process.send_signal(signal.SIGTERM)
        output, _ = ended(process)
    failure, document = read("error", output), read("gc", output)
    errors = [row["error"] and row["error"]["code"] for row in document["clusters"]]
    assert (process.returncode, failure["error"]["code"], errors) == (8, "left_over", ["left_over", None])
    sandbox.set_faults(Faults())
    assert subprocess.run(  # the others go when it is asked again
        [sys.executable, "-m", "scherbelberg", "gc"], env=environment_for(settings), timeout=WITHIN_S, check=True
    )
    assert held(settings) == []
