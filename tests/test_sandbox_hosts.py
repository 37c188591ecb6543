# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hosts of the sandbox: real logins, real processes, real ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
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
    unique,
    wait_for_ssh,
)

from scherbelberg.environment import lock_of
from scherbelberg.interpreter import own_versions
from scherbelberg.sandbox.server import SandboxThread, sandbox_id
from scherbelberg.sandbox.system import marked
from scherbelberg.waiting import until

SCALE = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name is not plain."""
    return tmp_path_factory.mktemp("hosts") / "größe und leer"


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[SandboxThread]:
    """A sandbox for all tests here."""
    with SandboxThread(folder, time_scale=SCALE) as thread:
        yield thread
    assert marked(f"{sandbox_id(folder)}.") == []
    assert not folder.exists()


@pytest.fixture(scope="module")
def api(sandbox: SandboxThread) -> Iterator[Api]:
    """Requests to it."""
    client = Api(sandbox.settings)
    yield client
    client.close()


@pytest.fixture(scope="module")
def machine(sandbox: SandboxThread, api: Api, folder: Path) -> Machine:
    """A machine for tests that leave it as it was."""
    return rent(api, folder)


@pytest.fixture
def own(sandbox: SandboxThread, api: Api, folder: Path) -> Machine:
    """A machine of the test's own."""
    return rent(api, folder)


async def test_first_boot(machine: Machine) -> None:
    """A host is laid out as the image and the user data say, with private modes where they matter."""
    root = machine.root
    assert (root / "opt/scherbelberg/env").readlink() == Path(sys.prefix)
    digest = (root / "opt/scherbelberg/env.digest").read_text(encoding="utf-8")
    assert digest == lock_of(own_versions()).digest + "\n"
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


async def test_streams_and_exit_status(machine: Machine) -> None:
    """Output, errors, input with its end, and the exit status pass through."""
    done = await run(machine, "cat; echo oops >&2; exit 7", input="täglich")
    assert (done.stdout, done.stderr, done.exit_status) == ("täglich", "oops\n", 7)
    gone = await run(machine, "no-such-command")
    assert gone.exit_status == 127
    shell = await run(machine, "", input="echo from a shell\n")
    assert shell.exit_status == 0
    async with machine.connect() as connection:
        process = await connection.create_process(input="echo from $0\n")
        assert (await process.wait()).stdout == f"from {shutil.which('bash')}\n"


async def test_large_streams(machine: Machine) -> None:
    """Megabytes both ways at once neither hang nor get lost."""
    blob = os.urandom(3 * 2**20)
    done = await run(machine, "cat", input=blob, encoding=None)
    assert done.stdout == blob
    ignored = await run(machine, "exec <&-; echo done", input=blob, encoding=None)
    assert ignored.stdout == b"done\n"


async def test_signals(machine: Machine) -> None:
    """A signal reaches the whole command, and the client learns of it."""
    async with machine.connect() as connection:
        process = await connection.create_process("echo ready; sleep 1000 & wait")
        await asyncio.wait_for(process.stdout.readline(), WITHIN_S)
        process.send_signal("TERM")
        done = await asyncio.wait_for(process.wait(), WITHIN_S)
    assert done.exit_signal
    assert done.exit_signal[0] == "TERM"

    async def none_left() -> bool | None:
        return None if "sleep" in commands(machine) else True

    await until(none_left, every_s=0.02, within_s=WITHIN_S, what="the end of the command's children")


async def test_terminal(machine: Machine) -> None:
    """A terminal is a real one: size, changes of size, control, and job control's signals."""
    async with machine.connect() as connection:
        process = await connection.create_process("exec bash --norc", term_type="xterm", term_size=(90, 30))
        process.stdin.write("PS1=; stty -echo; [[ -t 0 ]] && echo $TERM $(stty size)\n")
        assert await read_until(process, "xterm 30 90")
        process.change_terminal_size(120, 40)
        process.stdin.write("echo now $(stty size)\n")
        assert await read_until(process, "now 40 120")
        process.stdin.write("echo at $(ps -o tty= $$)\n")
        assert await read_until(process, "at pts/")
        process.stdin.write("sh -c 'echo fore''ground; exec sleep 1000'; echo interrup''ted\n")
        assert await read_until(process, "foreground")
        process.stdin.write("\x03")
        process.stdin.write("echo still he''re\n")
        shown = await read_until(process, "still here")
        assert "interrupted" not in shown
        process.stdin.write("exit 5\n")
        assert (await asyncio.wait_for(process.wait(), WITHIN_S)).exit_status == 5


async def read_until(process: asyncssh.SSHClientProcess[str], words: str) -> str:
    """Read what a terminal shows until some words come."""
    shown = ""
    async with asyncio.timeout(WITHIN_S):
        while words not in shown:
            shown += await process.stdout.read(1024)
    return shown


async def test_lost_connection(own: Machine) -> None:
    """A lost connection hangs up terminals; a daemon with streams of its own stays."""
    async with own.connect() as connection:
        process = await connection.create_process("echo up; exec sleep 1001", term_type="xterm")
        await asyncio.wait_for(process.stdout.readline(), WITHIN_S)
        await asyncio.wait_for(connection.run("nohup tail -f /dev/null >/dev/null 2>&1 </dev/null &"), WITHIN_S)
        await until(lambda: running(own, "tail"), every_s=0.02, within_s=WITHIN_S, what="the daemon")
        assert "sleep" in commands(own)

    async def only_the_daemon() -> bool | None:
        return True if commands(own) == ["tail"] else None

    await until(only_the_daemon, every_s=0.02, within_s=WITHIN_S, what="the end of the terminal's command")
    await asyncio.to_thread(own.remove)
    assert commands(own) == []


async def test_sftp(machine: Machine, tmp_path: Path) -> None:
    """Relative paths begin in root's home, absolute ones at the root of this computer, and modes are kept."""
    local = tmp_path / "payload"
    local.mkdir()
    (local / "script.sh").write_text("echo hi", encoding="utf-8")
    async with machine.connect() as connection, connection.start_sftp_client() as sftp:
        await sftp.put(str(local), "payload", recurse=True)
        await sftp.chmod("payload/script.sh", 0o700)
        assert await sftp.realpath(".") == str(machine.root / "root")
        assert await sftp.exists(str(machine.root / "root/payload/script.sh"))
        await sftp.symlink("script.sh", "payload/link")
        assert await sftp.readlink("payload/link") == "script.sh"
    assert stat.S_IMODE((machine.root / "root/payload/script.sh").stat().st_mode) == 0o700
    assert (await run(machine, "bash payload/link")).stdout == "hi\n"


def openssh(machine: Machine, tmp_path: Path, program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program of OpenSSH against a machine."""
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this computer")
    identity, known = tmp_path / "identity", tmp_path / "known_hosts"
    identity.write_bytes(machine.key.export_private_key())
    identity.chmod(0o600)
    known.write_text(f"[{machine.ip}]:{machine.port} {public(machine.host_key)}\n", encoding="utf-8")
    options = {
        "UserKnownHostsFile": f'"{known}"',
        "StrictHostKeyChecking": "yes",
        "IdentityFile": f'"{identity}"',
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "Port": str(machine.port),
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    # The configuration of who runs the tests must not matter.
    line = [program, "-F", "none", *flags, *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=WITHIN_S, check=False)


def test_openssh_ssh(machine: Machine, tmp_path: Path) -> None:
    """OpenSSH's client logs in, with and without a terminal, and passes the exit status on."""
    done = openssh(machine, tmp_path, "ssh", f"root@{machine.ip}", "pwd; exit 3")
    assert (done.returncode, done.stdout.decode().strip()) == (3, str(machine.root / "root"))
    done = openssh(machine, tmp_path, "ssh", "-tt", f"root@{machine.ip}", "tty; exit 4")
    assert done.returncode == 4
    assert done.stdout.startswith(b"/dev/")


@pytest.mark.parametrize("protocol", ["-s", "-O"])
def test_openssh_scp(machine: Machine, tmp_path: Path, protocol: str) -> None:
    """OpenSSH's scp says that it succeeded when it did, in both protocols, and that it failed when it did."""
    source, back, name = tmp_path / "source", tmp_path / "back", unique("file")
    source.write_bytes(os.urandom(100_000))
    up = openssh(machine, tmp_path, "scp", protocol, str(source), f"root@{machine.ip}:{name}")
    assert (up.returncode, up.stderr) == (0, b"")
    assert (machine.root / "root" / name).read_bytes() == source.read_bytes()
    down = openssh(machine, tmp_path, "scp", protocol, f"root@{machine.ip}:{name}", str(back))
    assert (down.returncode, down.stderr) == (0, b"")
    assert back.read_bytes() == source.read_bytes()
    assert openssh(machine, tmp_path, "scp", protocol, f"root@{machine.ip}:missing", str(back)).returncode != 0


async def test_forwarding(machine: Machine) -> None:
    """A connection is forwarded to where the host can connect, to its end."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, machine.connect() as connection:
        listener = await connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"there and back")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b"there and back"
        writer.close()
        await writer.wait_closed()
        listener.close()


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


async def test_host_keys_are_generated_without_user_data(sandbox: SandboxThread, api: Api, folder: Path) -> None:
    """A host that was given no key makes its own, and keys of the user data let root in besides the project's."""
    born = await asyncio.to_thread(rent, api, folder, user_data=None)
    key = asyncssh.read_public_key(str(born.root / "etc/ssh/ssh_host_ed25519_key.pub"))
    async with born.connect(known_hosts=([key], [], [])) as connection:
        assert (await connection.run("true")).exit_status == 0
    extra = new_key()
    data = cloud_config(ssh_authorized_keys=[public(extra)])
    second = await asyncio.to_thread(rent, api, folder, user_data=data)
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


def test_machine_with_sessions_is_deleted(sandbox: SandboxThread, own: Machine) -> None:
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
