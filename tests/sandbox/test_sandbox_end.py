# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The end of a sandbox on a thread, also where its hosts do not end as they should."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scherbelberg.errors import SandboxFailed
from scherbelberg.sandbox import server
from scherbelberg.sandbox.addresses import claim
from scherbelberg.sandbox.hosts.scripted.driver import ScriptedHosts
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import Sandbox, SandboxThread

_SCRIPTED = Options(hosts="scripted", time_scale=0.02)


@contextmanager
def stubborn_hosts() -> Iterator[None]:
    """Hosts that are said not to have ended, as those are on a computer that has too much to do."""
    close = ScriptedHosts.close

    async def close_in_vain(self: ScriptedHosts) -> None:
        await close(self)
        raise SandboxFailed("The end of all processes marked x was not reached.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptedHosts, "close", close_in_vain)
        yield


def test_hosts_that_do_not_end(tmp_path: Path) -> None:
    """Hosts that do not end are told of, and all else is given back: the port, the number, the folder."""
    running = SandboxThread(tmp_path / "sandbox", _SCRIPTED)
    with pytest.raises(SandboxFailed, match="marked x was not reached"), stubborn_hosts(), running:
        pass
    endpoint = urlsplit(running.settings.endpoint)
    number = IPv4Address(str(endpoint.hostname)).packed[1] - 64
    with pytest.raises(ConnectionRefusedError), socket.create_connection((endpoint.hostname, endpoint.port), 20):
        pass
    again = claim(number)
    again.close()
    assert again.number == number
    assert not (tmp_path / "sandbox").exists()


def test_other_errors_come_first(tmp_path: Path) -> None:
    """What went wrong in the block is what is raised."""
    with (
        pytest.raises(KeyError, match="mine"),
        stubborn_hosts(),
        SandboxThread(tmp_path / "sandbox", _SCRIPTED),
    ):
        raise KeyError("mine")


def test_start_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox whose start nobody waits for any more ends by itself."""
    monkeypatch.setattr(server, "_START_S", 0.0)
    start, is_given_up = Sandbox.start, threading.Event()

    async def start_late(self: Sandbox) -> None:
        await asyncio.to_thread(is_given_up.wait, 20)
        await start(self)

    monkeypatch.setattr(Sandbox, "start", start_late)
    before = set(threading.enumerate())
    late = SandboxThread(tmp_path / "sandbox", _SCRIPTED)
    with pytest.raises(SandboxFailed, match="did not start within 0 s"), late:
        pass
    is_given_up.set()
    late._thread.join(20)  # before the others, of which one may be just starting: it ends after them
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert [thread for thread in threading.enumerate() if thread not in before] == []
    assert not (tmp_path / "sandbox").exists()
