# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the nodes of a create that fails have logged: fetched before they are gone, shown, and kept."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster, ClusterSpec, Event, Phase
from scherbelberg.errors import BootstrapFailed, NodeUnreachable, ScherbelbergError, WaitTimeout
from scherbelberg.nodes.log_reading import keep_log
from scherbelberg.sandbox.faults import Faults, HostFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

_BROKEN = HostFault(server="*worker000", how="fails", phase="tls")
_SILENT = HostFault(server="*worker000", how="no_logs")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[SandboxThread]:
    """A cloud of scripted hosts."""
    with SandboxThread(tmp_path / "stage", Options(hosts="scripted", time_scale=0.02)) as running:
        yield running


@pytest.fixture
def around(stage: SandboxThread, home: Path) -> Settings:
    """Settings that lead there."""
    return settings_for(stage, home)


async def fails(
    settings: Settings, error: type[ScherbelbergError], *, listen: Callable[[Event], None] = print, **timeouts: float
) -> ScherbelbergError:
    """Why a create of one worker fails; nothing is left in the cloud."""
    spec = ClusterSpec(prefix="fails", workers=1, timeouts=evolve(SHORT, **timeouts))
    with pytest.raises(error) as caught:
        await Cluster.from_new(spec, settings=settings, secrets={"PASSWORD": "told to"}, listen=listen)
    assert (held(settings), folders(settings)) == ([], [])
    return caught.value


def kept(error: ScherbelbergError) -> str:
    """What was kept, in a file that the error names."""
    assert error.log_file is not None
    assert error.message.endswith(f" is kept in {error.log_file}.")
    return Path(error.log_file).read_text(encoding="utf-8")


def modes(folder: Path) -> list[int]:
    """Who may do what with a folder and its files."""
    return [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())]


async def test_bootstrap_that_fails(stage: SandboxThread, around: Settings) -> None:
    """The node's logs are there before anything is deleted, end with the reason, and hide what is secret."""
    events: list[tuple[Phase, str]] = []
    stage.set_faults(Faults(hosts=(_BROKEN,)))
    error = await fails(around, BootstrapFailed, listen=lambda event: events.append((event.phase, event.state)))
    assert error.log_tail[-1] == "worker000 bootstrap: bootstrap.sh: the sandbox was [hidden] fail here"
    wanted = ((Phase.LOGS, "done"), (Phase.RENT, "failed"), (Phase.DELETE, "start"))
    told = [event for event in events if event in wanted]  # it is given back, replaced, and fails again
    assert told == [*wanted[:2], *wanted[:2], wanted[2]]
    text = kept(error)
    assert text.startswith("Cluster 'fails' (")
    assert "===== worker000, cloud-init =====\n[cloud-init has written no log here]\n" in text
    assert "===== worker000, bootstrap =====\nphase hostkey start\n" in text
    assert "phase tls start\nbootstrap.sh: the sandbox was [hidden] fail here\n" in text
    assert "===== worker000, dask =====\n[Dask has not been started here]\n" in text
    assert "scheduler" not in text
    assert "told to" not in text
    assert modes(around.home / "failures") == [0o700, 0o600]


async def test_worker_that_never_joins(stage: SandboxThread, around: Settings) -> None:
    """Of a worker that does not come, Dask's log is shown, and the scheduler's with it."""
    stage.set_faults(Faults(hosts=(HostFault(server="*worker000", how="never_joins"),)))
    error = await fails(around, WaitTimeout, join=0.5)
    assert any(line.startswith("worker000 dask: worker worker000 looks for tls://") for line in error.log_tail)
    assert any(line.startswith("scheduler dask: scheduler at tls://") for line in error.log_tail)
    assert error.phase == "proof"
    assert kept(error).count("=====\nphase hostkey start\n") == 2 * 2  # the worker was made anew


async def test_node_that_says_nothing(stage: SandboxThread, around: Settings) -> None:
    """A node that does not answer in time keeps the deletion no longer, and the file says that it did not."""
    stage.set_faults(Faults(hosts=(_BROKEN, _SILENT)))
    error = await fails(around, BootstrapFailed, logs=0.5)
    assert "bootstrap.sh: the sandbox was [hidden] fail here" in error.log_tail[-1]  # it was heard before
    assert "on worker000 did not happen within 0.5 s]" in kept(error)


async def test_interrupted_meanwhile(stage: SandboxThread, around: Settings) -> None:
    """An interrupt while logs are fetched goes on to the deletion at once, however long they may take."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def listen(event: Event) -> None:
        if event.phase == Phase.LOGS:
            loop.call_soon_threadsafe(begun.set)

    spec = ClusterSpec(prefix="fails", workers=1, timeouts=evolve(SHORT, logs=3600))
    stage.set_faults(Faults(hosts=(_BROKEN, _SILENT)))
    task = asyncio.create_task(Cluster.from_new(spec, settings=around, listen=listen))
    async with asyncio.timeout(60):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (held(around), folders(around)) == ([], [])
    assert "failures" not in [path.name for path in around.home.iterdir()]


async def test_node_that_never_answers(stage: SandboxThread, around: Settings) -> None:
    """Of a machine that never takes SSH there are no logs, and that is said."""
    stage.set_faults(Faults(dead=("*worker000",)))
    error = await fails(around, NodeUnreachable, reach=3, logs=1)
    assert (error.node, error.phase) == ("worker000", "reach")
    assert [line.partition("[")[0] for line in error.log_tail] == ["worker000 bootstrap: "]
    assert kept(error).count("=====\n[Node worker000 cannot be reached over SSH at ") == 2 * 3


def test_what_was_kept_stays(tmp_path: Path) -> None:
    """What nodes have logged that were replaced stands before what comes later of the same cluster."""
    for text in ("one\n", "two\n"):
        path = keep_log(tmp_path, "x", text)
    assert path is not None
    assert path.read_text(encoding="utf-8") == "one\n\n\ntwo\n"


def test_ten_are_kept(tmp_path: Path) -> None:
    """The newest files are kept, and one that cannot be written is no error."""
    begin_s = time.time() - 100
    for number in range(12):
        path = keep_log(tmp_path / "home", f"{number:02}", f"Störung {number}\n")
        assert path is not None
        os.utime(path, (begin_s + number, begin_s + number))
    names = sorted(path.name for path in (tmp_path / "home" / "failures").iterdir())
    assert names == [f"{number:02}.log" for number in range(2, 12)]
    assert path is not None
    assert path.read_text(encoding="utf-8") == "Störung 11\n"
    (tmp_path / "taken").write_text("", encoding="utf-8")
    assert keep_log(tmp_path / "taken", "x", "") is None
