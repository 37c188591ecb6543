# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Signals while the program is still being loaded: whoever waits for a document gets one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scherbelberg.cli import early_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no program of Windows is sent a signal like this")
WITHIN_S = 120
#: Some of the first modules that are loaded, some that take long, and what comes last before the work.
MODULES = ("click.core", "asyncio.events", "scherbelberg.spec.model", "scherbelberg.cli.main")
LATER = ("scherbelberg.cli.cluster_options", "scherbelberg.cli.actions")


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables that lead to an API that never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield {
            "PYTHONPATH": ":".join(sys.path),
            "HOME": str(tmp_path),
            "SCHERBELBERG_HOME": str(tmp_path),
            "HCLOUD_TOKEN": "t" * 64,
            "HCLOUD_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
        }


def _interrupted(words: list[str], environ: dict[str, str], *, when: str, number: int) -> tuple[int, str]:
    """Run the program, send it a signal when it has loaded a module, and return its exit code and its results."""
    line = [sys.executable, "-X", "importtime", "-m", "scherbelberg", *words]
    with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        try:
            for text in program.stderr:
                if text.rpartition("|")[2].strip() == when:
                    program.send_signal(number)
                    break
            else:
                pytest.fail(f"{when} was never loaded")
            out, _ = program.communicate(timeout=WITHIN_S)
        finally:
            program.kill()
    return program.returncode, out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", [*MODULES, *LATER])
def test_document_from_the_first_moment(environ: dict[str, str], when: str, number: int) -> None:
    """Whenever a signal comes, there is a document that says so, and the exit code."""
    code, out = _interrupted(["create", "--json"], environ, when=when, number=number)
    assert code == 128 + number
    document = json.loads(out)
    assert (document["error"]["code"], document["left_over"]) == ("cancelled", [])


@pytest.mark.parametrize(
    "words", [["create"], ["ssh", "worker000", "tool", "--json"], ["with", "--", "tool", "--json"]]
)
def test_no_document_for_who_wants_none(environ: dict[str, str], words: list[str]) -> None:
    """Who asks for none, and whose own program does, gets none."""
    assert _interrupted(words, environ, when="scherbelberg.spec.model", number=signal.SIGINT) == (130, "")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/usr/bin/scherbelberg", True),
        ("/nix/store/x/bin/.scherbelberg-wrapped", True),
        ("/site-packages/scherbelberg/__main__.py", True),
        ("/venv/Scripts/scherbelberg.exe/__main__.py", True),
        ("/work/scherbelberg/own_script.py", False),
        ("/work/scherbelberg_job.py", False),
        ("/site-packages/pytest/__main__.py", False),
        ("", False),
    ],
)
def test_whose_program(file: str, expected: bool) -> None:
    """Only our own program takes signals into its hands while it is loaded."""
    assert early_signals.is_ours(file) is expected


def test_signals_are_left_alone_in_other_programs(environ: dict[str, str]) -> None:
    """Another program that loads the command line hears its signals as before."""
    code = "import signal; before = signal.getsignal(2); import scherbelberg.cli; assert signal.getsignal(2) is before"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=WITHIN_S)
