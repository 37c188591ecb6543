# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A create whose computer is suspended half-way: it goes on when it wakes, and undoes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import asyncssh
import pytest
from campaign_clients import Client, run
from campaign_draws import DEADLINES
from campaign_trials import Place, given_back, place

from scherbelberg.sandbox.hosts.sshd import Sshd

_TIMES = DEADLINES["scripted"]
#: Longer than each deadline of the create that all of it could wait for.
_STANDSTILL_S = 2 + max(_TIMES.request, _TIMES.cloud, _TIMES.rent, _TIMES.reach, _TIMES.bootstrap, _TIMES.join, 5)


@pytest.fixture(scope="module")
def connections() -> Iterator[set[asyncssh.SSHServerConnection]]:
    """Connections that the hosts of the module's cloud have taken."""
    found: set[asyncssh.SSHServerConnection] = set()
    remember = Sshd._remember

    def note(self: Sshd, connection: asyncssh.SSHServerConnection) -> None:
        found.add(connection)
        remember(self, connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sshd, "_remember", note)
        yield found


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, connections: set[asyncssh.SSHServerConnection]) -> Iterator[Place]:
    """A cloud of scripted hosts."""
    with place(tmp_path_factory.mktemp("campaign"), "scripted") as found:
        yield found


class _Standstill:
    """Stops a client at a moment for longer than its deadlines, and cuts its connections if wanted."""

    def __init__(self, moment: tuple[str, str], connections: set[asyncssh.SSHServerConnection], *, cuts: bool) -> None:
        self.happened = False
        self._moment = moment
        self._connections = connections
        self._cuts = cuts

    def __call__(self, client: Client, count: int) -> None:
        last = client.heard[-1] if count else ""
        if self.happened or isinstance(last, str) or (last.get("phase"), last.get("state")) != self._moment:
            return
        self.happened = True
        client.send(signal.SIGSTOP)
        time.sleep(_STANDSTILL_S)  # that it passes is all that is waited for
        if self._cuts:
            for connection in self._connections:
                connection._loop.call_soon_threadsafe(connection.abort)
        client.send(signal.SIGCONT)


@pytest.mark.parametrize(
    ("moment", "cuts"),
    [
        (("rent", "start"), False),
        (("reach", "done"), True),
        (("tls", "start"), False),
        (("service", "start"), True),
        (("proof", "start"), False),
        (("proof", "start"), True),
    ],
)
def test_create(
    cloud: Place, connections: set[asyncssh.SSHServerConnection], moment: tuple[str, str], cuts: bool
) -> None:
    """Whatever a create does while its computer is suspended for longer than all deadlines, it ends well."""
    home = f"home-{'-'.join(moment)}-{cuts}"
    stop = _Standstill(moment, connections, cuts=cuts)
    program = cloud.create(2, home=home)
    ended = run(program, within_s=cloud.within_s, act=stop)
    try:
        assert (ended.code, stop.happened) == (0, True), ended.text
        assert given_back(cloud, home=home) == ()
    finally:
        cloud.sweep()
