# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Output that cannot be written, or that nobody reads: the work goes on, and so does its undoing."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from sandbox_helpers import Waiter
from shells import Shell
from standstill import STANDSTILL
from surroundings import environment_for, folders, held

from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60
CREATE = ("create", "-p", "mute", "-w", "1", "--progress", "plain", "-v")


class Reader:
    """Somebody who reads what a program writes, as long as he likes."""

    def __init__(self, near: int, far: int) -> None:
        self.near, self.far = near, far
        self.seen = b""

    def read_until(self, word: str) -> None:
        """Read up to a word."""
        while word.encode() not in self.seen:
            data = os.read(self.near, 1)
            assert data, self.seen.decode()
            self.seen += data

    def leave(self) -> None:
        """Read no more: the pipe breaks, or the terminal is closed."""
        os.close(self.near)
        self.near = -1

    def be_the_only_one(self) -> None:
        """Leave the program's end to the program."""
        os.close(self.far)
        self.far = -1

    def end(self) -> None:
        """Close what is still open."""
        for descriptor in {self.near, self.far} - {-1}:
            os.close(descriptor)

    def stop(self) -> None:
        """Stay, and read nothing for a while: what is written from now on has no room."""
        os.set_blocking(self.far, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.far, b".")
        os.set_blocking(self.far, True)


@contextmanager
def _program(
    settings: Settings, make: Callable[[], tuple[int, int]], *words: str
) -> Iterator[tuple[subprocess.Popen[bytes], Reader]]:
    """The command line in a process of its own, with both streams in the hands of one reader."""
    reader = Reader(*make())
    if make is os.pipe:
        fcntl.fcntl(reader.far, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-m", "scherbelberg", *words],
        env=environment_for(settings),
        stdin=subprocess.DEVNULL,
        stdout=reader.far,
        stderr=reader.far,
        start_new_session=True,
    )
    try:
        yield process, reader
    finally:
        process.kill()
        process.wait()
        reader.end()


@pytest.mark.parametrize(
    ("make", "number"),
    [(os.pipe, signal.SIGINT), (os.pipe, signal.SIGTERM), (pty.openpty, signal.SIGHUP)],
    ids=["pipe, Ctrl-C", "pipe, SIGTERM", "terminal"],
)
def test_nobody_reads_an_undoing(
    sandbox: SandboxThread, settings: Settings, make: Callable[[], tuple[int, int]], number: signal.Signals
) -> None:
    """A create that is interrupted after its reader has left gives everything back, and its exit code is true."""
    sandbox.set_faults(STANDSTILL["reach done"])
    with _program(settings, make, *CREATE) as (process, reader):
        if make is os.pipe:
            reader.be_the_only_one()
        reader.read_until("reach done")
        reader.leave()
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 128 + number
    assert (held(settings), folders(settings)) == ([], [])


def test_reader_who_does_not_read(sandbox: SandboxThread, settings: Settings) -> None:
    """Nor does it wait for one who does not read: everything is gone before the last words are written."""
    sandbox.set_faults(STANDSTILL["reach done"])
    with _program(settings, os.pipe, *CREATE) as (process, reader):
        reader.read_until("reach done")
        reader.stop()
        process.send_signal(signal.SIGTERM)
        Waiter().wait(lambda: not held(settings) and not folders(settings), what="an empty project", within_s=WITHIN_S)
        reader.be_the_only_one()
        reader.read_until("empty done (nothing is left)")
        reader.leave()
        assert process.wait(WITHIN_S) == 143


def test_nobody_reads_a_create(settings: Settings, shell: Shell) -> None:
    """A create whose reader leaves in the middle of it makes its cluster, and succeeds."""
    with _program(settings, os.pipe, *CREATE) as (process, reader):
        reader.be_the_only_one()
        reader.read_until("network start")
        reader.leave()
        assert process.wait(WITHIN_S) == 0
    assert len([name for name in held(settings) if name.startswith("servers/")]) == 2
    assert shell("destroy", "-p", "mute")[0] == 0


def test_nobody_reads_a_command_with_a_cluster(settings: Settings) -> None:
    """A cluster for a command is given back although whoever read the command's words has left."""
    words = ("with", "-p", "mute", "-w", "1", "--", sys.executable, "-c", "import os; os.write(1, b'working')")
    with _program(settings, os.pipe, *words) as (process, reader):
        reader.be_the_only_one()
        reader.read_until("working")
        reader.leave()
        assert process.wait(WITHIN_S) == 0
    assert (held(settings), folders(settings)) == ([], [])


def test_nobody_reads_a_list(settings: Settings) -> None:
    """Nor is it an error when nobody reads an answer."""
    with _program(settings, os.pipe, "ls") as (process, reader):
        reader.be_the_only_one()
        reader.leave()
        assert process.wait(WITHIN_S) == 0


@pytest.mark.skipif("not os.path.exists('/dev/full')", reason="there is no /dev/full")
@pytest.mark.parametrize("full", ["out", "err"])
def test_full_disk(settings: Settings, shell: Shell, full: str) -> None:
    """On a full disk the cluster is made, and what is lost is told where there is room."""
    words = [sys.executable, "-m", "scherbelberg", *CREATE[:5], "--json"]
    with open("/dev/full", "wb") as disk:  # noqa: PTH123
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, f"std{full}": disk}
        done = subprocess.run(words, env=environment_for(settings), timeout=WITHIN_S, check=False, **streams)  # type: ignore[call-overload]
    assert done.returncode == 0
    if full == "out":
        assert b"The result could not be written: No space left on device." in done.stderr
    else:
        assert json.loads(done.stdout)["prefix"] == "mute"
    assert shell("destroy", "-p", "mute")[0] == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(settings: Settings, shell: Shell, closed: str) -> None:
    """With descriptors that were closed before, the cluster is made, and nothing of ours gets their numbers."""
    line = f'exec "$0" -m scherbelberg "$@" {closed}'
    for words in (CREATE, ("show", "-p", "mute"), ("destroy", "-p", "mute")):
        done = subprocess.run(
            ["bash", "-c", line, sys.executable, *words],
            env=environment_for(settings),
            timeout=WITHIN_S,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done
    assert (held(settings), folders(settings)) == ([], [])
