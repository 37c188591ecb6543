# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""On booted machines: logins and transfers are seen by a timer of systemd's, and a warden gives the cluster back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sandbox_helpers import Waiter
from surroundings import held

from scherbelberg.nodes.payload import command
from scherbelberg.sandbox.hosts.machine.network import GATEWAY

if TYPE_CHECKING:
    import pytest
    from conda_channel import Channel
    from machine_fixtures import Rented

    from scherbelberg.sandbox.server import SandboxThread

pytest_plugins = ("machine_fixtures",)
WITHIN_S = 150


@contextmanager
def relayed(endpoint: str) -> Iterator[str]:
    """Lead an address that machines reach to the cloud's API, which listens on loopback alone."""
    parts = urlsplit(endpoint)
    with socket.create_server((str(GATEWAY), 0)) as server:
        threading.Thread(target=_serve, args=(server, (parts.hostname, parts.port)), daemon=True).start()
        try:
            yield endpoint.replace(parts.netloc, f"{GATEWAY}:{server.getsockname()[1]}")
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, target: tuple[str, int]) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_lead, args=(near, target), daemon=True).start()


def _lead(near: socket.socket, target: tuple[str, int]) -> None:
    with near, socket.create_connection(target) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def quiet(rented: Rented) -> str:
    """For how long nothing was done, as the scheduler says."""
    return rented.run("scheduler", command("idle"))


def noted_s(rented: Rented) -> float:
    """When there was something to do at last, as Dask notes it."""
    return float(rented.run("scheduler", "cut -d ' ' -f 2 /var/lib/scherbelberg/activity"))


def test_watch_and_warden(
    machines: SandboxThread, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whoever is logged in anywhere keeps the cluster from being idle; after the deadline the timer ends it all."""
    from machine_fixtures import renting

    folder = tmp_path_factory.mktemp("watched") / "plain"
    with (
        relayed(machines.settings.endpoint) as endpoint,
        renting(machines, conda_channel, folder, workers=1, warden=True, idle_s=3600) as rented,
    ):
        file = "/opt/scherbelberg/etc/warden.json"
        assert rented.run("scheduler", f"stat -c '%a %U' {file}") == "600 root"
        assert rented.run("scheduler", f"setpriv --reuid scherbelberg --clear-groups cat {file} || echo no") == "no"
        assert rented.run("worker000", f"test -e {file} || echo none") == "none"
        secret = machines.settings.token
        assert rented.run("scheduler", f"journalctl --no-pager | grep -cF {secret} || true") == "0"
        rented.run("scheduler", f"sed -i 's#{machines.settings.endpoint}#{endpoint}#' {file}")
        for node in ("scheduler", "worker000"):
            assert rented.run(node, "systemctl is-active scherbelberg-watch.timer") == "active"
            rented.run(node, "systemctl start scherbelberg-watch.service")
            assert rented.run(node, "systemctl is-system-running") == "running"
        Waiter().wait(lambda: quiet(rented) not in {"0", "unknown"}, what="A quiet cluster", within_s=WITHIN_S)

        # This very command is a login with a program, and not the timer's own.
        look = "systemctl start scherbelberg-watch.service; stat -c %Y /run/scherbelberg/session"
        seen_s = int(rented.run("worker000", look))
        Waiter().wait(lambda: noted_s(rented) > seen_s - 2, what="The worker's word of it", within_s=WITHIN_S)

        machines.set_clock(13 * 3600)
        rented.run("scheduler", "rm -f /run/scherbelberg/asked")
        try:
            # Not asked by HTTP, which would use up the project's requests. The scheduler itself goes last.
            servers = machines.sandbox.project.servers
            Waiter().wait(lambda: not servers, what="The warden's work", within_s=WITHIN_S)
        finally:
            machines.set_clock(0)
        assert {row.partition("/")[0] for row in held(rented.settings)} == {"networks", "firewalls"}
