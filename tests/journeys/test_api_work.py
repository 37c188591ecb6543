# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What work finds on real nodes: variables, secrets, Dask's configuration, several processes, and a direct way in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import frozen
from distributed import Client, Security
from surroundings import SHORT, folders, settings_for

from scherbelberg import Event, sync
from scherbelberg.errors import BadInput
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.server import SandboxThread, sandbox_id
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store

_WITHIN_S = 60
_SECRET = "hush-5db1\n' \"$HOME` ß"
_CONFIGURED = "hush-in-the-config-77c0"
#: Names that the script on the node uses for itself.
_PLAIN = {"WHERE": "bucket one", "BASE": "/nowhere", "COMMAND": "none", "WORK": "/nowhere", "EMPTY": "", "name": "x"}
_NAMES = ("worker000-0", "worker000-1")


@frozen(kw_only=True)
class Life:
    """A living cluster, and what was said while it was made."""

    cluster: sync.Cluster
    settings: Settings
    folder: Path
    said: tuple[str, ...]


@pytest.fixture(scope="module")
def life(emulated: SandboxThread, emulated_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A cluster with everything that can be wished for."""
    settings = settings_for(emulated, tmp_path_factory.mktemp("home"))
    events: list[Event] = []
    lines: list[str] = []
    made = sync.Cluster.from_new(
        prefix="work",
        workers=1,
        timeouts=SHORT,
        processes=2,
        threads=3,
        memory_limit="300MB",
        resources={"GPU": 1},
        direct="127.0.0.0/8",
        environ=_PLAIN,
        secrets={"KEY": _SECRET},
        dask_config={
            "dataframe": {"shuffle": {"method": "tasks"}},
            "mine": {"key": _CONFIGURED},
            "distributed": {role: {"preload": ["colorsys"]} for role in ("scheduler", "nanny", "worker")},
        },
        listen=events.append,
        log=lines.append,
        settings=settings,
    )
    assert len(events) == len(lines)
    yield Life(cluster=made, settings=settings, folder=emulated_folder, said=(*map(repr, events), *lines))
    made.destroy()


def test_preloads(client: Client) -> None:
    """What the user wants to be loaded with Dask is loaded beside what is ours."""

    def is_loaded() -> bool:
        import sys

        return "colorsys" in sys.modules

    assert client.run_on_scheduler(is_loaded)
    assert set(client.run(is_loaded).values()) == {True}
    assert set(client.run(is_loaded, nanny=True).values()) == {True}


@pytest.fixture
def client(life: Life) -> Iterator[Client]:
    """A client, with both worker processes there."""
    with life.cluster.get_client() as one:
        one.wait_for_workers(2, timeout=_WITHIN_S)
        yield one


def _check_provisions(client: Client) -> None:
    """Scheduler and workers, and what workers start, have variables, secrets and configuration."""
    wanted = {**_PLAIN, "KEY": _SECRET}

    def look() -> tuple[dict[str, str], str, str]:
        import os

        import dask

        found = {name: os.environ[name] for name in wanted}
        return found, dask.config.get("dataframe.shuffle.method"), dask.config.get("mine.key")

    answers = [client.run_on_scheduler(look), *client.run(look).values()]
    assert answers == [(wanted, "tasks", _CONFIGURED)] * 3
    code = "__import__('subprocess').check_output(['printenv', 'KEY'], encoding='utf-8')"
    assert client.submit(eval, code, pure=False).result(timeout=_WITHIN_S) == f"{_SECRET}\n"


def test_work_finds_what_it_needs(client: Client) -> None:
    """Variables, secrets and configuration are there in every process, whatever is in them and whatever their names."""
    _check_provisions(client)


def test_they_survive_a_restart(life: Life) -> None:
    """Dask that was stopped and started on its node, or whose node was rebooted, finds them again."""
    scheduler, worker = life.cluster.nodes
    for word in ("stop", "start", "ready"):
        done = scheduler.run(f"bash scherbelberg-payload/bootstrap.sh {word}")
        assert done.exit_code == 0, done.tail
    worker.reboot()
    with life.cluster.get_client() as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        _check_provisions(client)


def test_they_are_nowhere_else(life: Life, client: Client) -> None:
    """No secret is on this computer, in a command line, in what was said, in a log, or in the cloud's eyes."""
    texts = dict(enumerate(life.said)) | {"repr": repr(life.cluster), "nodes": repr(life.cluster.nodes)}
    assert _with_secrets({name: text.encode() for name, text in texts.items()}) == []
    home = {path: path.read_bytes() for path in life.settings.home.rglob("*") if path.is_file()}
    assert len(home) > 5
    assert _with_secrets(home) == []
    argv: dict[object, bytes] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            argv[process.pid] = "\0".join(process.cmdline()).encode()
    assert len(marked(f"{sandbox_id(life.folder)}.")) > 3
    assert _with_secrets(argv) == []


def test_on_nodes_only_dask_reads_them(life: Life) -> None:
    """On each node they are in two files of mode 0600 and in no other, neither in the payload nor in a log."""
    for host in (path for path in (life.folder / "hosts").iterdir() if (path / "root").is_dir()):
        files = {
            path: path.read_bytes()
            for place in ("etc", "opt/scherbelberg/etc", "opt/scherbelberg/bin", "root", "run", "tmp", "var")
            for path in (host / place).rglob("*")
            if path.is_file()
        }
        etc = host / "opt/scherbelberg/etc"
        found = _with_secrets(files)
        assert sorted(found) == [etc / "dask/work.yaml", etc / "work.env"]
        assert [path.stat().st_mode & 0o777 for path in found] == [0o600, 0o600]
    others = {path: path.read_bytes() for path in life.folder.iterdir() if path.is_file()}
    assert _with_secrets(others) == []


def _with_secrets(contents: dict[Any, bytes]) -> list[Any]:
    return [name for name, content in contents.items() if b"hush-" in content]


def test_processes_and_threads(client: Client) -> None:
    """Each worker process has its name, its threads, its memory and its resources."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    found = {row["name"]: (row["nthreads"], row["memory_limit"], row["resources"]) for row in workers}
    assert found == {name: (3, 300_000_000, {"GPU": 1.0}) for name in _NAMES}


def test_resources(client: Client) -> None:
    """A task that asks for the resource runs; one that asks for more than any has does not begin."""
    assert client.submit(pow, 2, 5, resources={"GPU": 1}, pure=False).result(timeout=_WITHIN_S) == 32
    greedy = client.submit(pow, 2, 6, resources={"GPU": 2}, pure=False)
    assert client.submit(pow, 2, 7, resources={"GPU": 1}, pure=False).result(timeout=_WITHIN_S) == 128
    assert greedy.status == "pending"
    greedy.cancel()


def test_direct_way_in(life: Life) -> None:
    """Dask's port on the public address lets the cluster's own client in, and nobody without a certificate."""
    address = life.cluster.direct_address
    assert address == f"tls://{life.cluster.nodes[0].public_ip}:8786"
    (folder,) = Store(life.settings.home).folders(prefix="work")
    security = Security(
        require_encryption=True,
        tls_ca_file=str(folder.path / "ca.pem"),
        tls_client_cert=str(folder.path / "client.pem"),
        tls_client_key=str(folder.path / "client-key.pem"),
    )
    with Client(address, security=security, direct_to_workers=False, timeout=_WITHIN_S) as client:
        client.wait_for_workers(2, timeout=_WITHIN_S)
        assert client.submit(pow, 2, 8, pure=False).result(timeout=_WITHIN_S) == 256
    context = ssl.create_default_context(cafile=str(folder.path / "ca.pem"))
    context.check_hostname = False
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        _talk(address, context)


def _talk(address: str, context: ssl.SSLContext) -> None:
    host, _, port = address.removeprefix("tls://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain) as wrapped:
        wrapped.recv(1)  # with TLS 1.3, a refusal of one's certificate comes after the handshake


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"environ": {"A-B": "x"}}, "not the name of an environment variable"),
        ({"secrets": {"UID": "0"}}, "the shell reserves it"),
        ({"dask_config": "work.yaml"}, "pathlib.Path"),
    ],
)
def test_mistakes_cost_nothing(settings: Settings, wish: dict[str, Any], words: str) -> None:
    """A wish that cannot be is refused before anything is asked or made."""
    with pytest.raises(BadInput, match=words):
        sync.Cluster.from_new(settings=settings, **wish)
    assert folders(settings) == []
