# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whatever goes wrong while a cluster is made: the project is empty afterwards, and so is the folder on this computer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil
import pytest
from surroundings import SHORT, folders, held

from scherbelberg import Cluster, ClusterSpec, Event, Phase
from scherbelberg.errors import (
    BootstrapFailed,
    CloudError,
    NodeUnreachable,
    ScherbelbergError,
    TokenRefused,
    WaitTimeout,
)
from scherbelberg.sandbox.server import Faults, SandboxThread, sandbox_id
from scherbelberg.sandbox.system import marked
from scherbelberg.settings import Settings

#: More requests than a create of this size sends.
FAR = 60


def small(settings: Settings) -> ClusterSpec:
    """The smallest cluster there is."""
    return ClusterSpec(prefix="undo", workers=1, network_range=settings.network_range, timeouts=SHORT)


def when(phase: Phase, state: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """A listener that acts once, at an event."""
    done: list[Event] = []

    def listen(event: Event) -> None:
        if (event.phase, event.state) == (phase, state) and not done:
            done.append(event)
            act()

    return listen


async def test_each_request_fails_once(sandbox: SandboxThread, settings: Settings) -> None:
    """Whichever request of a create is refused: nothing is left, and the error says which request it was."""
    for number in range(1, FAR):
        sandbox.set_faults(Faults(fail_request=number))
        try:
            cluster = await Cluster.from_new(small(settings), settings=settings)
        except TokenRefused as error:
            sandbox.set_faults(Faults())
            assert "was told to fail this request" in error.message
            assert held(settings) == [], f"after the failure of request {number}"
            assert folders(settings) == [], f"after the failure of request {number}"
        else:
            sandbox.set_faults(Faults())
            await cluster.destroy()
            assert number > 15
            return  # that request was never sent: all have been tried
    pytest.fail(f"a create sends more than {FAR} requests")


@pytest.mark.parametrize(
    "phase", [Phase.NETWORK, Phase.RENT, Phase.REACH, Phase.ENVIRONMENT, Phase.SERVICE, Phase.PROOF]
)
async def test_cancelled_in_any_phase(sandbox: SandboxThread, settings: Settings, phase: Phase) -> None:
    """A task that is cancelled gives everything back before the cancellation is raised."""
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    listen = when(phase, "start", lambda: loop.call_soon_threadsafe(begun.set))
    task = asyncio.create_task(Cluster.from_new(small(settings), settings=settings, listen=listen))
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held(settings) == []
    assert folders(settings) == []
    assert hosts_processes(sandbox) == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
async def test_listener_that_raises(sandbox: SandboxThread, settings: Settings, error: BaseException) -> None:
    """An error in a listener of the user's ends the create like any other, even one that is no Exception."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await Cluster.from_new(small(settings), settings=settings, listen=when(Phase.TLS, "start", fail))
    assert held(settings) == []
    assert folders(settings) == []


def hosts_processes(sandbox: SandboxThread) -> list[psutil.Process]:
    """All processes on the sandbox's hosts, wherever they were forked to."""
    return list(marked(f"{sandbox_id(sandbox.sandbox._folder)}."))
