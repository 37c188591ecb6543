# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Two computers, of which one hands a cluster over to the other, and somebody who types its passphrase."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from surroundings import environment_for

from scherbelberg import sync
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

PASSPHRASE = "marked-passphrase-7261"
WITHIN_S = 60


@frozen
class Two:
    """Two computers in one project.

    Args:
        here: Where clusters are made.
        there: Where they are imported.
        folder: For files that are handed over.
    """

    here: Settings
    there: Settings
    folder: Path

    def export(self, name: str = "handed.over", *, prefix: str = "shared") -> Path:
        """Export a cluster."""
        file = self.folder / name
        with sync.Cluster.from_existing(prefix, settings=self.here) as cluster:
            cluster.export(file, passphrase=PASSPHRASE)
        return file

    def take_in(self, file: Path) -> str:
        """Import it."""
        return sync.import_cluster(file, passphrase=PASSPHRASE, home=self.there.home)

    @property
    def taken(self) -> Path:
        """The folder of what was imported."""
        (folder,) = Store(self.there.home).folders()
        return folder.path


def at_terminal(settings: Settings, *words: str, answers: tuple[tuple[str, str], ...]) -> str:
    """Run the program and type answers to its questions; returns what is to be seen."""
    import pty

    control, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "scherbelberg", *words],
            env=environment_for(settings),
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            seen = b""
            for question, answer in answers:
                while not seen.endswith(f"{question}: ".encode()):  # from then on nothing that is typed is shown
                    byte = process.stderr.read(1)
                    assert byte, seen
                    seen += byte
                os.write(control, f"{answer}\n".encode())
                seen += b"|"
            seen += process.stderr.read()
            assert process.wait(WITHIN_S) == 0, seen
        os.write(terminal, b"end")  # so that there is something to read
        shown = os.read(control, 65_536)
        assert shown.strip() == b"end"
    finally:
        os.close(control)
        os.close(terminal)
    return seen.decode()
