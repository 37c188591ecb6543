# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Sessions on hosts of the sandbox: streams, signals, terminals, files, forwarding."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path

import asyncssh
from sandbox_helpers import (
    WITHIN_S,
    Machine,
    commands,
    run,
    running,
)

from scherbelberg.concurrency.waiting import until


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
