# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A third computer imports a cluster on booted machines, computes, lets itself in and destroys it, in this order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from port_scan import open_among
from sandbox_helpers import Waiter
from surroundings import folders, held
from third_computer import ADDRESS, Third, third_computer

from scherbelberg.sandbox.hosts.machine.network import GATEWAY

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
_PASSPHRASE = "marked-passphrase-7261"
_WORK = """
from scherbelberg.sync import Cluster
with Cluster.from_existing() as cluster, cluster.get_client() as client:
    client.wait_for_workers(2, timeout=60)
    futures = client.map(lambda number: number**2, range(100))
    total = client.submit(sum, futures).result(timeout=60)  # workers fetch from each other
    print(total, sum(client.gather(futures)), len(client.run(int)), len(client.get_versions(check=True)["workers"]))
"""
_PAGE = """
import urllib.request
from scherbelberg.sync import Cluster
with Cluster.from_existing() as cluster, cluster.get_client() as client:
    with urllib.request.urlopen(client.dashboard_link, timeout=60) as page:
        print(page.status)
"""


@pytest.fixture(scope="module")
def third(rented: Rented, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Third]:
    """The computer, which has imported the cluster, and whoever sees its home knows no more than that."""
    folder = tmp_path_factory.mktemp("third")
    file, secret = folder / "handed.over", folder / "passphrase"
    secret.write_text(f"{_PASSPHRASE}\n", encoding="utf-8")
    rented.shell("export", "--passphrase-file", str(secret), str(file))
    with third_computer(rented.settings, folder / "Zuhause & mehr") as computer:
        computer.shell("import", "--passphrase-file", str(secret), str(file))
        assert computer.dialled() == set()
        yield computer


def test_computes(rented: Rented, third: Third) -> None:
    """It computes on all workers over one way alone, SSH to the scheduler: the client never dials a worker."""
    assert third.python("-c", _WORK).split() == ["328350", "328350", "2", "2"]
    assert third.python("-c", _PAGE) == "200\n"
    assert third.dialled() == {(rented.address("scheduler"), 22)}
    assert third.shell("logs", "worker000") != ""
    assert third.dialled() == {(rented.address("worker000"), 22)}  # so that would have been seen


def test_keys(rented: Rented, third: Third) -> None:
    """Its keys are its own, each node has a line for them, and there is none of the authority."""
    own = {path.name: path.read_bytes() for path in rented.settings.home.glob("clusters/*/*") if path.is_file()}
    there = {path.name: path.read_bytes() for path in third.settings.home.glob("clusters/*/*") if path.is_file()}
    assert set(own) - set(there) == {"ca-key.pem"}
    assert {name for name in own if "key" in name or "id_" in name} == {
        *("ca-key.pem", "client-key.pem", "id_ed25519", "id_ed25519.pub")
    }
    assert not any(there[name] == own[name] for name in ("client-key.pem", "client.pem", "id_ed25519"))
    public = there["id_ed25519.pub"].decode().strip()
    for node in ("scheduler", "worker000", "worker001"):
        keys = rented.run(node, "cat ~/.ssh/authorized_keys").splitlines()
        assert len([line for line in keys if line.startswith(public)]) == 1


def test_let_in(rented: Rented, third: Third) -> None:
    """Shut out by the maker's firewall it finds no port; with its own token it lets itself in, and nobody out."""
    scheduler = rented.address("scheduler")
    rented.shell("firewall", "--ssh-from", f"{GATEWAY}/32")
    Waiter().wait(lambda: not third.reaches(scheduler), what="the firewall")
    third.shell("firewall", "--ssh-from", f"{GATEWAY}/32", "--ssh-from", f"{ADDRESS}/32")
    Waiter().wait(lambda: third.reaches(scheduler), what="the new rule")
    assert third.python("-c", _WORK).split() == ["328350", "328350", "2", "2"]
    assert open_among(scheduler, range(22, 23)) == {22}


def test_destroys(rented: Rented, third: Third) -> None:
    """It gives all of it back."""
    assert held(rented.settings) != []
    third.shell("destroy")
    assert held(rented.settings) == []
    assert folders(third.settings) == []
    assert not any(Path(third.settings.home).rglob("*key*"))
