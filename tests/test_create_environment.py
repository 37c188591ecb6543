# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters whose nodes install an environment of the client's versions, from a mirror on this computer."""

from __future__ import annotations

import sys
from importlib.metadata import version

from environment_world import World
from surroundings import held

from scherbelberg import Event
from scherbelberg.pins import read_pins
from scherbelberg.shipped import shipped_files, tool_version
from scherbelberg.sync import Cluster

NODES = ("scheduler", "worker000")


def test_lock_in_three_places(world: World) -> None:
    """What this interpreter has is locked, installed on nodes with every hash checked, proven, and in a snapshot."""
    lock = world.lock()
    text = lock.read_text(encoding="utf-8")
    (digest,) = (line.removeprefix("# digest: ") for line in text.splitlines() if line.startswith("# digest: "))
    size_bytes = sum(one.size_bytes for one in world.channel.packages.values() if f"/{one.path.name}#" in text)
    world.mirror.misbehave("/conda-forge/*/numpy-*", cut_after=50_000, times=2)
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
        assert document["phases"][phase] > 0
    told = [(event.done, event.total) for event in events if event.phase == "download" and event.state == "progress"]
    assert {total for _, total in told} == {size_bytes}
    assert all(0 < done <= size_bytes for done, _ in told if done is not None)

    image = world.snapshot("worker000")
    cluster.destroy()
    world.mirror.forget()
    code, output, complaints = world.shell("create", "-w", "1", "--image", image, "--env", str(lock))
    assert (code, world.fetched) == (0, []), complaints
    assert complaints.count("environment skipped (already there)") == len(NODES)
    assert f"all nodes: lock {digest[:12]}" in output
    assert world.commands("destroy")[0] == 0
    assert held(world.settings) == []
