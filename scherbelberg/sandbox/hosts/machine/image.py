# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The image that machines boot: a release of Debian made more like Ubuntu's images, built once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from attrs import field, frozen

from scherbelberg.concurrency.waiting import until
from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox.hosts.machine.programs import run

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


@frozen(kw_only=True)
class _Changes:
    """What makes a release of Debian more like the images of Ubuntu.

    Args:
        packages: Further ones.
        commands: Lines for a shell inside.
        files: Texts by path.
    """

    packages: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    files: Mapping[str, str] = field(factory=dict)


#: As on Ubuntu since 22.10: systemd listens, and the first connection starts sshd.
_SOCKET = "systemctl disable ssh.service && systemctl enable ssh.socket"
#: OpenSSH since 9.8 has penalties; these are stricter than its own, so that a client meets them.
_PENALTIES = {"etc/ssh/sshd_config.d/90-sandbox.conf": "PerSourcePenalties authfail:10s noauth:5s min:5s\n"}
#: As on Ubuntu 26.04: all of coreutils are those in Rust, but for three.
_UUTILS = """dpkg --listfiles coreutils | grep ^/usr/bin/ | while read -r path; do
  case ${path##*/} in cp | mv | rm) continue ;; esac
  new=../lib/cargo/bin/coreutils/${path##*/}
  [ ! -e "/usr/bin/$new" ] || ln -sf "$new" "$path"
done"""
_SUDO = "for name in su sudo; do ln -sf ../lib/cargo/bin/$name /usr/bin/$name; done"
_CHANGES = {
    "trixie": _Changes(commands=(_SOCKET,), files=_PENALTIES),
    "sid": _Changes(
        packages=("rust-coreutils", "sudo-rs", "needrestart"),
        commands=(_SOCKET, _UUTILS, _SUDO),
        files=_PENALTIES,
    ),
}


def cache_folder() -> Path:
    """Where built systems are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scherbelberg" / "machines"


async def ensure_image(cache: Path, *, release: str | None = None) -> Path:
    """Find the system, or build it, which takes a minute or two and downloads about 150 MB.

    Args:
        cache: Where built systems are kept.
        release: Of Debian; None for that of this computer.

    Returns:
        Its folder, which nobody may change.

    Raises:
        SandboxFailed: It could not be built.
    """
    site, own = await _archive()
    release = release or own
    changes = _CHANGES.get(release, _Changes())
    recipe = repr((_VERSION, site, release, _FIRST, _THEN, _CLOUD, changes))
    folder = cache / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if folder.exists():
        return folder
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True, mode=0o700)
    async with _alone(cache / "lock"):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
            await _build(unfinished, site, release, changes)
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


async def _build(folder: Path, site: str, release: str, changes: _Changes) -> None:
    words = ("debootstrap", "--variant=minbase", f"--include={_FIRST}", release, str(folder), site)
    await run(*words, within_s=_BUILD_S)
    policy = folder / "usr/sbin/policy-rc.d"  # nothing starts in a folder
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends")
    await run("chroot", str(folder), *apt, *_THEN, *changes.packages, within_s=_BUILD_S)
    await run("chroot", str(folder), "apt-get", "clean")
    policy.unlink()
    for command in changes.commands:
        await run("chroot", str(folder), "sh", "-euc", command)
    for key in (folder / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # no two machines may share one
    # Empty, and neither absent nor "uninitialized", which would count as a first boot and enable all there is.
    files = {"etc/machine-id": "", "etc/cloud/cloud.cfg.d/99-sandbox.cfg": _CLOUD, **changes.files}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
