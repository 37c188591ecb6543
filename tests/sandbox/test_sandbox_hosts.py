# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts of the sandbox: their first boot, who may log in, host keys, reboot, power and end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from pathlib import Path

import asyncssh
import pytest
from sandbox_helpers import (
    WITHIN_S,
    Api,
    Machine,
    cloud_config,
    commands,
    new_key,
    public,
    rent,
    run,
    running,
    wait_for_ssh,
)

from scherbelberg.concurrency.waiting import until
from scherbelberg.environments.interpreter import own_versions
from scherbelberg.environments.versions import baked_digest
from scherbelberg.sandbox.server import SandboxThread


async def test_first_boot(machine: Machine) -> None:
    """A host is laid out as the image and the user data say, with private modes where they matter."""
    root = machine.root
    link = (root / "opt/scherbelberg/env").readlink()
    assert link == Path("envs") / baked_digest(own_versions())
    assert (root / "opt/scherbelberg" / link).readlink() == Path(sys.prefix)
    assert [path.name for path in sorted((root / "etc/ssh").glob("ssh_host_*"))] == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    for name in ("etc/ssh/ssh_host_ed25519_key", "root/.ssh/authorized_keys"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600
    assert (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").strip() == public(machine.host_key)


async def test_environment_of_commands(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands see their host, the client's locale and what Python needs, and nothing else of the sandbox's."""
    monkeypatch.setenv("HCLOUD_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/modules")
    sent = {"LANG": "de_DE.UTF-8", "LC_ALL": "C.UTF-8", "FOO": "bar"}
    done = await run(machine, "pwd; env -0", env=sent)
    where, _, rest = str(done.stdout).partition("\n")
    environment = dict(row.split("=", 1) for row in rest.split("\0") if row)
    home = str(machine.root / "root")
    assert where == home == environment["HOME"]
    assert environment["SCHERBELBERG_SYSROOT"] == str(machine.root)
    assert environment["SCHERBELBERG_SANDBOX_HOST"].endswith(f".{machine.row['id']}")
    assert (environment["USER"], environment["LOGNAME"]) == ("root", "root")
    assert environment["TMPDIR"] == str(machine.root / "tmp")
    own, *_, last = environment["PATH"].split(os.pathsep)
    assert own == str(machine.root / "usr/bin")
    made = await run(machine, f"'{last}/ssh-keygen' -q -t ed25519 -N '' -C mark -f made && cat made.pub")
    assert str(made.stdout).endswith(" mark\n")
    assert (environment["LANG"], environment["LC_ALL"]) == ("de_DE.UTF-8", "C.UTF-8")
    assert environment["PYTHONPATH"] == "/modules"
    assert not {"FOO", "HCLOUD_TOKEN", "VIRTUAL_ENV"} & set(environment)


async def test_logins_that_are_refused(machine: Machine) -> None:
    """Strangers' keys, other users, passwords and wrong host keys get nowhere."""
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(client_keys=[new_key()])
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(username="nobody")
    with pytest.raises(asyncssh.PermissionDenied):
        await machine.connect(client_keys=[], password="secret")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await machine.connect(known_hosts=([new_key().convert_to_public()], [], []))


async def test_authorized_keys_are_read_for_each_login(own: Machine) -> None:
    """A key that was added lets its owner in at once, and one that was removed does not."""
    other = new_key()
    file = own.root / "root/.ssh/authorized_keys"
    file.write_text(public(other) + "\n", encoding="utf-8")
    async with own.connect(client_keys=[other]) as connection:
        assert (await connection.run("true")).exit_status == 0
    with pytest.raises(asyncssh.PermissionDenied):
        await own.connect()


async def test_host_keys_change_on_reload_alone(own: Machine) -> None:
    """A new host key counts from `systemctl reload ssh` on, and sshd's other calls are refused loudly."""
    new = new_key()
    etc = own.root / "etc/ssh"
    (etc / "own_key").write_bytes(new.export_private_key())
    (etc / "sshd_config.d/10-own.conf").write_text("HostKey /etc/ssh/own_key\n", encoding="utf-8")
    async with own.connect() as connection:
        refused = await connection.run("systemctl restart ssh")
        assert refused.exit_status == 1
        assert "not been booted with systemd" in str(refused.stderr)
    async with own.connect() as connection:
        assert (await connection.run("systemctl reload ssh")).exit_status == 0
        assert (await connection.run("true")).exit_status == 0
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await own.connect()
    async with own.connect(known_hosts=([new.convert_to_public()], [], [])) as connection:
        await connection.run('rm -f "$SCHERBELBERG_SYSROOT"/etc/ssh/*_key')
        keyless = await connection.run("systemctl reload ssh")
    assert keyless.exit_status == 1
    assert "no hostkeys" in str(keyless.stderr)


async def test_host_keys_are_generated_without_user_data(
    emulated: SandboxThread, api: Api, emulated_folder: Path
) -> None:
    """A host that was given no key makes its own, and keys of the user data let root in besides the project's."""
    born = await asyncio.to_thread(rent, api, emulated_folder, user_data=None)
    key = asyncssh.read_public_key(str(born.root / "etc/ssh/ssh_host_ed25519_key.pub"))
    async with born.connect(known_hosts=([key], [], [])) as connection:
        assert (await connection.run("true")).exit_status == 0
    extra = new_key()
    data = cloud_config(ssh_authorized_keys=[public(extra)])
    second = await asyncio.to_thread(rent, api, emulated_folder, user_data=data)
    async with second.connect(client_keys=[extra], known_hosts=None) as connection:
        assert (await connection.run("true")).exit_status == 0
    await asyncio.to_thread(born.remove)
    await asyncio.to_thread(second.remove)


async def test_reboot(own: Machine) -> None:
    """A reboot ends everything, forgets what is volatile, keeps what is not, and brings back sshd alone."""
    daemonize = "setsid bash -c 'trap \"\" TERM; while :; do sleep 1000; done' >/dev/null 2>&1 </dev/null &"
    async with own.connect() as connection:
        touched = await connection.run('touch kept "$TMPDIR/gone" "$SCHERBELBERG_SYSROOT/run/gone"')
        assert touched.exit_status == 0
        await connection.run(daemonize)
        await until(lambda: running(own, "sleep"), every_s=0.02, within_s=WITHIN_S, what="the daemon")
        action = own.api("POST", f"/servers/{own.row['id']}/actions/reboot").body["action"]
        assert action["command"] == "reboot_server"
        await asyncio.wait_for(connection.wait_closed(), WITHIN_S)
    await asyncio.to_thread(own.api.done, action)
    await asyncio.to_thread(wait_for_ssh, own)
    assert commands(own) == []
    async with own.connect() as connection:
        listing = await connection.run('ls; ls "$TMPDIR" "$SCHERBELBERG_SYSROOT/run"')
    assert "kept" in str(listing.stdout)
    assert "gone" not in str(listing.stdout)
    await asyncio.to_thread(own.remove)


def test_power_off_and_delete(own: Machine) -> None:
    """A machine that is off refuses connections, and one that is deleted leaves no file."""
    path = f"/servers/{own.row['id']}"
    own.api.done(own.api("POST", f"{path}/actions/poweroff").body["action"])
    assert own.api("GET", path).body["server"]["status"] == "off"
    with socket.socket() as probe:
        assert probe.connect_ex((own.ip, own.port)) != 0
    own.api.done(own.api("POST", f"{path}/actions/poweron").body["action"])
    wait_for_ssh(own)
    own.remove()
    assert own.api("GET", path).status == 404
    assert not own.root.exists()


def test_machine_with_sessions_is_deleted(emulated: SandboxThread, own: Machine) -> None:
    """A machine with open sessions and many processes is gone when its deletion says so."""

    async def delete_under_way() -> None:
        async with own.connect() as connection:
            for _ in range(3):
                process = await connection.create_process("echo up; (sleep 1000 & sleep 1000) & cat")
                await asyncio.wait_for(process.stdout.readline(), WITHIN_S)
            await asyncio.to_thread(own.remove)
            await asyncio.wait_for(connection.wait_closed(), WITHIN_S)

    asyncio.run(delete_under_way())
    assert commands(own) == []
    assert not own.root.exists()
