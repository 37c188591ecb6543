# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Scripts that end with everything open: nothing complains, and nobody waits for long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from surroundings import SHORT, environment_for, settings_for

from scherbelberg import sync
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

_WITHIN_S = 120
#: How often each script is run: it is a matter of moments what a loop has left undone.
_TIMES = 3
_COMPLAINTS = ("Task was destroyed", "Event loop is closed", "never retrieved", "never awaited", "Exception ignored")

_BLOCKING = """
from scherbelberg.sync import Cluster
cluster = Cluster.from_existing("ends")
client = cluster.get_client()
print(client.submit(pow, 2, 10).result())
"""
_TWICE = """
from scherbelberg.sync import Cluster
cluster = Cluster.from_existing("ends")
clients = [cluster.get_client() for _ in range(2)]
print(clients[0].submit(pow, 2, 10).result())
"""
_AWAITED = """
import asyncio
from scherbelberg import Cluster
async def main():
    global cluster, client
    cluster = await Cluster.from_existing("ends")
    client = await cluster.get_client()
    print(client.submit(pow, 2, 10).result())
asyncio.run(main())
"""
_DOOR = """
import socket
from scherbelberg.sync import Cluster
cluster = Cluster.from_existing("ends")
lines = [socket.create_connection(("127.0.0.1", cluster.door().dashboard_port)) for _ in range(5)]
for line in lines:
    line.sendall(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    assert line.recv(1)
print(1024)
"""
_ASYNCHRONOUS = """
import asyncio
from scherbelberg import Cluster
async def main():
    global cluster, client
    cluster = await Cluster.from_existing("ends")
    client = await cluster.get_client(asynchronous=True)
    print(await client.submit(pow, 2, 10))
asyncio.run(main())
"""
_FORGOTTEN = """
import gc
from scherbelberg.sync import Cluster
client = Cluster.from_existing("ends").get_client()
gc.collect()
print(client.submit(pow, 2, 10).result())
"""
_FORKED = f"""{_BLOCKING}
import os, sys
sys.stdout.flush()
child = os.fork() if hasattr(os, "fork") else None
if child == 0:
    sys.exit(0)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert client.submit(pow, 2, 11).result() == 2048
"""
_SCRIPTS = {
    "asynchronous": _ASYNCHRONOUS,
    "forgotten handle": _FORGOTTEN,
    "forked": _FORKED,
    "blocking": _BLOCKING,
    "two clients": _TWICE,
    "awaited": _AWAITED,
    "other connections": _DOOR,
    "exit in the middle": f"{_BLOCKING}\nraise SystemExit(0)",
}


@pytest.fixture(scope="module")
def settings(emulated: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A cloud with one living cluster, called ends."""
    settings = settings_for(emulated, tmp_path_factory.mktemp("home"))
    made = sync.Cluster.from_new(prefix="ends", workers=1, timeouts=SHORT, settings=settings)
    yield settings
    made.destroy()


@pytest.mark.parametrize("name", _SCRIPTS)
def test_nothing_complains(settings: Settings, name: str) -> None:
    """A script that ends with a client or a tunnel open says its own words, and nothing else is said."""
    for _ in range(_TIMES):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", _SCRIPTS[name]],
            env=environment_for(settings),
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "1024\n"), done.stderr
        assert [line for line in _COMPLAINTS if line in done.stderr] == [], done.stderr


_LOADING = """
import asyncio, sys, threading
class Witness:
    def find_spec(self, name, path=None, target=None):
        if name == "distributed":
            print(threading.current_thread().name)
sys.meta_path.insert(0, Witness())
from scherbelberg import Cluster
async def main():
    async with await Cluster.from_existing("ends") as cluster:
        client = await cluster.get_client(asynchronous={asynchronous})
        await client.close() if {asynchronous} else client.close()
asyncio.run(main())
"""
_UPLOAD = """
import sys, threading
class Witness:
    def find_spec(self, name, path=None, target=None):
        if name == "distributed":
            print(threading.current_thread().name)
sys.meta_path.insert(0, Witness())
from scherbelberg.sync import Cluster
with Cluster.from_existing("ends") as cluster:
    cluster.upload(sys.argv[1])
"""


@pytest.mark.parametrize(
    "script",
    [_LOADING.format(asynchronous=False), _LOADING.format(asynchronous=True), _UPLOAD],
    ids=["blocking", "asynchronous", "upload"],
)
def test_dask_is_loaded_in_a_thread(settings: Settings, script: str, tmp_path: Path) -> None:
    """Loading Dask takes long: neither the caller's loop nor the library's own stands still for it."""
    module = tmp_path / "module_of_mine.py"
    module.write_text("ONE = 1\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", script, str(module)],
        env=environment_for(settings),
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=True,
    )
    (thread,) = set(done.stdout.split())
    assert thread not in {"MainThread", "scherbelberg"}
