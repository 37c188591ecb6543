# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A host's files: a folder that stands for a machine's root file system, as far as we need one."""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncssh
from attrs import field, frozen

from scherbelberg.environments import versions as environment
from scherbelberg.environments.interpreter import folder_digest, own_versions, read_client
from scherbelberg.environments.versions import Versions
from scherbelberg.sandbox.hosts import fake_programs
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.hosts.system import copy_disk, write_private

_FOLDERS = ("root/.ssh", "etc/ssh/sshd_config.d", "opt/scherbelberg", "run", "tmp", "var/log")
#: Emptied at every boot.
_VOLATILE = ("run", "tmp")


@frozen(kw_only=True)
class Baked:
    """The environment that the system image counts as baked with.

    Args:
        digest: What names it.
        prefix: Where it is on this computer.
        is_own: Whether it is that of the Python that runs here.
        labels: With which its image tells clients of it.
    """

    digest: str
    prefix: Path
    is_own: bool
    labels: Mapping[str, str] = field(hash=False)


@functools.cache  # reading the installed packages takes longer than all the rest of making a host
def own_environment() -> Baked:
    """The environment of the Python that runs here."""
    return _baked(own_versions(), Path(sys.executable), Path(sys.prefix), is_own=True)


def environment_of(python: str) -> Baked:
    """The environment of another Python, which is in the folder ``bin`` of it.

    Args:
        python: Its program.

    Raises:
        BadInput: It cannot be asked, or has no Dask.
    """
    path = Path(python).absolute().with_name("python3")  # as nodes call it
    versions = read_client(path, "the sandbox's option for nodes").versions
    return _baked(versions, path, path.parents[1], is_own=False)


def _baked(versions: Versions, python: Path, prefix: Path, *, is_own: bool) -> Baked:
    labels = environment.baked_labels(environment.Baked(versions=versions, folder=folder_digest(python)))
    return Baked(digest=environment.baked_digest(versions), prefix=prefix, is_own=is_own, labels=labels)


def make_root(root: Path, plan: HostPlan, *, baked: Baked, disk: Path | None = None, programs: bool = True) -> None:
    """Make a host from its image and do what cloud-init does on the first boot.

    Args:
        root: Where; must not exist.
        plan: The host.
        baked: What the system image holds.
        disk: The snapshot that it is made from, or None for the system image.
        programs: Whether the system image has any, which a host that runs none has no use for.
    """
    if disk is None:
        _make_system(root, baked, programs=programs)
    else:
        copy_disk(disk, root)
        for old in (root / "etc/ssh").glob("ssh_host_*"):
            old.unlink()
    keys = (*plan.authorized_keys, *plan.config.authorized_keys) if plan.config.root_login else ()
    lines = "".join(key.strip() + "\n" for key in keys)
    write_private(root / "root/.ssh/authorized_keys", lines.encode())
    _plant_host_keys(root / "etc/ssh", plan)
    for path, text in plan.config.files:
        (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        write_private(root / path.relative_to("/"), text.encode(), mode=0o644)
    log = root / "var/log/cloud-init.log"
    log.write_text("".join(f"WARNING: {line}\n" for line in plan.config.undone), encoding="utf-8")


def _make_system(root: Path, baked: Baked, *, programs: bool) -> None:
    root.mkdir(parents=True, mode=0o700)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, mode=0o700 if name.startswith("root") else 0o755)
    # The image counts as a snapshot that was baked with this environment.
    environment = Path("envs") / baked.digest
    (root / "opt/scherbelberg/env").symlink_to(environment)
    if programs:
        (root / "opt/scherbelberg/envs").mkdir()
        (root / "opt/scherbelberg" / environment).symlink_to(baked.prefix)
        (root / "usr/bin").mkdir(parents=True)
        _write_program(root / "usr/bin/systemctl", "systemctl")


def _plant_host_keys(folder: Path, plan: HostPlan) -> None:
    for key in plan.config.host_keys:
        _write_host_key(folder, key.kind, key.private.encode(), key.public.encode())
    if not plan.config.host_keys:
        born = asyncssh.generate_private_key("ssh-ed25519", comment="root@sandbox")
        _write_host_key(folder, "ed25519", born.export_private_key(), born.export_public_key())


def _write_host_key(folder: Path, kind: str, private: bytes, public: bytes) -> None:
    path = folder / f"ssh_host_{kind}_key"
    write_private(path, private.rstrip() + b"\n")
    write_private(path.with_name(path.name + ".pub"), public.rstrip() + b"\n", mode=0o644)


def prepare_boot(root: Path) -> None:
    """Do what a machine does before its sshd starts: empty what is volatile, read sshd's keys.

    Args:
        root: The host's root.

    Raises:
        ValueError: There is no host key.
    """
    for name in _VOLATILE:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    fake_programs.load_host_keys(root)


def write_fake_programs(folder: Path) -> None:
    """Write the programs that stand in where this computer lacks the real ones.

    Args:
        folder: Where.
    """
    folder.mkdir(parents=True)
    for name in ("ssh-keygen", "openssl"):
        _write_program(folder / name, name)


def _write_program(path: Path, name: str) -> None:
    words = [sys.executable, "-P", fake_programs.__file__, name]
    write_private(path, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'.encode(), mode=0o755)
