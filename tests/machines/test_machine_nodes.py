# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster on booted machines: what the script does with systemd, sshd, nftables and a late private network."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from port_scan import open_ports
from sandbox_helpers import Waiter

from scherbelberg.sync import Cluster

if TYPE_CHECKING:
    from machine_fixtures import Rented

pytest_plugins = ("machine_fixtures",)
WITHIN_S = 60


def computes(cluster: Cluster, workers: int = 2) -> None:
    """A new client sees all workers, and each of them works."""
    with cluster.get_client() as client:
        client.wait_for_workers(workers, timeout=WITHIN_S)
        assert sum(client.gather(client.map(lambda number: number**2, range(100)))) == 328_350
        assert len(client.run(lambda: 1)) == workers


def test_environment(rented: Rented) -> None:
    """The unmodified script installs on bare machines what the client has, and they compute."""
    with rented.cluster.get_client() as client:
        prefix, minor = client.submit(lambda: (sys.prefix, sys.version_info[:2])).result(timeout=WITHIN_S)
        assert client.submit(version, "dask").result(timeout=WITHIN_S) == version("dask")
    assert ("/opt/scherbelberg/envs/" in prefix, minor) == (True, sys.version_info[:2])
    computes(rented.cluster)


@pytest.mark.parametrize("node", ["scheduler", "worker000"])
def test_units(rented: Rented, node: str) -> None:
    """Dask is a unit that is enabled, comes back always, and runs as a user without rights."""
    unit = f"scherbelberg-dask@{node[:9] if node == 'scheduler' else 'worker'}.service"
    said = rented.run(node, f"systemctl show {unit} -p ActiveState,UnitFileState,Restart,User,StartLimitIntervalUSec")
    assert set(said.splitlines()) == {
        "ActiveState=active",
        "UnitFileState=enabled",
        "Restart=always",
        "User=scherbelberg",
        "StartLimitIntervalUSec=0",
    }
    pid = rented.run(node, f"systemctl show {unit} -p MainPID --value")
    assert rented.run(node, f"ps -o user= -p {pid}").startswith("scherbel")
    status = rented.run(node, f"cat /proc/{pid}/status")
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "not allowed to run sudo" in rented.run(node, "sudo -l -U scherbelberg")
    assert rented.run(node, "systemctl is-system-running") == "running"


def test_memory(rented: Rented) -> None:
    """Dask's unit may take less memory than the machine has, and its workers less than the unit."""
    most = int(rented.run("worker000", "systemctl show scherbelberg-dask@worker.service -p MemoryMax --value"))
    assert most < 1024 * int(rented.run("worker000", "awk '/MemTotal/ {print $2}' /proc/meminfo"))
    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=WITHIN_S)
        rows = client.scheduler_info()["workers"].values()
    assert [row["memory_limit"] < most for row in rows] == [True, True]
    assert all(row["local_directory"].startswith("/var/lib/scherbelberg/") for row in rows)


def test_keys_stay_where_they_were_born(rented: Rented) -> None:
    """A node's key is on no other machine and not on the client's computer, and the authority's is on no node."""
    (authority,) = rented.settings.home.rglob("ca-key.pem")
    ours = authority.read_text(encoding="utf-8").splitlines()[1]
    at_home = "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in rented.settings.home.rglob("*") if path.is_file()
    )
    assert ours in at_home
    born = {
        node: rented.run(node, "sed -n 3p /opt/scherbelberg/etc/tls/node.pem") for node in ("scheduler", "worker000")
    }
    for node, key in born.items():
        assert key not in at_home
        (other,) = born.keys() - {node}
        for line, count in ((ours, "0"), (born[other], "0"), (key, "1")):
            words = "grep -rlF --exclude-dir=envs -- LINE /opt/scherbelberg /etc /root /var/lib /tmp | wc -l"
            assert rented.run(node, words.replace("LINE", f"'{line}'")) == count


def test_metadata(rented: Rented) -> None:
    """The metadata address answers root, and refuses Dask's user."""
    url = "http://169.254.169.254/hetzner/v1/metadata/hostname"
    assert rented.run("worker000", f"curl --silent --max-time 5 {url}").endswith("worker000")
    ask = f"setpriv --reuid scherbelberg --clear-groups curl --silent --max-time 5 {url} || echo refused $?"
    assert rented.run("worker000", ask) == "refused 7"


def test_ssh(rented: Rented) -> None:
    """Root comes in by key alone, with the key that was born on the node; what was planted is gone."""
    said = rented.run("worker001", "/usr/sbin/sshd -T").lower().splitlines()
    assert {
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "hostkey /etc/ssh/scherbelberg_host_ed25519_key",
    } <= set(said)
    # Two words for the same, the first of older versions.
    assert {"permitrootlogin without-password", "permitrootlogin prohibit-password"} & set(said)
    assert rented.run("worker001", "ls /etc/ssh | grep ssh_host_ || echo none") == "none"


def test_cloud_init(rented: Rented) -> None:
    """cloud-init has read the user data without a complaint, and has nothing else to do."""
    said = rented.run("worker000", "cloud-init status --wait --long")
    assert "status: done" in said
    assert not [word for word in ("degraded", "WARNING", "DEPRECATED") if word in said]
    verdict = rented.run("worker000", "cloud-init schema --system 2>&1").lower()
    assert "valid" in verdict
    assert not [word for word in ("invalid", "deprecat", "skipped", "not of type") if word in verdict]
    # 22.4 does not know "locale: false", which the machines' image says; user data was judged above.
    noted = rented.run("worker000", "grep -e WARNING -e ERROR /var/log/cloud-init.log || true").splitlines()
    assert [line for line in noted if "Invalid cloud-config provided" not in line] == []


def test_tls_files(rented: Rented) -> None:
    """The node's key is for root and Dask's group alone, and of the authority only the certificate is there."""
    said = rented.run("scheduler", "cd /opt/scherbelberg/etc/tls && stat -c '%a %U %G %n' . *").splitlines()
    assert said == [
        "750 root scherbelberg .",
        "644 root root ca.pem",
        "640 root scherbelberg node.pem",
    ]


@pytest.mark.parametrize("node", ["scheduler", "worker000"])
def test_ports(rented: Rented, node: str) -> None:
    """Of all 65,535 ports, only SSH's answers from outside, while Dask listens at the private address."""
    assert open_ports(rented.address(node)) == {22}
    listening = rented.run(node, "ss -Hltn")
    assert (":8786" if node == "scheduler" else ":9100") in listening


@pytest.mark.parametrize(
    ("node", "process"),
    [("worker000", "multiprocessing"), ("worker000", "dask worker"), ("scheduler", "dask scheduler")],
    ids=["worker", "nanny", "scheduler"],
)
def test_killed(rented: Rented, node: str, process: str) -> None:
    """A worker, a nanny or a scheduler that is killed is there again, and the cluster computes."""
    before = rented.run(node, f"pgrep -u scherbelberg -f '{process}' | sort | head -n 1")
    rented.run(node, f"pkill -KILL -u scherbelberg -f '{process}'; true")
    computes(rented.cluster)
    assert rented.run(node, f"pgrep -u scherbelberg -f '{process}' | sort | head -n 1") != before


def test_worker_lost_during_work(rented: Rented) -> None:
    """A worker whose machine is switched off while it works takes nothing with it: the result is right."""

    def slow(number: int) -> int:
        time.sleep(0.2)
        return number**2

    with rented.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=WITHIN_S)
        futures = client.map(slow, range(100))
        Waiter().wait(lambda: any(future.done() for future in futures), what="the first result")
        rented.order("worker001", "poweroff")
        assert sum(client.gather(futures)) == 328_350
        rented.order("worker001", "poweron")
    computes(rented.cluster)


@pytest.mark.parametrize("node", ["worker001", "scheduler"])
def test_reboot(rented: Rented, node: str) -> None:
    """A machine that was rebooted comes back as a node, and a new client computes on all workers."""
    before = rented.run(
        node, "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic --value"
    )
    rented.cluster.node(node).reboot()
    computes(rented.cluster)
    assert rented.run(node, "systemctl is-system-running --wait") == "running"
    after = rented.run(
        node, "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic --value"
    )
    assert after != before
