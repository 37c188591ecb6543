# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A program: stands in for mamba, for ``mamba create`` from an explicit list of packages with hashes.

It knows no option that mamba 2 does not know, checks what mamba checks, and links packages with py-rattler.

Usage: mamba_standin.py ROOT create [OPTION ...] --prefix PREFIX --file LIST
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NoReturn

from rattler import RepoDataRecord, install

_ROW = re.compile(r"(?P<url>[^#]+)#sha256:(?P<sha256>[0-9a-f]{64})")


def end(code: int) -> NoReturn:
    """End at once: py-rattler's threads now and then crash an interpreter that takes itself apart beside them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def fail(sentence: str) -> NoReturn:
    """Say it and end."""
    print(f"critical mamba-standin {sentence}", file=sys.stderr)
    end(1)


class Words(argparse.ArgumentParser):
    """Ends like mamba when it does not understand."""

    def error(self, message: str) -> NoReturn:
        """Say it and end."""
        fail(message)


def understand(words: list[str]) -> argparse.Namespace:
    """Understand the command line."""
    parser = Words(prog="mamba", add_help=False, allow_abbrev=False)
    parser.add_argument("command", choices=["create"])
    for options in (["--yes", "-y"], ["--offline"], ["--no-rc"], ["--no-env"], ["--quiet", "-q"]):
        parser.add_argument(*options, action="store_true")
    parser.add_argument("--prefix", "-p", type=Path, required=True)
    parser.add_argument("--file", "-f", type=Path, required=True)
    parser.add_argument("--root-prefix", "-r", type=Path)
    return parser.parse_args(words)


def rows(file: Path) -> list[str]:
    """Read an explicit list's packages."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    told = [line for line in lines if line and not line.startswith("#")]
    if told[:1] != ["@EXPLICIT"]:
        fail(f"{file} is not an explicit list: its first line is not @EXPLICIT")
    return told[1:]


def fetch(row: str, folder: Path, *, offline: bool) -> Path:
    """Give a package's file, verified."""
    match = _ROW.fullmatch(row)
    if match is None:
        fail(f"no hash, or none that can be read: {row}")
    url = urllib.parse.urlsplit(match["url"])
    if url.scheme == "file":
        path = Path(urllib.request.url2pathname(url.path))
    elif offline:
        fail(f"offline, and cannot be downloaded: {match['url']}")
    else:
        path = folder / Path(url.path).name
        urllib.request.urlretrieve(match["url"], path)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        fail(f"cannot be read: {match['url']} ({error})")
    if found != match["sha256"]:
        fail(f"hash mismatch of {path.name}: expected sha256 {match['sha256']}, found {found}")
    return path


async def create(words: argparse.Namespace, folder: Path) -> None:
    """Create the environment."""
    files = [fetch(row, folder, offline=words.offline) for row in rows(words.file)]
    records = [await RepoDataRecord.from_package_archive(file) for file in files]
    cache = folder / "rattler"
    await install(records, words.prefix, cache_dir=cache, execute_link_scripts=False, show_progress=False)


def main() -> None:
    """Do what the command line asks for."""
    words = understand(sys.argv[2:])
    if not words.yes:
        fail("nobody is there to confirm: --yes is missing")
    if words.prefix.exists() and not (words.prefix / "conda-meta").is_dir() and any(words.prefix.iterdir()):
        fail(f"Non-conda folder exists at prefix {words.prefix}")
    root = words.root_prefix or Path(sys.argv[1])
    folder = Path(os.environ.get("CONDA_PKGS_DIRS") or root / "pkgs")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(create(words, folder))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and this ends
        fail(f"cannot create {words.prefix}: {error}")
    end(0)


if __name__ == "__main__":
    main()
