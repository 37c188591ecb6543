# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The history on this computer of what clusters have cost: a file to which a line is added for each that is gone."""

from __future__ import annotations

import json
import os
from pathlib import Path

from attrs import frozen

from scherbelberg.errors import StateDamaged
from scherbelberg.inventory.ledger import Entry, entry_document, read_entry
from scherbelberg.state.store import private_folder


@frozen(kw_only=True)
class Damage:
    """A line of the history that makes no sense.

    Args:
        line: Its number, from 1.
        reason: What is wrong with it.
    """

    line: int
    reason: str


class History:
    """The history.

    Args:
        home: Folder for what is kept on this computer.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "history.jsonl"

    def append(self, entry: Entry) -> None:
        """Add an entry; those that other processes add at the same time stay whole.

        Args:
            entry: It.

        Raises:
            StateDamaged: The file cannot be written.
        """
        line = json.dumps(entry_document(entry)).encode() + b"\n"
        try:
            private_folder(self.path.parent)
            self._write(line)
        except OSError as error:
            raise StateDamaged(
                f"Cluster '{entry.prefix}' is gone, but what it cost cannot be added to {self.path}: {error}."
            ) from None

    def _write(self, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            # What was cut off by a crash or a full disk does not spoil the next line.
            if os.fstat(descriptor).st_size and os.lseek(descriptor, -1, os.SEEK_END) >= 0:
                line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
            # In one piece, so that no other process's line gets in between.
            if os.write(descriptor, line) < len(line):
                raise OSError("there is no room for all of it")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> tuple[tuple[Entry, ...], tuple[Damage, ...]]:
        """Read all entries that make sense, and what is wrong with the other lines.

        Raises:
            StateDamaged: The file cannot be read at all.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return (), ()
        except OSError as error:
            raise StateDamaged(f"The history {self.path} cannot be read: {error}.") from None
        entries: list[Entry] = []
        damages: list[Damage] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entries.append(read_entry(json.loads(line)))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a line, it is the line that is wrong
                damages.append(Damage(line=number, reason=f"{type(error).__name__}: {error}"))
        return tuple(entries), tuple(damages)
