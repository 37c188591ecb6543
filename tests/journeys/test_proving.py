# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster that is made for another interpreter, which proves it, and clients that are held against it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from conftest import TIME_SCALE
from distributed import Client as DaskClient
from other_python import make_venv
from surroundings import SHORT, settings_for

from scherbelberg import sync
from scherbelberg.concurrency.loop import private_loop
from scherbelberg.environments.fit import Environment, image_environment
from scherbelberg.environments.interpreter import read_client
from scherbelberg.environments.versions import Versions
from scherbelberg.errors import BadInput, NodeUnreachable, VersionMismatch, WaitTimeout
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler import proof
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.scheduler.proof import prove
from scherbelberg.settings import Settings
from scherbelberg.state.store import Store


class Other:
    """A cluster with one worker for another interpreter."""

    def __init__(self, settings: Settings, python: Path) -> None:
        self.settings = settings
        self.python = python
        self.calls: list[str] = []
        answer = proof._answer

        async def counted(path: str, *rest: object) -> object:
            self.calls.append(path)
            return await answer(path, *rest)  # type: ignore[arg-type] # as given

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(proof, "_answer", counted)
            self.cluster = sync.Cluster.from_new(
                prefix="other", workers=1, client=python, settings=settings, timeouts=SHORT
            )

    @property
    def environment(self) -> Environment:
        """What it has."""
        client = read_client(self.python, "the test")
        found = image_environment(client, client.versions)
        assert found is not None
        return found

    @property
    def door(self) -> SchedulerEndpoint:
        """Where its scheduler is."""
        return private_loop().submit(self.cluster._inner.door()).result()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    """Such a cluster, for an interpreter in a folder whose name is not plain."""
    folder = tmp_path_factory.mktemp("other")
    python = make_venv(folder / "Umgebung für alle", has_ours=True)
    with SandboxThread(folder / "sandbox", Options(time_scale=TIME_SCALE)) as sandbox:
        made = Other(settings_for(sandbox, folder / "home"), python)
        yield made
        made.cluster.destroy()


def _prove(other: Other, *workers: str, environment: Environment | None = None, within_s: float = 20) -> dict[str, str]:
    wanted = environment or other.environment
    return asyncio.run(prove(other.door, workers=workers, environment=wanted, within_s=within_s))


def test_it_proved(other: Other) -> None:
    """The other interpreter proved the cluster when it was made, and is remembered."""
    assert other.calls == [str(other.python)]
    (folder,) = Store(other.settings.home).folders()
    record = folder.read().environment
    assert (record.client, record.client_source, record.allowed) == (str(other.python), "the argument", ())
    assert other.cluster.versions["dask"] == other.environment.versions.packages["dask"]


def test_by_another(other: Other) -> None:
    """It tells the versions that all have."""
    versions = other.environment.versions
    assert _prove(other, "worker000") == {"python": versions.python, **versions.packages}


def test_by_another_with_other_versions(other: Other) -> None:
    """What differs on scheduler and workers is told as a table, but for what is allowed."""
    environment = other.environment
    packages = {**environment.versions.packages, "tornado": "1.0"}
    client = evolve(environment.client, versions=evolve(environment.versions, packages=packages))
    there = environment.versions.packages["tornado"]
    with pytest.raises(VersionMismatch) as caught:
        _prove(other, "worker000", environment=evolve(environment, client=client))
    rows = (("scheduler", "tornado", "1.0", there), ("worker000", "tornado", "1.0", there))
    assert caught.value.differences == rows
    assert _prove(other, "worker000", environment=evolve(environment, client=client, allowed=(rows[0][1:],)))


@pytest.mark.parametrize(
    ("workers", "missing"),
    [(("worker000", "worker001"), "worker001"), (("worker007",), "worker007, unplanned worker000")],
)
def test_by_another_without_a_worker(other: Other, workers: tuple[str, ...], missing: str) -> None:
    """A worker that has not joined at the deadline is named."""
    with pytest.raises(WaitTimeout, match=rf"The joining of {len(workers)} workers .*missing {missing}\)"):
        _prove(other, *workers, within_s=1)


def test_by_one_that_cannot(other: Other, tmp_path: Path) -> None:
    """An interpreter that cannot load Dask is an error with its words; nothing is rented for one that has none."""
    bare = make_venv(tmp_path / "bare", has_ours=False)
    environment = other.environment
    client = evolve(environment.client, path=str(bare))
    with pytest.raises(
        NodeUnreachable, match=r"could not use the cluster \(ModuleNotFoundError: .*'distributed'"
    ) as caught:
        _prove(other, "worker000", environment=evolve(environment, client=client))
    assert caught.value.log_tail[-1].startswith("ModuleNotFoundError")
    with pytest.raises(BadInput, match=r"has no dask: install what it needs"):
        sync.Cluster.from_new(prefix="none", client=bare, settings=other.settings)


def test_folder_where_we_are(other: Other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's that is called like one of Dask's does not disturb the proof."""
    (tmp_path / "distributed.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert _prove(other, "worker000")


def test_client_is_held_against_all(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is refused with a table when but one worker has got other versions, and its connection is closed."""
    real = DaskClient.get_versions

    def changed(self: DaskClient, *args: object, **kwargs: object) -> object:
        found = real(self, *args, **kwargs)
        if not isinstance(found, dict):
            return _changed_later(found)
        return _with_other_toolz(found)

    monkeypatch.setattr(DaskClient, "get_versions", changed)
    there = other.environment.versions.packages["toolz"]
    with pytest.raises(VersionMismatch) as caught:
        other.cluster.get_client()
    assert caught.value.differences == (("worker000", "toolz", there, "0.1"),)
    with pytest.raises(VersionMismatch):
        private_loop().submit(_connected(other)).result()


def _with_other_toolz(found: dict[str, dict[str, dict[str, dict[str, str]]]]) -> object:
    for row in found["workers"].values():
        row["packages"]["toolz"] = "0.1"
    return found


async def _changed_later(found: object) -> object:
    return _with_other_toolz(await found)  # type: ignore[misc] # an asynchronous client's


async def _connected(other: Other) -> None:
    client = await other.cluster._inner.get_client(asynchronous=True)
    await client.close()


def test_other_versions_than_proven(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that differs from what was proven is refused before it connects."""
    wrong = read_client(other.python, "it")
    wrong = evolve(wrong, versions=Versions(python="3.99.0", packages=wrong.versions.packages))
    monkeypatch.setattr("scherbelberg.cluster.own_client", lambda: wrong)
    monkeypatch.setattr(DaskClient, "__init__", lambda *args, **kwargs: pytest.fail("it connected"))
    with pytest.raises(VersionMismatch, match=r"python is 3\.99\.0 on this computer"):
        other.cluster.get_client()


def test_same_lock_is_not_mentioned(other: Other, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of locks where the nodes' image holds the environment."""
    with caplog.at_level(logging.WARNING, "scherbelberg"), other.cluster.get_client() as client:
        assert client.submit(lambda: sys.version_info[:2]).result(timeout=20) == sys.version_info[:2]
    assert caplog.records == []
