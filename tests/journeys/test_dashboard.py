# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The dashboard of a cluster as browsers and other programs on this computer meet it."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from surroundings import SHORT, settings_for

from scherbelberg import sync
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler.endpoint import SchedulerEndpoint

_WITHIN_S = 60
_HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


@pytest.fixture(scope="module")
def cluster(emulated: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sync.Cluster]:
    """A living cluster, whose dashboard a hub may show."""
    settings = settings_for(emulated, tmp_path_factory.mktemp("home"))
    made = sync.Cluster.from_new(
        prefix="seen", workers=1, timeouts=SHORT, dashboard_origin="hub.example.org", settings=settings
    )
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def door(cluster: sync.Cluster) -> SchedulerEndpoint:
    """The way to it."""
    return cluster.door()


def _status(door: SchedulerEndpoint, path: str, **headers: str) -> int:
    there = http.client.HTTPConnection("127.0.0.1", door.dashboard_port, timeout=_WITHIN_S)
    try:
        there.putrequest("GET", path, skip_host=True)
        for name, value in ({"Host": f"127.0.0.1:{door.dashboard_port}"} | headers).items():
            there.putheader(name, value)
        there.endheaders()
        return there.getresponse().status
    finally:
        there.close()


def test_door_without_await(cluster: sync.Cluster, door: SchedulerEndpoint) -> None:
    """The blocking face opens the same way for other programs, and keeps it."""
    assert cluster.door() == door
    assert requests.get(door.dashboard_link.replace("/status", "/health"), timeout=_WITHIN_S).text == "ok"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "hub.example.org", "hub.example.org:8000"])
def test_own_pages(door: SchedulerEndpoint, host: str) -> None:
    """The dashboard's own pages, and a hub's that shows them, are answered."""
    own = host.format(port=door.dashboard_port)
    assert _status(door, "/health", Host=own) == 200
    assert _status(door, "/eventstream", **_HANDSHAKE, Host=own, Origin=f"http://{own}") == 101


@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}"])
def test_other_pages(door: SchedulerEndpoint, name: str) -> None:
    """A page of somebody else's is not, under whatever name it comes."""
    other = name.format(port=door.dashboard_port)
    assert _status(door, "/health", Host=other) == 403
    assert _status(door, "/eventstream", **_HANDSHAKE, Host=other, Origin=f"http://{other}") == 403
    assert _status(door, "/eventstream", **_HANDSHAKE, Origin=f"http://{other}") == 403


def test_no_dead_links(door: SchedulerEndpoint) -> None:
    """Pages of workers, which no browser on this computer reaches, are not linked."""
    page = requests.get(door.dashboard_link.replace("/status", "/info/main/workers.html"), timeout=_WITHIN_S).text
    assert "worker000" in page
    assert "/proxy/" not in page


def test_plain_client_shows_the_way(door: SchedulerEndpoint) -> None:
    """A client that another program makes by the printed lines names the dashboard where it is, and no other one."""
    lines = [*door.python_lines, "print(client.dashboard_link)", "print(client._repr_html_())", "client.close()"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=_WITHIN_S, check=True
    )
    link, _, page = done.stdout.partition("\n")
    assert link == door.dashboard_link
    assert urlsplit(link).port == door.dashboard_port
    assert page.count("/status") == page.count(door.dashboard_link) > 0


def test_our_client_shows_the_way(cluster: sync.Cluster, door: SchedulerEndpoint) -> None:
    """What a notebook shows of a client has links that lead through the tunnel alone."""
    with cluster.get_client() as client:
        page = client._repr_html_()
    assert page.count("/status") == page.count(door.dashboard_link) > 0
