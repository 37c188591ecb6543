# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whom a scheduler's web server answers, with Dask's own scheduler and worker: browsers, and pages in them."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Scheduler, Worker
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import scherbelberg


def _load() -> Any:
    path = Path(scherbelberg.__file__).parent / "share" / "dashboard_guard.py"
    spec = importlib.util.spec_from_file_location("dashboard_guard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GUARD = _load()
_ADDED = "hub.example.org:* proxy.example.org:8443"
_FOREIGN = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "localhost.evil.example:{port}",
    "",
    "x:y:z",
)


@pytest.fixture
async def scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Scheduler]:
    """A scheduler that is guarded, as on a node, and has one worker."""
    monkeypatch.setenv("SCHERBELBERG_ORIGINS", _ADDED)
    async with Scheduler(
        host="127.0.0.1", dashboard_address="127.0.0.1:0", local_directory=str(tmp_path / "scheduler")
    ) as one:
        await GUARD.dask_setup(one)
        async with Worker(one.address, nthreads=1, local_directory=str(tmp_path / "worker"), dashboard=False):
            yield one


async def _get(scheduler: Scheduler, path: str, **headers: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{scheduler.http_server.port}{path}"
    try:
        answer = await AsyncHTTPClient().fetch(HTTPRequest(url, headers=headers, request_timeout=20))
    except HTTPClientError as error:
        return error.code, ""
    return answer.code, answer.body.decode()


async def _talk(scheduler: Scheduler, **headers: str) -> int:
    """Open a websocket, and return the status of the answer."""
    url = f"ws://127.0.0.1:{scheduler.http_server.port}/eventstream"
    try:
        socket = await websocket_connect(HTTPRequest(url, headers=headers, request_timeout=20))
    except HTTPClientError as error:
        return error.code
    socket.close()
    return 101


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:1", "127.0.0.1"])
async def test_own_names(scheduler: Scheduler, host: str) -> None:
    """The loopback's names lead to the dashboard, at whatever port a tunnel has."""
    wanted = host.format(port=scheduler.http_server.port)
    assert (await _get(scheduler, "/health", Host=wanted))[0] == 200
    assert (await _get(scheduler, "/health", Host=wanted, Origin=f"http://{wanted}"))[0] == 200
    assert await _talk(scheduler, Host=wanted, Origin=f"http://{wanted}") == 101


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("hub.example.org", 200),
        ("hub.example.org:8000", 200),
        ("proxy.example.org:8443", 200),
        ("proxy.example.org", 403),
        ("proxy.example.org:8444", 403),
        ("other.hub.example.org", 403),
    ],
)
async def test_names_that_are_added(scheduler: Scheduler, host: str, status: int) -> None:
    """A hub's name leads there as well where it was added, at its port if one was said."""
    assert (await _get(scheduler, "/health", Host=host))[0] == status
    assert (await _get(scheduler, "/health", Host="127.0.0.1", Origin=f"https://{host}"))[0] == status
    assert await _talk(scheduler, Host=host, Origin=f"https://{host}") == (101 if status == 200 else 403)


async def test_default_ports(scheduler: Scheduler) -> None:
    """What a browser leaves out of an address because it is usual counts as said."""
    monitored = GUARD.is_welcome({"Host": "x:443", "Origin": "https://x"}, ("x:443",))
    assert monitored
    for port, scheme in (("443", "https"), ("80", "http")):
        assert GUARD.is_welcome({"Host": "x", "Origin": f"{scheme}://x"}, (f"x:{port}",))
    assert not GUARD.is_welcome({"Host": "x"}, ("x:8000",))
    assert not GUARD.is_welcome({"Host": "x:443", "Origin": "http://x"}, ("x:443",))


@pytest.mark.parametrize("host", _FOREIGN)
async def test_foreign_names(scheduler: Scheduler, host: str) -> None:
    """A name that somebody lets lead to the loopback leads to nothing (DNS rebinding)."""
    wanted = host.format(port=scheduler.http_server.port)
    for path in ("/health", "/info/main/workers.html", "/nothing"):
        assert (await _get(scheduler, path, Host=wanted)) == (403, "")
    assert await _talk(scheduler, Host=wanted) == 403


@pytest.mark.parametrize("origin", [*(f"http://{host}" for host in _FOREIGN), "null", "file://", "127.0.0.1"])
async def test_foreign_pages(scheduler: Scheduler, origin: str) -> None:
    """Other pages in the same browser hear nothing and change nothing."""
    wanted = origin.format(port=scheduler.http_server.port)
    assert await _talk(scheduler, Origin=wanted) == 403
    assert (await _get(scheduler, "/health", Origin=wanted)) == (403, "")


async def test_post_of_a_foreign_page(scheduler: Scheduler) -> None:
    """A request with a body is answered in the same way, and the connection stays usable."""
    url = f"http://127.0.0.1:{scheduler.http_server.port}/api/v1/retire_workers"
    request = HTTPRequest(url, method="POST", body="x" * 100_000, headers={"Origin": "http://evil.example"})
    with pytest.raises(HTTPClientError) as caught:
        await AsyncHTTPClient().fetch(request)
    assert caught.value.code == 403
    assert len(scheduler.workers) == 1
    assert (await _get(scheduler, "/health"))[0] == 200


async def test_no_links_to_pages_of_workers(scheduler: Scheduler) -> None:
    """Pages of workers, which no browser reaches, are not linked, and what is known of workers still is."""
    code, page = await _get(scheduler, "/info/main/workers.html")
    (address,) = scheduler.workers
    assert code == 200
    assert address in page
    assert "/proxy/" not in page
    async with Client(scheduler.address, asynchronous=True) as client:
        assert await client.submit(pow, 2, 3) == 8
        assert [row["services"] for row in (await client.scheduler.identity(n_workers=-1))["workers"].values()] == [{}]
