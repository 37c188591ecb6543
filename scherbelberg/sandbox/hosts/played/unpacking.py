# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Takes a pushed archive as tar would, and refuses what a careful client never sends."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

#: Below root's home.
PAYLOAD = "scherbelberg-payload"
#: Files whose content is nobody else's business.
_PRIVATE = ("node.env", "work.env", "work.yaml")
_PRIVATE_MODE = 0o600
_MODES = (_PRIVATE_MODE, 0o644, 0o755)
MOST_BYTES = 16 * 1024 * 1024


def unpack(archive: bytes, home: Path) -> None:
    """Unpack an archive of plain files, all of them or none.

    Args:
        archive: It.
        home: Root's home; the files go into the payload's folder there.

    Raises:
        ValueError: It is no archive, or one with anything else in it, or with a file's mode wrong.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            files = [(_checked(entry), _content(tar, entry)) for entry in tar]
    except tarfile.TarError as error:
        raise ValueError(f"this does not look like a tar archive: {error}") from None
    (home / PAYLOAD).mkdir(mode=0o700, exist_ok=True)
    (home / PAYLOAD).chmod(0o700)
    for entry, content in files:
        _write(home / entry.name, content, entry.mode)


def _checked(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    parts = PurePosixPath(entry.name).parts
    if not entry.isreg():
        raise ValueError(f"{entry.name}: not a plain file")
    if ".." in parts or len(parts) < 2 or parts[0] != PAYLOAD:
        raise ValueError(f"{entry.name}: not below {PAYLOAD}")
    allowed = (_PRIVATE_MODE,) if parts[-1] in _PRIVATE else _MODES
    if entry.mode not in allowed:
        raise ValueError(f"{entry.name}: the mode {entry.mode:o} is wrong for it")
    return entry


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return b"" if file is None else file.read()


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
