# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Locks that were found before, in the user's cache folder, so that the same question is not asked twice."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from scherbelberg.environments.lock import EnvLock, read_lock, write_lock, write_records
from scherbelberg.errors import BadInput


class LockCache:
    """The folder of these locks. Whoever deletes it loses nothing but time.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, question: object) -> EnvLock | None:
        """Read the answer to a question, or None if there is none that makes sense.

        Args:
            question: JSON values.
        """
        path = self._path(question)
        try:
            text, records = (path.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".lock", ".json"))
            return read_lock(text, source=str(path), records=records)
        except (OSError, ValueError, BadInput):
            return None

    def write(self, question: object, lock: EnvLock) -> None:
        """Keep an answer; a folder that cannot be written is no reason to fail.

        Args:
            question: JSON values.
            lock: The answer.
        """
        path = self._path(question)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            # The lock last: without it there is no answer.
            for suffix, text in ((".json", write_records(lock)), (".lock", write_lock(lock))):
                aside = path.with_name(f"{path.name}.{os.getpid()}")
                aside.write_text(text, encoding="utf-8", newline="\n")
                aside.replace(path.with_suffix(suffix))

    def _path(self, question: object) -> Path:
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest}.lock"
