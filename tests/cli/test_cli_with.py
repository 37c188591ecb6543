# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg with``: a cluster for one command, which is given back however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shells import Shell, program
from standstill import STANDSTILL
from surroundings import environment_for, folders, held

from scherbelberg.cli.signals import run_program
from scherbelberg.inventory.history import History
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings, environment_with

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60
WITH = ("with", "-p", "short", "-w", "1")
_COMPUTE = """
import sys
from distributed import Client
with Client() as client:
    print(client.submit(sum, [1, 2, 39]).result(timeout=30), sys.argv[1:])
sys.exit(7)
"""
#: Says when it is there, what it hears, and ends with 5 when it was told to by a signal.
_LISTEN = """
import signal, sys
def hear(number, frame):
    print("heard", number, flush=True)
    sys.exit(5)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, hear)
print("here", flush=True)
while True:
    signal.pause()
"""
_DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
while True:
    signal.pause()
"""


def test_command_with_a_cluster(shell: Shell) -> None:
    """The command computes with Client() alone, its words are its own, its exit code is ours, and nothing is left."""
    code, output, complaints = shell(*WITH, "--", sys.executable, "-c", _COMPUTE, "-p", "--help", "a b")
    assert code == 7, complaints
    assert output == "42 ['-p', '--help', 'a b']\n"
    assert "Giving everything back ..." in complaints
    assert "nothing is left" in complaints
    assert complaints.splitlines()[-1].endswith("gross; traffic beyond the included is not counted.")
    assert held(shell.settings) == []
    assert folders(shell.settings) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_the_commands(settings: Settings, number: signal.Signals) -> None:
    """A signal reaches the command, which ends as it likes; then everything is given back."""
    with program(settings, *WITH, "--", sys.executable, "-c", _LISTEN) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert len(held(settings)) == 5
        process.send_signal(number)
        output, complaints = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, output) == (5, f"heard {int(number)}\n"), complaints
    assert held(settings) == []
    assert folders(settings) == []


def test_signal_before_the_command(sandbox: SandboxThread, settings: Settings, tmp_path: Path) -> None:
    """A signal while the cluster is made gives everything back, and the command is not begun."""
    sandbox.set_faults(STANDSTILL["tls start"])
    begun = tmp_path / "begun"
    with program(settings, *WITH, "--", "touch", str(begun)) as process:
        assert process.stderr is not None
        assert any("tls start" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 143
    assert not begun.exists()
    assert held(settings) == []


def test_signal_while_giving_back(settings: Settings) -> None:
    """A signal after the command's end does not keep anything from being given back."""
    with program(settings, *WITH, "--", "true") as process:
        assert process.stderr is not None
        assert any("delete start" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WITHIN_S)
    assert [len(entry.machines) for entry in History(settings.home).read()[0]] == [2]
    assert held(settings) == []
    assert folders(settings) == []


def test_create_that_fails(sandbox: SandboxThread, shell: Shell, tmp_path: Path) -> None:
    """A failing create ends with its own code, and the command is not begun."""
    begun = tmp_path / "begun"
    sandbox.set_faults(Faults(requests=(RequestFault(path="/servers", method="POST"),)))
    assert shell(*WITH, "--", "touch", str(begun))[0] == 3
    sandbox.set_faults(Faults())
    code, _, complaints = shell(*WITH, "--", "no-such-program-anywhere")
    assert (code, "There is no program 'no-such-program-anywhere'" in complaints) == (2, True)
    assert shell("with", "-w", "0", "--", "touch", str(begun))[0] == 2
    assert shell("with", "-p", "short")[0] == 2
    assert not begun.exists()
    assert held(shell.settings) == []


def test_failed_give_back(sandbox: SandboxThread, shell: Shell) -> None:
    """When something could not be given back, that is what the exit code says, whatever the command's was."""
    refusal = RequestFault(path="/networks/*", method="DELETE", status=403, code="protected")
    sandbox.set_faults(Faults(requests=(refusal,)))
    code, _, complaints = shell(*WITH, "--", "true")
    assert (code, "network short" in complaints) == (8, True), complaints
    assert "To try again: scherbelberg destroy -p short" in complaints
    sandbox.set_faults(Faults())
    assert shell("destroy", "-p", "short")[0] == 0
    assert folders(shell.settings) == []


def test_keep_is_for_failures(sandbox: SandboxThread, settings: Settings) -> None:
    """A signal gives everything back also with --keep-on-failure: who leaves does not want to go on paying."""
    sandbox.set_faults(STANDSTILL["tls start"])
    with program(settings, "create", "-p", "short", "-w", "1", "--keep-on-failure") as process:
        assert process.stderr is not None
        assert any("tls start" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 130
    assert held(settings) == []
    assert folders(settings) == []


# --- running a program ---


def _run(code: str, *words: str, patience_s: float = 10.0) -> int:
    return run_program([sys.executable, "-c", code, *words], environment_with({"A": "b"}), patience_s=patience_s)


def test_exit_codes() -> None:
    """The program's exit code is passed on, that of a signal as shells have it; variables reach it."""
    assert _run("import os, sys; sys.exit(os.environ['A'] == 'b')") == 1
    assert _run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 137


def test_deaf_program(settings: Settings) -> None:
    """A program that does not heed SIGTERM is ended after a while: a CI system would end us all the sooner."""
    script = (
        "import sys; from scherbelberg.cli.signals import run_program; from scherbelberg.settings import"
        " environment_with; sys.exit(run_program([sys.executable, '-c', sys.argv[1]], environment_with({}),"
        " patience_s=0.2))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, _DEAF],
        env=environment_for(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            process.terminate()
            process.communicate(timeout=WITHIN_S)
            assert process.returncode == 137
        finally:
            process.kill()
