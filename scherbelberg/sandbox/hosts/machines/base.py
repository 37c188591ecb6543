# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The system that all machines begin with, built once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.machines.commands import run
from scherbelberg.waiting import until

_FIRST = "systemd,systemd-sysv,dbus,openssh-server,iproute2,sudo,curl,ca-certificates,procps"
#: With what they depend on, which debootstrap does not work out.
_THEN = ("cloud-init", "nftables", "openssl", "libfaketime")
_BUILD_S = 900.0
_CLOUD = """datasource_list: [NoCloud]
network: {config: disabled}
disable_root: false
locale: false
"""
#: Two recipes never share a folder.
_VERSION = 2


def cache_folder() -> Path:
    """Where built systems are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scherbelberg" / "machines"


async def base_system(cache: Path) -> Path:
    """Find the system, or build it, which takes a minute and downloads about 150 MB.

    Args:
        cache: Where built systems are kept.

    Returns:
        Its folder, which nobody may change.

    Raises:
        SandboxFailed: It could not be built.
    """
    site, release = await _archive()
    recipe = repr((_VERSION, site, release, _FIRST, _THEN, _CLOUD))
    folder = cache / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True, mode=0o700)
    async with _alone(cache / "lock"):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
            await _build(unfinished, site, release)
            unfinished.rename(folder)
    return folder


async def _archive() -> tuple[str, str]:
    """Where this computer's packages come from, and of which release."""
    listed = await run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)")
    rows = [line.split() for line in listed.splitlines()]
    found = next((row for row in rows if len(row) == 2 and "-" not in row[1] and "/" not in row[1]), None)
    if found is None:
        raise SandboxFailed("apt names no archive from which a system for machines could be built; run apt-get update.")
    return found[0], found[1]


@contextlib.asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """One builder after the other; the lock of one that dies is released."""
    with path.open("w", encoding="utf-8") as lock:

        async def take() -> bool | None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return True

        await until(take, every_s=0.1, within_s=_BUILD_S, what="Another builder of the machines' system")
        yield


async def _build(folder: Path, site: str, release: str) -> None:
    words = ("debootstrap", "--variant=minbase", f"--include={_FIRST}", release, str(folder), site)
    await run(*words, within_s=_BUILD_S)
    policy = folder / "usr/sbin/policy-rc.d"  # nothing starts in a folder
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends")
    await run("chroot", str(folder), *apt, *_THEN, within_s=_BUILD_S)
    await run("chroot", str(folder), "apt-get", "clean")
    policy.unlink()
    for key in (folder / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # no two machines may share one
    # Empty, and neither absent nor "uninitialized", which would count as a first boot and enable all there is.
    (folder / "etc/machine-id").write_text("", encoding="utf-8")
    (folder / "etc/cloud/cloud.cfg.d/99-sandbox.cfg").write_text(_CLOUD, encoding="utf-8")
