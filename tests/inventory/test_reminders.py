# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Deadlines are told to whoever uses a cluster, in good time and once; nothing else is done about them here."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import credentials, identity, manifest
from sandbox_helpers import WITHIN_S
from shells import Shell

from scherbelberg.concurrency.waiting import until
from scherbelberg.events import NOTICES
from scherbelberg.inventory import reminders
from scherbelberg.inventory.reminders import remind
from scherbelberg.nodes.connections import Connections
from scherbelberg.state.store import Folder, Store

pytestmark = pytest.mark.hosts("scripted")


def a_folder(home: Path, *, left_s: float | None, endpoint: str = "http://127.0.0.1:9/v1") -> Folder:
    """The folder of a cluster whose deadline is so many seconds away."""
    deadline_s = None if left_s is None else int(time.time() + left_s)
    kept = evolve(manifest(endpoint=endpoint), identity=evolve(identity(), deadline_s=deadline_s))
    folder = Store(home).claim(kept, credentials())
    folder.end_making()
    return folder


def move(folder: Folder, seconds: float) -> None:
    """Move a remembered deadline."""
    kept = folder.read()
    folder.save(evolve(kept, identity=evolve(kept.identity, deadline_s=int(time.time() + seconds))))


@pytest.mark.parametrize(
    ("left_s", "words"),
    [(None, None), (3660, None), (1830.5, "in 30 min"), (-50_000, "now")],
)
def test_remind(tmp_path: Path, caplog: pytest.LogCaptureFixture, left_s: float | None, words: str | None) -> None:
    """One line is told from an hour before on, and when it is too late; without a deadline none."""
    folder = a_folder(tmp_path, left_s=left_s)
    told_s = remind(folder)
    assert (told_s is None) is (words is None)
    assert len(caplog.messages) == (words is not None)
    assert all(text.startswith(f"The deadline of cluster 'cluster' is {words}") for text in caplog.messages)
    assert remind(folder, told_s=told_s) == told_s
    assert len(caplog.messages) == (words is not None)
    (folder.path / "manifest.json").unlink()
    assert remind(folder, told_s=told_s) == told_s


async def test_attached_clients(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened the way to Dask is told once for each deadline, also of one that is moved, until it is closed."""
    monkeypatch.setattr(reminders, "_EVERY_S", 0.01)
    folder = a_folder(tmp_path, left_s=1830.5)
    links = Connections(folder, folder.read(), folder.keyring().ssh.private)
    assert caplog.messages == []
    await links.open_endpoint()

    async def told(count: int) -> None:
        async def probe() -> bool | None:
            return len(caplog.messages) == count or None

        await until(probe, every_s=0.01, within_s=WITHIN_S, what="a line")

    await told(1)
    await links.open_endpoint()
    move(folder, 1000.5)
    await told(2)
    move(folder, 7200)
    await links.close()
    move(folder, 500)
    assert [text.partition("in ")[2][:6] for text in caplog.messages] == ["30 min", "16 min"]
    assert {record.name for record in caplog.records} == {NOTICES}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_protected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Protection makes a deadline void, so nobody is told of it until that is lifted."""
    folder = a_folder(tmp_path, left_s=1830.5)
    folder.save(evolve(folder.read(), is_protected=True))
    assert (remind(folder), caplog.messages) == (None, [])
    folder.save(evolve(folder.read(), is_protected=False))
    assert remind(folder) == folder.read().identity.deadline_s
    assert len(caplog.messages) == 1


def test_commands_that_ask_nobody(shell: Shell) -> None:
    """A command that only needs this computer's record reminds by it, in one line, and not if it is to be quiet."""
    a_folder(shell.settings.home, left_s=1830.5, endpoint=shell.settings.access.endpoint)
    code, _, complaints = shell("ssh", "nobody")
    assert code == 10
    assert complaints.startswith("The deadline of cluster 'cluster' is in 30 min ")
    assert complaints.count("deadline") == 1
    assert "deadline" not in shell("ssh", "-q", "nobody")[2]
