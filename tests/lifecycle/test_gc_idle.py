# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Clusters on scripted hosts that nobody uses, or that nobody may delete: what counts as work, and who finds out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Event
from sandbox_helpers import Api
from shells import Shell
from surroundings import held, settings_for

from scherbelberg import sync
from scherbelberg.sandbox.faults import NO_FAULTS, Faults, HostFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread

#: Looks at a cluster that is about to become idle.
_MOST_LOOKS = 300


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts."""
    with SandboxThread(tmp_path / "stage", Options(hosts="scripted", time_scale=0.02)) as sandbox:
        yield sandbox


@pytest.fixture
def there(
    stage: SandboxThread, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Shell:
    """A shell there."""
    return Shell(settings_for(stage, home), monkeypatch, capfd)


def verdict(shell: Shell) -> tuple[str, float | None]:
    """What would become of the only cluster, and for how long it is idle."""
    (row,) = json.loads(shell("gc", "--dry-run", "--json")[1])["clusters"]
    return row["verdict"], row["quiet_s"]


def test_idle(there: Shell, stage: SandboxThread, tmp_path: Path) -> None:
    """As long as there is a task, a cluster is not idle; afterwards it soon is, and is collected where its keys are."""
    code, _, complaints = there("create", "-p", "lazy", "-w", "1", "--idle-timeout", "1")
    assert code == 0, complaints
    api = Api(stage.settings)
    kinds = ("servers", "networks", "firewalls", "ssh_keys")
    assert {row["labels"]["idle"] for kind in kinds for row in api("GET", f"/{kind}").body[kind]} == {"1"}
    api.close()
    with sync.Cluster.from_existing("lazy", settings=there.settings) as cluster, cluster.get_client() as client:
        event = Event("go", client=client)
        future = client.submit(_wait_for, "go")
        for _ in range(5):
            assert verdict(there) == ("alive", 0)
        event.set()
        assert future.result(timeout=30) == 1
    assert json.loads(there("show", "-p", "lazy", "--json")[1])["idle_limit_s"] == 1
    there.monkeypatch.setenv("SCHERBELBERG_HOME", str(tmp_path / "elsewhere"))
    assert verdict(there) == ("alive", None)
    assert there("gc")[0] == 0
    assert len(held(there.settings)) == 5
    there.monkeypatch.setenv("SCHERBELBERG_HOME", str(there.settings.home))
    assert any(verdict(there)[0] == "idle" for _ in range(_MOST_LOOKS))
    code, output, complaints = there("gc")
    assert (code, "-> deleted\nCluster lazy (2 machines" in output) == (0, True), complaints + output
    assert held(there.settings) == []


def _wait_for(name: str) -> int:
    Event(name).wait(30)
    return 1


def test_who_does_not_answer_is_not_idle(there: Shell, stage: SandboxThread) -> None:
    """A cluster whose scheduler cannot be asked is let alone; of one that is overdue it is said whether it is used."""
    assert there("create", "-p", "mute", "-w", "1", "--idle-timeout", "1")[0] == 0
    stage.set_faults(Faults(hosts=(HostFault(server="mute-scheduler", how="wrong_key"),)))
    assert verdict(there) == ("alive", None)
    stage.set_faults(NO_FAULTS)
    stage.set_clock(13 * 3600)
    code, output, _ = there("gc", "--dry-run")
    assert (code, "overdue by 1 h" in output, "idle for" in output or "right now" in output) == (0, True, True)


def test_create_protected(there: Shell) -> None:
    """A cluster can be protected from its first moment of use on."""
    code, output, complaints = there("create", "-p", "dear", "-w", "1", "--protect", "--json")
    assert code == 0, complaints
    assert json.loads(output)["protected"]
    assert "Give it back: scherbelberg unprotect -p dear, then scherbelberg destroy -p dear" in complaints
    assert there("destroy", "-p", "dear")[0] == 16
    assert there("unprotect", "-p", "dear")[0] == 0
    assert there("destroy", "-p", "dear")[0] == 0
