# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Two users make clusters of one name in one project at the same time: one gets it, and neither harms the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from description import Witness
from surroundings import SHORT, folders, held, settings_for

from scherbelberg import Cluster, ClusterSpec, Event, Phase
from scherbelberg.errors import ClusterExists, ExitCode, NameTaken, ScherbelbergError
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

SPEC = ClusterSpec(prefix="same", workers=1, timeouts=SHORT)
#: What becomes of requests for the one thing whose name decides who gets it.
MISHAPS: dict[str, tuple[RequestFault, ...]] = {
    "none": (),
    "the first is slow": (RequestFault(method="POST", path="/networks", how="slow", slow_s=0.5),),
    "the first is lost": (RequestFault(method="POST", path="/networks", how="drop_before"),),
    "the first is not answered": (RequestFault(method="POST", path="/networks", how="drop_after"),),
    "both are not answered": (RequestFault(method="POST", path="/networks", how="drop_after", times=2),),
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SandboxThread]:
    """A cloud with scripted hosts."""
    witness = Witness()
    options = Options(hosts="scripted", time_scale=0.02)
    with SandboxThread(tmp_path / "project", options, witness=witness) as sandbox:
        yield sandbox
    assert witness.complaints == []


@pytest.fixture
def users(project: SandboxThread, tmp_path: Path) -> list[Settings]:
    """Two users, each with a computer of their own."""
    return [settings_for(project, tmp_path / name, owner=f"{name}_at_desk") for name in ("anna", "ben")]


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_race(project: SandboxThread, users: list[Settings], mishap: str) -> None:
    """Whoever asks first for the network gets the cluster; the other one is told whose it is, and leaves it alone."""
    # So slow that both have looked and seen nothing before one of them makes anything.
    project.set_faults(Faults(slow_s=0.1, requests=MISHAPS[mishap]))
    made = await asyncio.gather(
        *(Cluster.from_new(SPEC, settings=user) for user in users),
        return_exceptions=True,
    )
    project.set_faults(Faults())
    (winner,) = [number for number, one in enumerate(made) if isinstance(one, Cluster)]
    cluster, refused = made[winner], made[1 - winner]
    assert isinstance(cluster, Cluster)
    assert isinstance(refused, NameTaken)
    assert (refused.exit_code, users[winner].owner in refused.message) == (ExitCode.EXISTS, True)
    assert folders(users[winner]) == [f"same-{cluster.uid}"]
    assert folders(users[1 - winner]) == []
    assert len(held(users[0])) == 5
    async with await cluster.get_client(asynchronous=True) as client:
        assert await client.submit(sum, [1, 2]) == 3
    await cluster.destroy()
    assert held(users[0]) == []


@pytest.mark.parametrize("phase", [Phase.NETWORK, Phase.REACH, Phase.PROOF])
async def test_later(project: SandboxThread, users: list[Settings], phase: Phase) -> None:
    """Who comes while the other's is being made is told so, and deletes nothing of it, not even by giving up."""
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (phase, "start"):
            loop.call_soon_threadsafe(begun.set)

    first = asyncio.create_task(Cluster.from_new(SPEC, settings=users[0], listen=listen))
    await asyncio.wait_for(begun.wait(), 60)
    with pytest.raises((ClusterExists, NameTaken), match="anna_at_desk"):
        await Cluster.from_new(SPEC, settings=users[1])
    cluster = await first
    with pytest.raises(ScherbelbergError, match="its keys are not on this computer"):
        await Cluster.from_existing("same", settings=users[1])
    await cluster.destroy()
    assert (held(users[0]), folders(users[0]), folders(users[1])) == ([], [], [])
