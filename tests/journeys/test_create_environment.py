# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters whose nodes install an environment of the client's versions, from a mirror on this computer."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from conda_channel import Channel, add_package, reindex
from environment_world import World
from simple_index import FILES, SimpleIndex
from surroundings import held

from scherbelberg import ClusterSpec, Event
from scherbelberg.environments.shipped import read_pins, shipped_files, shipped_lock, tool_version
from scherbelberg.environments.versions import Client
from scherbelberg.lifecycle.order import plan_now
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.sync import Cluster

NODES = ("scheduler", "worker000")


def test_lock_in_three_places(world: World) -> None:
    """What this interpreter has is locked, installed on nodes with every hash checked, proven, and in a snapshot."""
    lock = world.lock()
    text = lock.read_text(encoding="utf-8")
    (digest,) = (line.removeprefix("# digest: ") for line in text.splitlines() if line.startswith("# digest: "))
    size_bytes = sum(one.size_bytes for one in world.channel.packages.values() if f"/{one.path.name}#" in text)
    world.mirror.misbehave("/conda-forge/*/numpy-*", cut_after=50_000, times=2)
    world.mirror.misbehave("/conda-forge/*/toolz-*", status=429, times=2)
    python = world.mirror.misbehave("/conda-forge/*/python-3*", hold_after=50_000)
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if event.state == "progress" and event.done:
            python.release()

    cluster = Cluster.from_new(workers=1, env=str(lock), settings=world.settings, listen=listen)
    assert [seen.range for seen in world.mirror.seen if "/numpy-" in seen.path and seen.range]
    with cluster.get_client() as client:
        prefix, minor = client.submit(lambda: (sys.prefix, sys.version_info[:2])).result(timeout=30)
        assert client.submit(version, "dask").result(timeout=30) == version("dask")
    assert ("/opt/scherbelberg/envs/" in prefix, minor) == (True, sys.version_info[:2])

    document = world.answer("show")
    script = read_pins(shipped_files()["pins.toml"].decode()).script
    said = {(node["name"], node["lock"], node["script"], node["tool"]) for node in document["nodes"]}
    assert said == {(name, digest, script, tool_version()) for name in NODES}
    assert set(document["environment"]["digests"].values()) == {digest}
    ended = {(event.node, event.phase) for event in events if event.state == "done"}
    for phase in ("download", "miniforge", "environment"):
        assert {(name, phase) for name in NODES} <= ended
        assert document["phases"][phase] >= 0
    told = [(event.done, event.total) for event in events if event.phase == "download" and event.state == "progress"]
    assert {total for _, total in told} == {size_bytes}
    assert all(0 < done <= size_bytes for done, _ in told if done is not None)
    assert any("HTTP status 429; next try in " in event.detail for event in events)

    image = world.snapshot("worker000")
    cluster.close()
    assert world.commands("destroy", "--forget")[0] == 0  # the snapshot is wanted
    world.mirror.forget()
    code, output, complaints = world.shell("create", "-w", "1", "--image", image, "--env", str(lock))
    assert (code, world.fetched) == (0, []), complaints
    assert complaints.count("environment skipped (already there)") == len(NODES)
    assert f"all nodes: lock {digest[:12]}" in output
    assert world.commands("destroy")[0] == 0
    assert held(world.settings) == []


_USER, _PASSWORD = "anna", "s3cret-Wort"


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
@pytest.mark.parametrize(("worker", "platforms"), [(None, ["linux-64"]), ("cax11", ["linux-64", "linux-aarch64"])])
async def test_shipped_lock(world: World, minor: str, worker: str | None, platforms: list[str]) -> None:
    """A client with the versions of a shipped lock gets that one, and nothing is asked of any channel."""
    locks = {platform: shipped_lock("main", minor, platform) for platform in platforms}
    first = locks["linux-64"]
    assert first is not None
    client = Client(versions=first.versions, path="python3", source="the test")
    spec = ClusterSpec(scheduler="cx23", worker=worker, network_range=world.settings.network_range)
    _, environment = await plan_now(world.settings, spec, client)
    assert (environment.name, environment.locks) == ("main", locks)
    assert (world.mirror.seen, held(world.settings)) == ([], [])


def give_other_toolz(channel: Channel) -> str:
    """Let a channel have but the next patch version of toolz; returns that."""
    own = version("toolz")
    other = f"{own}.1"
    files = {str(file): Path(str(file.locate())).read_bytes() for file in distribution("toolz").files or ()}
    moved = {
        f"site-packages/{name.replace(own, other)}": content.replace(
            f"Version: {own}".encode(), f"Version: {other}".encode()
        )
        for name, content in files.items()
        if name.endswith((".py", "METADATA", "WHEEL"))
    }
    channel.packages["toolz"].path.unlink()
    add_package(channel.root, name="toolz", version=other, build="py_0", depends=["python >=3.10"], files=moved)
    reindex(channel.root)
    return other


def files_of(sandbox: SandboxThread) -> list[Path]:
    """All files on hosts that somebody has put there."""
    hosts = (sandbox.sandbox.folder / "hosts").iterdir()
    return [path for host in hosts for path in host.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    """An index that tells only those who log in."""
    running = SimpleIndex(FILES, login=f"{_USER}:{_PASSWORD}")
    yield running
    running.close()


# Dask's own check knows nothing of what is allowed.
@pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")
def test_all_that_is_special(world: World, index: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs a login is fetched here and sent along, and no node sees the login; what differs is allowed."""
    other = give_other_toolz(world.channel)
    private = world.channel.root / "private"
    add_package(private, name="ours", build="py_0", depends=["python"], files={"site-packages/ours.py": b"SAID = 42\n"})
    reindex(private)
    world.mirror.protect("/private", user=_USER, password=_PASSWORD)
    netrc = world.folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {_USER} password {_PASSWORD}\n", encoding="utf-8")
    for name, value in {"NETRC": netrc, "UV_DEFAULT_INDEX": index.url(), "UV_CACHE_DIR": world.folder / "uv"}.items():
        monkeypatch.setenv(name, str(value))
    channels = ("--channel", "conda-forge", "--channel", f"{world.mirror.url}/private/conda-forge")
    words = ("-w", "1", "--package", "ours", "--package", "pypi:plain", *channels)
    said = rf"toolz +{re.escape(version('toolz'))} +{re.escape(other)}\s"

    code, output, complaints = world.shell("create", "--plan", *words)
    assert (code, bool(re.search(said, output))) == (0, True), complaints
    code, output, complaints = world.shell("create", *words)
    assert (code, bool(re.search(said, output))) == (0, True), complaints
    assert f"toolz {other} for {version('toolz')}" in complaints
    allowed = world.answer("show")["environment"]["allowed"]
    assert allowed == [{"package": "toolz", "client": version("toolz"), "nodes": other}]
    with Cluster.from_existing(settings=world.settings) as cluster:
        with cluster.get_client() as client:
            there = client.submit(lambda: (__import__("ours").SAID, version("plain"), version("toolz")))
            assert there.result(timeout=30) == (42, "1.0", other)
        assert [row for row in world.mirror.seen if row.path.startswith("/private") and "authorization" in row.headers]
        assert [row for row in world.mirror.seen if row.path in world.fetched and "authorization" in row.headers] == []
        assert [path for path in world.fetched if path.startswith("/private")] == []
        contents = {path.name: path.read_bytes() for path in files_of(world.sandbox)}
        assert b"SAID" in contents["ours.py"]
        assert [name for name, content in contents.items() if _PASSWORD.encode() in content] == []
        cluster.destroy()
