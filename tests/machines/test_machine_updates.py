# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an image does by itself after an update: it restarts what still uses the old files, and not Dask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from scherbelberg.sandbox.server import SandboxThread

if TYPE_CHECKING:
    from conda_channel import Channel
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
#: As an update of libc6 does: programs that run have a file that is gone.
_UPDATE = """set -e
libc=$(readlink -f "$(ldconfig -p | awk '/libc.so.6/ {print $NF; exit}')")
cp "$libc" "$libc.new"
mv "$libc.new" "$libc"
"""
_RESTART = "DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a needrestart -r a -l 2>&1"
_PIDS = "systemctl show --property MainPID --value scherbelberg-dask@worker.service ssh.service cron.service"


@pytest.fixture(scope="module")
def updated(
    machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rented]:
    """A cluster of a scheduler and a worker."""
    from machine_fixtures import renting

    with renting(machines, conda_channel, tmp_path_factory.mktemp("rented") / "updated", workers=1) as cluster:
        yield cluster


def test_needrestart(updated: Rented) -> None:
    """After an update of the C library, needrestart restarts others' services and leaves Dask's alone."""
    if updated.run("worker000", "command -v needrestart || true") == "":
        pytest.skip("this base has no needrestart")
    dask, ssh, _ = (updated.run("worker000", _PIDS) + "\n\n").split("\n\n")[:3]
    updated.run("worker000", _UPDATE)
    said = updated.run("worker000", _RESTART)
    after, ssh_after, _ = (updated.run("worker000", _PIDS) + "\n\n").split("\n\n")[:3]
    assert "scherbelberg-dask@worker.service" in said
    assert (after == dask, ssh_after == ssh) == (True, False)
    updated.run("worker000", "rm /etc/needrestart/conf.d/scherbelberg.conf")
    updated.run("worker000", _RESTART)
    assert updated.run("worker000", _PIDS).split("\n\n")[0] != dask


def test_sshd_restarted_again_and_again(updated: Rented) -> None:
    """However often sshd is restarted, package by package, it is there afterwards."""
    updated.run("worker000", "for _ in 1 2 3 4 5 6 7 8 9; do systemctl restart ssh.service; done")
    assert updated.shell("logs", "worker000") != ""


def test_temporary_files(updated: Rented) -> None:
    """What functions write to temporary files is on the disk, in a folder of Dask's own."""
    with updated.cluster.get_client() as client:
        path = client.submit(lambda: __import__("tempfile").mkstemp(prefix="mine")[1]).result(timeout=60)
    assert path.startswith("/var/tmp/mine")
    assert updated.run("worker000", f"test ! -e {path} && echo elsewhere") == "elsewhere"
