# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters whose nodes install an environment of the client's versions, from a mirror on this computer."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conda_channel import Channel
from environment_world import isolated
from mirror import Mirror

from scherbelberg import Event
from scherbelberg.settings import Settings
from scherbelberg.sync import Cluster


@pytest.fixture
def around(
    settings: Settings, own_channel: Channel, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Settings that lead to the test's own cloud, with a mirror for all environments."""
    return isolated(settings, own_channel, mirror, monkeypatch, tmp_path / "share")


def test_solved_environment(around: Settings, mirror: Mirror) -> None:
    """What this interpreter has is solved, installed by the unmodified script with every hash checked, and proven."""
    events: list[Event] = []
    cluster = Cluster.from_new(workers=1, packages=("pip",), settings=around, listen=events.append)
    try:
        with cluster.get_client() as client:
            there = client.submit(lambda: (sys.prefix, sys.version_info[:2])).result(timeout=30)
            assert client.submit(version, "dask").result(timeout=30) == version("dask")
    finally:
        cluster.destroy()
    prefix, minor = there
    assert "/opt/scherbelberg/envs/" in prefix
    assert minor == sys.version_info[:2]
    phases = [event.phase for event in events if event.node == "worker000" and event.state == "done"]
    assert [phase for phase in phases if phase in {"download", "miniforge", "environment"}]
    assert any(seen.path.endswith(".conda") for seen in mirror.seen)
