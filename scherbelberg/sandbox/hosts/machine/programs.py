# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs of the operating system, of which machines need a few, and root."""

from __future__ import annotations

import asyncio
import os
import shutil
from subprocess import DEVNULL, PIPE

from scherbelberg.errors import SandboxFailed

#: What must be here, and Debian's package that brings it.
PROGRAMS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
}
#: For anything but building the base system.
_WITHIN_S = 60.0


def check_programs() -> None:
    """Refuse to go on where no machine can run.

    Raises:
        SandboxFailed: The user is not root, or a program is missing.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise SandboxFailed("Hosts of kind 'machine' need root on Linux; take another kind, or become root.")
    missing = sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None)
    if missing:
        raise SandboxFailed(
            f"Hosts of kind 'machine' need what is not installed here: apt-get install {' '.join(missing)}."
        )


async def run(*words: str, stdin: str = "", within_s: float = _WITHIN_S) -> str:
    """Run a program to its end.

    Args:
        words: Program and arguments.
        stdin: What it reads.
        within_s: How long it may take, in seconds.

    Returns:
        What it printed.

    Raises:
        SandboxFailed: It failed, or took too long.
    """
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(within_s):
            said, complained = await process.communicate(stdin.encode())
    except TimeoutError:
        raise SandboxFailed(f"'{' '.join(words)}' did not end within {within_s:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        tail = (complained or said).decode(errors="replace").strip()[-400:]
        raise SandboxFailed(f"'{' '.join(words)}' failed with exit code {process.returncode}: {tail}")
    return said.decode(errors="replace")


async def spawn(*words: str, log: int) -> asyncio.subprocess.Process:
    """Start a program that goes on.

    Args:
        words: Program and arguments.
        log: Descriptor of the file that gets what it prints.
    """
    return await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True)
