# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether this interpreter fits a cluster that is there already."""

from __future__ import annotations

import logging

import pytest
from attrs import evolve
from catalogues import manifest
from fake_channel import client

from scherbelberg.cluster import check_versions, other_lock
from scherbelberg.environments.lock import EnvLock
from scherbelberg.environments.shipped import shipped_lock
from scherbelberg.environments.versions import Client
from scherbelberg.errors import VersionMismatch
from scherbelberg.state.manifest import EnvRecord, Manifest


def _lock(profile: str, platform: str = "linux-64") -> EnvLock:
    lock = shipped_lock(profile, "3.13", platform)
    assert lock is not None
    return lock


def _client(**changed: str) -> Client:
    versions = _lock("main").versions
    return evolve(client(), versions=evolve(versions, packages={**versions.packages, **changed}))


def _record(*locks: EnvLock, name: str = "main") -> EnvRecord:
    return EnvRecord(
        name=name, digests={lock.platform: lock.digest for lock in locks}, client="/python", client_source="it"
    )


def _manifest(record: EnvRecord, who: Client) -> Manifest:
    versions = {"python": who.versions.python, **who.versions.packages}
    return evolve(manifest(), environment=record, versions=versions)


def test_same_lock() -> None:
    """Nothing is to be said of a cluster that has what this client would get."""
    assert other_lock(_client(), _manifest(_record(_lock("main"), _lock("main", "linux-aarch64")), _client())) is None


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_other_lock(platform: str) -> None:
    """Another lock is told, with both names and digests, for whichever platform."""
    science, main = _lock("science", platform), _lock("main", platform)
    assert other_lock(_client(), _manifest(_record(science, name="science"), _client())) == (
        f"The nodes have the environment 'science' ({science.digest[:12]}), and this client would get 'main'"
        f" ({main.digest[:12]}) today; what is compared is the same in both."
    )


def test_what_cannot_be_told() -> None:
    """Where the image holds the environment, or this client would have one solved, there is no other lock to name."""
    science = _lock("science")
    assert other_lock(_client(), _manifest(_record(science, name="image"), _client())) is None
    assert (
        other_lock(_client(tornado="1.0"), _manifest(_record(science, name="science"), _client(tornado="1.0"))) is None
    )


def test_what_was_wished_for() -> None:
    """Who asked for science has it, and who added something has a lock of their own: that is no news."""
    science, who = _lock("science"), _client()
    record = _record(science, name="science")
    for wish in ({"env": "science"}, {"packages": ("xarray",)}, {"env": "environment.yml"}):
        spec = evolve(manifest().spec, **wish)
        assert other_lock(who, evolve(_manifest(record, who), spec=spec)) is None


def test_it_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Attaching with another lock than the cluster's says so, and attaches."""
    monkeypatch.setattr("scherbelberg.cluster.own_client", _client)
    with caplog.at_level(logging.WARNING, "scherbelberg"):
        assert check_versions(_manifest(_record(_lock("main")), _client())) == _client().versions
        assert caplog.records == []
        check_versions(_manifest(_record(_lock("science"), name="science"), _client()))
    (line,) = caplog.messages
    assert line.startswith("The nodes have the environment 'science'")


def test_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that differs from what was proven is refused with the table, but for what was allowed."""
    monkeypatch.setattr("scherbelberg.cluster.own_client", lambda: _client(tornado="1.0"))
    there = _lock("main").versions.packages["tornado"]
    record = _record(_lock("main"))
    with pytest.raises(VersionMismatch) as caught:
        check_versions(_manifest(record, _client()))
    assert caught.value.differences == (("scheduler", "tornado", "1.0", there),)
    assert check_versions(_manifest(evolve(record, allowed=(("tornado", "1.0", there),)), _client()))
