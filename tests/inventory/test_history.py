# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The history of costs: nothing is lost, also beside other processes and after a crash, and nobody else reads it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from catalogues import NOW_S
from priced import PRICES, SCHEDULER

from scherbelberg.errors import StateDamaged
from scherbelberg.inventory.clusters import group_clusters
from scherbelberg.inventory.history import Damage, History
from scherbelberg.inventory.ledger import Entry, entry

WRITERS, EACH = 3, 15
#: What each process does that writes beside others.
_WRITE = """
import sys
from pathlib import Path
from attrs import evolve
from test_history import ENTRY, EACH
from scherbelberg.inventory.history import History
history = History(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(EACH):
    history.append(evolve(ENTRY, uid=f"{sys.argv[2]}-{number}", owner="x" * number * 50))
"""


def _entry() -> Entry:
    (gone,) = group_clusters([SCHEDULER])
    return entry(gone, PRICES, endpoint="https://api", ended_s=NOW_S + 1)


ENTRY = _entry()


def test_nothing_yet(home: Path) -> None:
    """Before anything was given back there is no history, and reading makes none."""
    assert History(home).read() == ((), ())
    assert not home.exists()


def test_round_trip(home: Path) -> None:
    """Entries are read in the order in which they were added, each a line that people can read."""
    history, later = History(home), evolve(ENTRY, uid="later")
    history.append(ENTRY)
    history.append(later)
    assert history.read() == ((ENTRY, later), ())
    assert len(history.path.read_text(encoding="ascii").splitlines()) == 2


@pytest.mark.skipif("sys.platform == 'win32'", reason="modes are Unix's")
def test_mode(home: Path) -> None:
    """Nobody else can read what somebody spends, whatever the umask."""
    before = os.umask(0)
    try:
        History(home).append(ENTRY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(History(home).path.stat().st_mode) == 0o600


def test_several_processes(home: Path) -> None:
    """Lines of processes that write at the same time stay whole, and none is lost."""
    words = [sys.executable, "-c", _WRITE, str(home)]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([*words, str(number)], stdin=subprocess.PIPE, env=environ) for number in range(WRITERS)]
    try:
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"\n")
            writer.stdin.close()
        assert [writer.wait(60) for writer in writers] == [0] * WRITERS
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(60)
    entries, damages = History(home).read()
    assert damages == ()
    assert len({one.uid for one in entries}) == len(entries) == WRITERS * EACH


def test_damaged_lines(home: Path) -> None:
    """Lines that make no sense are named and skipped, and one that was cut off spoils none that follows."""
    history = History(home)
    history.append(ENTRY)
    with history.path.open("ab") as file:
        file.write(b'\xff\xfe\n\n{"schema": 1}\n[]\n{"schema": 1, "endp')
    history.append(evolve(ENTRY, uid="later"))
    entries, damages = history.read()
    assert [one.uid for one in entries] == [ENTRY.uid, "later"]
    assert [damage.line for damage in damages] == [2, 4, 5, 6]
    assert damages[1] == Damage(line=4, reason="KeyError: 'endpoint'")


def test_unreadable(home: Path) -> None:
    """A history that cannot be read or written is named."""
    history = History(home)
    history.path.mkdir(parents=True)
    with pytest.raises(StateDamaged, match=r"The history .*history\.jsonl cannot be read"):
        history.read()
    with pytest.raises(StateDamaged, match=r"Cluster 'cluster' is gone, but what it cost cannot be added to .*jsonl"):
        history.append(ENTRY)
