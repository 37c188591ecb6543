# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The calls of a desktop plug-in that was written for scherbelberg 0.0.6, through both faces."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from surroundings import environment_for, folders, held

from scherbelberg import Cluster, sync
from scherbelberg.errors import ClusterNotFound
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

_OLD: dict[str, Any] = {"wait": 0.5, "datacenter": "fsn1-dc14", "dask_ipc": 8796, "dask_dash": 8797, "dask_nanny": 9200}
_OF_OLD = r"is of scherbelberg 0\.0\.6"


@pytest.fixture
def surrounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Environment variables as a plug-in's user has them, with the token in one of a name of the plug-in's own."""
    for name, value in environment_for(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HCLOUD_TOKEN")
    monkeypatch.delenv("HETZNER", raising=False)
    monkeypatch.setenv("PLUGIN_TOKEN", settings.access.token)
    return settings


def _check_spec(cluster: Any) -> None:
    spec = cluster._connections.manifest.spec
    assert (spec.location, spec.ports.scheduler, spec.ports.dashboard, spec.ports.nanny) == (
        ("fsn1",),
        8796,
        8797,
        9200,
    )


async def test_as_of_old(surrounded: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Create, compute, come back, compute, destroy: with await, old names, and a logger."""
    log = logging.getLogger("plug-in")
    old = ("tokenvar", *_OLD)
    with caplog.at_level(logging.INFO, log.name):
        with pytest.warns(DeprecationWarning, match=_OF_OLD) as caught:
            cluster = await Cluster.from_new(prefix="qgis", workers=1, log=log, tokenvar="PLUGIN_TOKEN", **_OLD)
        assert sorted(str(warning.message).split("'")[1] for warning in caught) == sorted(old)
        _check_spec(cluster)
        client = await cluster.get_client(asynchronous=True)
        assert await client.submit(sum, [1, 2]) == 3
        await client.close()
        await cluster.close()
        with pytest.warns(DeprecationWarning, match=r"'tokenvar' .*: use token="):
            cluster = await Cluster.from_existing(prefix="qgis", tokenvar="PLUGIN_TOKEN", log=log)
        client = await cluster.get_client(asynchronous=True)
        assert await client.submit(sum, [3, 4]) == 7
        await client.close()
        await cluster.destroy()
    messages = [record.getMessage() for record in caplog.records if record.name == log.name]
    assert {"proof done (1 workers compute)", "empty done (nothing is left)"} <= set(messages)
    assert (held(surrounded), folders(surrounded)) == ([], [])


def test_as_of_old_without_await(surrounded: Settings) -> None:
    """The same calls block in the other face, whose log is a function; leaving a block leaves the cluster alive."""
    lines: list[str] = []
    with (
        pytest.warns(DeprecationWarning, match=_OF_OLD) as caught,
        sync.Cluster.from_new(prefix="qgis", workers=1, log=lines.append, tokenvar="PLUGIN_TOKEN", **_OLD) as cluster,
    ):
        _check_spec(cluster._inner)
    assert {warning.filename for warning in caught} == {__file__}
    assert "proof done (1 workers compute)" in lines
    with (
        pytest.warns(DeprecationWarning, match=_OF_OLD),
        sync.Cluster.from_existing("qgis", tokenvar="PLUGIN_TOKEN", wait=1.0, log=lines.append) as cluster,
        cluster.get_client() as client,
    ):
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    with pytest.warns(DeprecationWarning, match="'tokenvar'"):
        sync.Cluster.nuke("qgis", tokenvar="PLUGIN_TOKEN", log=lines.append)
    assert lines[-1] == "empty done (nothing is left)"
    assert (held(surrounded), folders(surrounded)) == ([], [])


async def test_nuke_of_nothing(settings: Settings) -> None:
    """Where there is nothing of a name, that is said."""
    with pytest.raises(ClusterNotFound, match="no cluster 'nobody'"):
        await Cluster.nuke("nobody", settings=settings)
