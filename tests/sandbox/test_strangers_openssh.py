# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""OpenSSH's programs as strangers that log into hosts of the sandbox."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import asyncssh
import pytest
from programs import need
from sandbox_helpers import WITHIN_S, Machine, new_key, public, unique

from scherbelberg.concurrency.waiting import until
from scherbelberg.sandbox.addresses import free_port

_PACKAGE = "openssh-client"


def command(
    machine: Machine,
    folder: Path,
    program: str,
    *words: str,
    identity: asyncssh.SSHKey | None = None,
    known: Sequence[asyncssh.SSHKey] | None = None,
) -> list[str]:
    """The command line of a program of OpenSSH that knows one key and one host.

    Args:
        machine: The host.
        folder: Where its files lie.
        program: Its name.
        words: What follows its options.
        identity: Who logs in; by default, who may.
        known: The keys that the host is known by; by default, its own.
    """
    files = folder / unique("openssh")
    files.mkdir()
    key, hosts = files / "identity", files / "known_hosts"
    key.write_bytes((identity or machine.key).export_private_key())
    key.chmod(0o600)
    rows = [
        f"[{machine.ip}]:{machine.port} {public(one)}\n" for one in ([machine.host_key] if known is None else known)
    ]
    hosts.write_text("".join(rows), encoding="utf-8")
    options = {
        "UserKnownHostsFile": f'"{hosts}"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "IdentityFile": f'"{key}"',
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "Port": str(machine.port),
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    # The configuration of who runs the tests must not matter.
    return [need(program, package=_PACKAGE), "-F", "none", *flags, *words]


def run(line: Sequence[str], sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    return subprocess.run(line, input=sent, capture_output=True, timeout=WITHIN_S, check=False)


def test_ssh(machine: Machine, tmp_path: Path) -> None:
    """It logs in at root's home, and passes input, output, errors and the exit status on."""
    done = run(command(machine, tmp_path, "ssh", f"root@{machine.ip}", "pwd; cat; echo oops >&2; exit 3"), b"sent")
    assert (done.returncode, done.stderr) == (3, b"oops\n")
    assert done.stdout == f"{machine.root / 'root'}\nsent".encode()


def test_ssh_terminal(machine: Machine, tmp_path: Path) -> None:
    """It gets a terminal where it asks for one, and none where it does not."""
    asked = "[ -t 0 ] && [ -t 1 ] && tty; exit 4"
    done = run(command(machine, tmp_path, "ssh", "-tt", f"root@{machine.ip}", asked))
    assert (done.returncode, done.stdout[:9]) == (4, b"/dev/pts/")
    done = run(command(machine, tmp_path, "ssh", f"root@{machine.ip}", asked))
    assert (done.returncode, done.stdout) == (4, b"")


def test_ssh_refused_by_the_host(machine: Machine, tmp_path: Path) -> None:
    """Another key opens nothing, and a key is all that it is asked for."""
    done = run(command(machine, tmp_path, "ssh", f"root@{machine.ip}", "echo in", identity=new_key()))
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr.decode().strip().endswith("Permission denied (publickey).")


@pytest.mark.parametrize("known", [0, 1], ids=["unknown", "impostor"])
@pytest.mark.parametrize("program", ["ssh", "scp"])
def test_refusing_the_host(machine: Machine, tmp_path: Path, program: str, known: int) -> None:
    """A host whose key is unknown, or another's, is told nothing."""
    words = {"ssh": [f"root@{machine.ip}", "echo in"], "scp": [f"root@{machine.ip}:.bashrc", str(tmp_path / "got")]}
    keys = [new_key() for _ in range(known)]
    done = run(command(machine, tmp_path, program, *words[program], known=keys))
    assert (done.returncode != 0, done.stdout) == (True, b"")
    assert b"Host key verification failed." in done.stderr
    assert not (tmp_path / "got").exists()


#: Of today, by SFTP, and the one of old.
PROTOCOLS = pytest.mark.parametrize("protocol", ["-s", "-O"])


@PROTOCOLS
def test_scp(machine: Machine, tmp_path: Path, protocol: str) -> None:
    """It says that it succeeded when it did, and that it failed when it did."""
    source, back, name = tmp_path / "source", tmp_path / "back", unique("file")
    source.write_bytes(os.urandom(100_000))
    up = run(command(machine, tmp_path, "scp", protocol, str(source), f"root@{machine.ip}:{name}"))
    assert (up.returncode, up.stderr) == (0, b"")
    assert (machine.root / "root" / name).read_bytes() == source.read_bytes()
    down = run(command(machine, tmp_path, "scp", protocol, f"root@{machine.ip}:{name}", str(back)))
    assert (down.returncode, down.stderr) == (0, b"")
    assert back.read_bytes() == source.read_bytes()
    missing = run(command(machine, tmp_path, "scp", protocol, f"root@{machine.ip}:missing", str(back)))
    assert missing.returncode != 0
    assert b"missing" in missing.stderr


@PROTOCOLS
def test_scp_folders(machine: Machine, tmp_path: Path, protocol: str) -> None:
    """Folders go there and come back whole, with modes and times."""
    source, name = tmp_path / "source", unique("folder")
    (source / "in side").mkdir(parents=True)
    script = source / "in side" / "täglich.sh"
    script.write_text("echo hi\n", encoding="utf-8")
    script.chmod(0o750)
    os.utime(script, (1_500_000_000, 1_500_000_000))
    for words in ([str(source), f"root@{machine.ip}:{name}"], [f"root@{machine.ip}:{name}", str(tmp_path / "back")]):
        done = run(command(machine, tmp_path, "scp", protocol, "-r", "-p", *words))
        assert (done.returncode, done.stderr) == (0, b"")
    for folder in (machine.root / "root" / name, tmp_path / "back"):
        copy = folder / "in side" / "täglich.sh"
        assert copy.read_text(encoding="utf-8") == "echo hi\n"
        assert (stat.S_IMODE(copy.stat().st_mode), int(copy.stat().st_mtime)) == (0o750, 1_500_000_000)


async def test_forwarding(machine: Machine, tmp_path: Path) -> None:
    """A port of this computer leads to where the host can connect, to the end of both directions."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async def probe() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", local)
        except OSError:
            return None

    server, local = await asyncio.start_server(echo, "127.0.0.1", 0), free_port()
    far = server.sockets[0].getsockname()[1]
    words = ["-o", "ExitOnForwardFailure=yes", "-N", "-L", f"127.0.0.1:{local}:127.0.0.1:{far}", f"root@{machine.ip}"]
    async with server:
        ssh = await asyncio.create_subprocess_exec(*command(machine, tmp_path, "ssh", *words))
        try:
            reader, writer = await until(probe, every_s=0.01, within_s=WITHIN_S, what="the forwarded port")
            writer.write(b"there and back")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), WITHIN_S) == b"there and back"
            writer.close()
        finally:
            ssh.terminate()
            await ssh.wait()
