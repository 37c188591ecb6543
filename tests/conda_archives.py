# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes conda packages: the same files give the same bytes, in both formats that channels hold."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import zstandard
from attrs import frozen

#: What files hold where the environment's folder has to be entered; long, as the real ones are.
PLACEHOLDER = "/opt/placehold" + "_placehold" * 20
#: Second at which everything was made.
MADE_S = 1_780_000_000


@frozen(kw_only=True)
class Member:
    """A file or symlink of a package.

    Args:
        path: Below the environment's folder.
        data: What the file holds.
        target: Where it leads, if it is a symlink.
        executable: Whether it may be run.
    """

    path: str
    data: bytes = b""
    target: str | None = None
    executable: bool = False

    @property
    def is_prefixed(self) -> bool:
        """Whether the environment's folder has to be entered."""
        return PLACEHOLDER.encode() in self.data


def write_package(folder: Path, index: Mapping[str, Any], members: Iterable[Member], *, suffix: str = ".conda") -> Path:
    """Write a package.

    Args:
        folder: The channel's folder for the platform.
        index: Name, version, build and so on; ``entry_points`` leads to programs of ``noarch: python``.
        members: What it holds.
        suffix: ``.conda`` or ``.tar.bz2``.

    Returns:
        The file.
    """
    path = folder / f"{index['name']}-{index['version']}-{index['build']}{suffix}"
    payload = sorted(members, key=lambda member: member.path)
    info = _describe(index, payload)
    folder.mkdir(parents=True, exist_ok=True)
    if suffix == ".conda":
        _write_zip(path, info, payload)
    else:
        with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
            _add(archive, [*info, *payload])
    return path


def _write_zip(path: Path, info: list[Member], payload: list[Member]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("metadata.json"), json.dumps({"conda_pkg_format_version": 2}))
        for part, members in (("pkg", payload), ("info", info)):
            with archive.open(_entry(f"{part}-{path.stem}.tar.zst"), "w", force_zip64=True) as file:
                _write_tar(file, members)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))


def _write_tar(file: IO[bytes], members: list[Member]) -> None:
    compressor = zstandard.ZstdCompressor(level=1)
    with (
        compressor.stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=cast(IO[bytes], stream), mode="w|") as archive,
    ):
        _add(archive, members)


def _add(archive: tarfile.TarFile, members: list[Member]) -> None:
    for member in members:
        row = tarfile.TarInfo(member.path)
        row.mtime = MADE_S
        row.mode = 0o775 if member.executable else 0o664
        if member.target is None:
            row.size = len(member.data)
        else:
            row.type, row.linkname = tarfile.SYMTYPE, member.target
        archive.addfile(row, io.BytesIO(member.data))


def _describe(index: Mapping[str, Any], payload: list[Member]) -> list[Member]:
    facts = {"timestamp": MADE_S * 1000, "build_number": 0, "license": "none", **index}
    entry_points = facts.pop("entry_points", [])
    papers: dict[str, Any] = {
        "index": facts,
        "paths": {"paths": [_row(member) for member in payload], "paths_version": 1},
        "about": {"summary": "made for tests"},
    }
    if facts.get("noarch") == "python":
        papers["link"] = {"noarch": {"type": "python", "entry_points": entry_points}, "package_metadata_version": 1}
    files = "".join(f"{member.path}\n" for member in payload)
    return [
        Member(path="info/files", data=files.encode()),
        *(Member(path=f"info/{name}.json", data=json.dumps(paper).encode()) for name, paper in papers.items()),
    ]


def _row(member: Member) -> dict[str, Any]:
    row = {
        "_path": member.path,
        "path_type": "hardlink" if member.target is None else "softlink",
        "sha256": hashlib.sha256(member.data).hexdigest(),
        "size_in_bytes": len(member.data),
    }
    return row | ({"prefix_placeholder": PLACEHOLDER, "file_mode": "text"} if member.is_prefixed else {})
