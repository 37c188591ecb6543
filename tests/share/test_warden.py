# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The warden gives a cluster back from inside when its time is over by the cloud's clock, and never in doubt."""

from __future__ import annotations

import importlib.util
import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from bare_clusters import labels_in, make
from catalogues import ssh_pair
from sandbox_helpers import Api
from shells import Shell
from surroundings import held

import scherbelberg
from scherbelberg.planning.plan import Identity
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

_HOUR = 3600


@pytest.fixture(scope="module")
def warden() -> ModuleType:
    """The warden as it is shipped, in less of a hurry for nobody."""
    path = Path(scherbelberg.__file__).parent / "share" / "warden.py"
    spec = importlib.util.spec_from_file_location("warden", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._LOOK_S = 0.02  # type: ignore[attr-defined] # the sandbox is faster than the cloud
    return module


@pytest.fixture
def cloud(sandbox: SandboxThread) -> Iterator[Api]:
    """Requests without any code of ours."""
    api = Api(sandbox.settings)
    yield api
    api.close()


def rouse(warden: ModuleType, who: Identity, cloud: Api, folder: Path, quiet: str = "unknown") -> None:
    """Run the warden once, as the node's script does."""
    file = folder / "warden.json"
    settings = cloud.settings
    config = {"token": settings.token, "endpoint": settings.endpoint, "uid": who.uid}
    file.write_text(json.dumps(config), encoding="utf-8")
    warden.main([str(file), quiet])


def add_key(cloud: Api, who: Identity) -> None:
    """Give a cluster its SSH key."""
    key = {"name": who.prefix, "public_key": ssh_pair().public, "labels": who.labels("ssh-key")}
    assert cloud("POST", "/ssh_keys", key).status == 201


def test_deadline(warden: ModuleType, sandbox: SandboxThread, shell: Shell, cloud: Api, tmp_path: Path) -> None:
    """After the deadline workers go first, then the key, then the scheduler; the rest is free and waits for gc."""
    settings = shell.settings
    who = make(cloud, "ours", ttl_s=_HOUR)
    add_key(cloud, who)
    make(cloud, "theirs", ttl_s=_HOUR)
    before = held(settings)
    rouse(warden, who, cloud, tmp_path)
    assert held(settings) == before
    sandbox.set_clock(2 * _HOUR)
    rows = {row["id"]: row["name"] for kind in ("servers", "ssh_keys") for row in cloud("GET", f"/{kind}").body[kind]}
    sent = len(sandbox.sandbox.requests)
    rouse(warden, who, cloud, tmp_path)
    asked = [int(path.rpartition("/")[2]) for method, path in sandbox.sandbox.requests[sent:] if method == "DELETE"]
    assert list(dict.fromkeys(rows[number] for number in asked)) == ["ours-worker", "ours", "ours-scheduler"]
    for _ in range(1000):
        if "servers/ours-scheduler" not in held(settings):
            break
    gone = {"servers/ours-scheduler", "servers/ours-worker", "ssh_keys/ours"}
    assert set(before) - set(held(settings)) == gone
    rouse(warden, who, cloud, tmp_path)  # nothing is left that it could find
    code, output, complaints = shell("gc", "-p", "ours")
    assert (code, "'ours' of anna_at_laptop, 2 h" in output) == (0, True), complaints
    assert [row for row in held(settings) if "ours" in row] == []


def test_refusal(warden: ModuleType, cloud: Api) -> None:
    """What the cloud refuses is told, and the refusal keeps no connection open."""
    asked = warden.Cloud({"token": "x" * 64, "endpoint": cloud.settings.endpoint, "uid": "ours"})
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        asked.list("servers")
    assert caught.value.closed


def test_doubt(warden: ModuleType, sandbox: SandboxThread, cloud: Api) -> None:
    """A single resource that says something else than that time is over keeps the whole cluster."""
    who = make(cloud, "ours", ttl_s=_HOUR)
    sandbox.set_clock(2 * _HOUR)
    asked = warden.Cloud({"token": cloud.settings.token, "endpoint": cloud.settings.endpoint, "uid": who.uid})
    doubts = [("deadline", value) for value in ("none", "soon", "9999999999", "12")] + [("protected", "yes")]
    for kind in ("servers", "networks", "firewalls"):
        row = cloud("GET", f"/{kind}").body[kind][0]
        whole = row["labels"]
        without = [{key: value for key, value in whole.items() if key != name} for name in ("deadline", "created")]
        for labels in (*without, *(whole | {name: value} for name, value in doubts)):
            assert cloud("PUT", f"/{kind}/{row['id']}", {"labels": labels}).status == 200
            before = labels_in(cloud)
            warden.run(asked, None)
            assert labels_in(cloud) == before
        assert cloud("PUT", f"/{kind}/{row['id']}", {"labels": whole}).status == 200
    warden.run(asked, None)
    assert "servers/ours-worker" not in labels_in(cloud)


@pytest.mark.parametrize("kind", ["servers", "networks"])
def test_guarded(warden: ModuleType, sandbox: SandboxThread, cloud: Api, kind: str) -> None:
    """What the cloud itself guards against deletion keeps the whole cluster, as our own protection does."""
    who = make(cloud, "ours", ttl_s=_HOUR)
    sandbox.set_clock(2 * _HOUR)
    asked = warden.Cloud({"token": cloud.settings.token, "endpoint": cloud.settings.endpoint, "uid": who.uid})
    number = cloud("GET", f"/{kind}").body[kind][-1]["id"]
    path = f"/{kind}/{number}/actions/change_protection"
    for wanted in (True, False):
        body = {"delete": wanted} | ({"rebuild": wanted} if kind == "servers" else {})
        cloud.done(cloud("POST", path, body).body["action"])
        before = labels_in(cloud)
        warden.run(asked, None)
        assert (labels_in(cloud) == before) is wanted


@pytest.mark.parametrize(
    ("idle", "quiet", "is_over"),
    [
        ("600", 600, True),
        ("600", 599, False),
        ("600", None, False),
        ("0", 600, False),
        ("", 600, False),
        ("none", 600, False),
    ],
)
def test_idle(warden: ModuleType, idle: str, quiet: int | None, is_over: bool) -> None:
    """Idle for long enough counts as much as a deadline; where nobody knows for how long, nothing happens."""
    row = {"created": "100", "deadline": "none", "idle": idle}
    assert warden.is_over([row, row], now_s=200.0, quiet_s=quiet) is is_over
    assert not warden.is_over([row, {"created": "100", "deadline": "none"}], now_s=200.0, quiet_s=quiet)
    assert not warden.is_over([row, row | {"protected": ""}], now_s=200.0, quiet_s=quiet)
    assert not warden.is_over([], now_s=200.0, quiet_s=quiet)


def test_idle_by_its_word(warden: ModuleType, settings: Settings, cloud: Api, tmp_path: Path) -> None:
    """The script's word is a number of seconds, or one that says that nobody knows."""
    who = make(cloud, "ours", ttl_s=None, idle_s=600)
    before = held(settings)
    for word in ("unknown", "599", ""):
        rouse(warden, who, cloud, tmp_path, word)
        assert held(settings) == before
    rouse(warden, who, cloud, tmp_path, "600")
    assert "servers/ours-worker" not in held(settings)
