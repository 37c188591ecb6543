# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that are run to their end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from scherbelberg.concurrency.subprocess import run_child
from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import WaitTimeout


async def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program gets what it is to read and its folder, and all that it says comes back, however much it is."""
    monkeypatch.setenv("SCHERBELBERG_TEST", "seen")
    code = (
        "import os, sys; text = sys.stdin.read(); print(text * 1000, end=''); print(os.getcwd(), file=sys.stderr);"
        "print(os.environ.get('SCHERBELBERG_TEST'), file=sys.stderr); sys.exit(7)"
    )
    given = "ä" * 1000
    line = [sys.executable, "-X", "utf8", "-c", code]
    ended = await run_child(line, what="it", within_s=30, environ=os.environ, stdin=given.encode(), folder=tmp_path)
    assert (ended.code, ended.out.decode()) == (7, given * 1000)
    assert ended.err.decode().splitlines() == [str(tmp_path), "seen"]
    other = await run_child(line, what="it", within_s=30, environ={"SCHERBELBERG_TEST": "other"})
    assert other.err.decode().splitlines() == [os.getcwd(), "other"]  # noqa: PTH109 - as the program says it
    assert "ä" not in repr(ended)


async def test_no_program(tmp_path: Path) -> None:
    """What is no program is an error of the operating system's."""
    with pytest.raises(FileNotFoundError):
        await run_child([str(tmp_path / "none")], what="it", within_s=5, environ=os.environ)


_SLEEPER = "import pathlib, sys, os, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_deadline(tmp_path: Path) -> None:
    """A program that does not end is killed at the deadline, which is told."""
    line = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(WaitTimeout, match=r"The thing did not happen within 0\.2 s"):
        await run_child(line, what="The thing", within_s=0.2, environ=os.environ)
    assert not [child for child in psutil.Process().children() if "time.sleep(60)" in " ".join(child.cmdline())]


async def test_cancelled(tmp_path: Path) -> None:
    """Whoever is cancelled while waiting leaves no program behind."""
    mark = tmp_path / "pid"
    line = [sys.executable, "-c", _SLEEPER, str(mark)]
    running = asyncio.create_task(run_child(line, what="it", within_s=30, environ=os.environ))

    async def started() -> int | None:
        text = mark.read_text(encoding="utf-8") if mark.exists() else ""
        return int(text) if text else None

    pid = await until(started, every_s=0.02, within_s=20, what="The start")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert _is_gone(pid)
