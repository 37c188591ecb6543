# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts with real shells that go wrong: before anybody can log in, and in the middle of a script."""

from __future__ import annotations

import asyncio
import errno
import socket

import asyncssh
import pytest
from sandbox_helpers import WITHIN_S, Api, Machine, commands, run, running

from scherbelberg.concurrency.waiting import until
from scherbelberg.sandbox.faults import Faults, HostFault, HostFaultKind
from scherbelberg.sandbox.server import SandboxThread

#: What a script does, for this purpose.
SCRIPT = "echo '@phase environment start'; echo; echo '@phase tls start'; exec sleep 1000"


def ill(emulated: SandboxThread, machine: Machine, how: HostFaultKind) -> None:
    """Let something be wrong with a machine."""
    emulated.set_faults(Faults(hosts=(HostFault(server=machine.row["name"], how=how, phase="tls"),)))


async def test_mute(emulated: SandboxThread, machine: Machine, api: Api) -> None:
    """A mute host takes connections and says nothing, and is as it was when that is over."""
    ill(emulated, machine, "mute")
    with socket.create_connection((machine.ip, machine.port), WITHIN_S) as silent:
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.recv(1)
    emulated.set_faults(Faults())
    assert (await run(machine, "true")).exit_status == 0


async def test_wrong_key(emulated: SandboxThread, machine: Machine, api: Api) -> None:
    """A host with a wrong key is another one to its client, and is as it was when that is over."""
    ill(emulated, machine, "wrong_key")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await run(machine, "true")
    emulated.set_faults(Faults())
    assert (await run(machine, "true")).exit_status == 0


async def test_script_that_fails(emulated: SandboxThread, machine: Machine, api: Api) -> None:
    """A script that fails in a phase has told of it, and ends; other phases and hosts are spared."""
    emulated.set_faults(Faults(hosts=(HostFault(server="other", how="fails", phase="environment"),)))
    assert (await run(machine, "echo '@phase environment start'")).exit_status == 0
    ill(emulated, machine, "fails")
    ended = await run(machine, SCRIPT)
    assert str(ended.stdout).endswith("@phase tls start\n")
    assert ended.exit_signal is not None
    assert ended.exit_signal[0] == "KILL"


async def test_script_that_hangs(emulated: SandboxThread, own: Machine, api: Api) -> None:
    """A script that hangs says no more and does not end, and its machine can be deleted all the same."""
    ill(emulated, own, "hangs")
    async with own.connect() as connection:
        process = await connection.create_process(SCRIPT.replace("exec sleep 1000", "read -r; echo more"))
        said = await process.stdout.readuntil("tls start\n")
        assert "more" not in said
        process.stdin.write("\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.stdout.readline(), 0.3)
    await asyncio.to_thread(own.remove)
    assert commands(own) == []


async def test_machine_that_dies(emulated: SandboxThread, own: Machine, api: Api) -> None:
    """A machine that dies in a phase is gone all at once, with everything that ran there."""
    async with own.connect() as connection:
        await connection.run("setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
        await until(lambda: running(own, "sleep"), every_s=0.02, within_s=WITHIN_S, what="the daemon")
        ill(emulated, own, "dies")
        assert (await connection.run(SCRIPT)).exit_status is None

    async def is_dead() -> bool | None:
        return None if commands(own) else True

    await until(is_dead, every_s=0.02, within_s=WITHIN_S, what="the machine's end")
    with socket.socket() as probe:
        assert probe.connect_ex((own.ip, own.port)) == errno.ECONNREFUSED
    await asyncio.to_thread(own.remove)
