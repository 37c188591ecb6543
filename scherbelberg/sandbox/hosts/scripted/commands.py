# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a scripted host does with a command line: it knows exactly those that the product sends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path, PurePosixPath
from typing import Any

from scherbelberg.sandbox.hosts.scripted import logs
from scherbelberg.sandbox.hosts.scripted.host import PAYLOAD, HostState, NodeSettings
from scherbelberg.sandbox.hosts.scripted.phases import Phases
from scherbelberg.sandbox.hosts.scripted.session import ScriptFailed, Session
from scherbelberg.sandbox.hosts.sshd import Process

#: Notes that are older say nothing.
_STALE_S = 180
UNPACK = f"umask 077 && mkdir -p {PAYLOAD} && chmod 700 {PAYLOAD} && tar -x -p -f -"
#: Lets in whoever has the key on standard input.
ADMIT = """umask 077 && mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys && IFS= read -r line &&
{ grep -qxF -e "$line" ~/.ssh/authorized_keys ||
  { [ -z "$(tail -c 1 ~/.ssh/authorized_keys)" ] || echo; printf '%s\\n' "$line"; } >>~/.ssh/authorized_keys; }"""
SCRIPT = f"env LC_ALL=C.UTF-8 bash {PAYLOAD}/bootstrap.sh "

Command = Callable[[HostState, Session], Coroutine[Any, Any, None]]
#: Files whose content is nobody else's business.
_PRIVATE = ("node.env", "work.env", "work.yaml")
_PRIVATE_MODE = 0o600
_MODES = (_PRIVATE_MODE, 0o644, 0o755)
MOST_BYTES = 16 * 1024 * 1024


async def run_command(host: HostState, process: Process) -> int:
    """Play a session.

    Args:
        host: The host.
        process: The session.

    Returns:
        The exit status.
    """
    session, line = Session(process), process.command or ""
    if line == UNPACK:
        return await _unpack(host, session, process)
    if line == ADMIT:
        return await _add_key(host, process)
    if wanted := logs.parse_request(line):
        return await _show(wanted, host, process)
    return await _run_script(line, host, session)


async def _run_script(line: str, host: HostState, session: Session) -> int:
    command = _COMMANDS.get(line.removeprefix(SCRIPT)) if line.startswith(SCRIPT) else None
    if command is None:
        session.note(
            f"sandbox: a scripted host does not play {line!r}" if line else "sandbox: a scripted host has no shell"
        )
        return 127
    if not (host.payload / "bootstrap.sh").exists():
        session.note(f"bash: {PAYLOAD}/bootstrap.sh: No such file or directory")
        return 127
    try:
        await command(host, session)
    except (ScriptFailed, OSError) as error:
        # Whoever lost the connection as well hears nothing of it, and ends of it, as with a broken pipe.
        with contextlib.suppress(OSError):
            session.fail(str(error), word=error.word if isinstance(error, ScriptFailed) else ScriptFailed.word)
        return 1
    return 0


async def _unpack(host: HostState, session: Session, process: Process) -> int:
    archive = bytearray()
    while len(archive) <= MOST_BYTES and (data := await process.stdin.read(MOST_BYTES)):
        archive += data
    try:
        unpack(bytes(archive), host.home)
    except ValueError as error:
        session.note(f"tar: {error}")
        return 2
    return 0


async def _add_key(host: HostState, process: Process) -> int:
    line = await process.stdin.readline()
    if not line.endswith(b"\n"):
        return 1
    file = host.home / ".ssh/authorized_keys"
    known = file.read_bytes().splitlines()
    if line[:-1] not in known:
        file.write_bytes(b"".join(key + b"\n" for key in (*known, line[:-1])))
    return 0


@contextlib.asynccontextmanager
async def _alone(host: HostState, settings: NodeSettings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.wait_s):
            await host.busy.acquire()
    except TimeoutError:
        raise ScriptFailed("another run of this script is still busy on this machine") from None
    try:
        yield
    finally:
        host.busy.release()


def _load_node(host: HostState) -> NodeSettings:
    if not host.installed.exists():
        raise ScriptFailed(f"this machine is not a node yet: it has no {host.installed}")
    return host.read_settings(host.installed)


async def _up(host: HostState, session: Session) -> None:
    session.phase = "hostkey"
    session.record = host.record
    settings = host.read_settings(host.payload / "node.env")
    async with _alone(host, settings):
        await Phases(host, session, settings).run()


async def _settle(host: HostState, session: Session) -> None:
    session.phase = "hostkey"
    settings = _load_node(host)
    if not (host.host_key_words()[2:] == [settings.mark] and host.drop_in.exists()):
        raise ScriptFailed("the planted host keys stay: this node has no other one yet")
    for planted in (host.root / "etc/ssh").glob("ssh_host_*"):
        planted.unlink()


async def _start(host: HostState, session: Session) -> None:
    settings = _load_node(host)
    async with _alone(host, settings):
        if not host.service.running:
            host.start_service(settings)


async def _stop(host: HostState, session: Session) -> None:
    if host.installed.exists():
        async with _alone(host, _load_node(host)):
            await host.service.stop()


async def _status(host: HostState, session: Session) -> None:
    session.print("running" if host.installed.exists() and host.service.running else "stopped")


async def _show(wanted: logs.LogRequest, host: HostState, process: Process) -> int:
    if host.faults.has("no_logs"):
        await asyncio.Event().wait()  # until the client has no more patience
    return await logs.print_log(wanted, _log(host, wanted.source), process)


def _log(host: HostState, source: str) -> logs.Log:
    if source == "cloud-init":
        return logs.read_log(host.root / "var/log/cloud-init.log")
    return host.service.log if source == "dask" else host.record


async def _idle(host: HostState, session: Session) -> None:
    _load_node(host)
    try:
        looked, since = (time.time() - float(word) for word in host.activity.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        looked, since = math.inf, 0.0
    session.print("unknown" if looked > _STALE_S else str(max(0, int(since))))


_COMMANDS: dict[str, Command] = {
    "up": _up,
    "settle": _settle,
    "start": _start,
    "stop": _stop,
    "status": _status,
    "idle": _idle,
}


def unpack(archive: bytes, home: Path) -> None:
    """Unpack an archive of plain files, all of them or none.

    Args:
        archive: It.
        home: Root's home; the files go into the payload's folder there.

    Raises:
        ValueError: It is no archive, or one with anything else in it, or with a file's mode wrong.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            files = [(_checked(entry), _content(tar, entry)) for entry in tar]
    except tarfile.TarError as error:
        raise ValueError(f"this does not look like a tar archive: {error}") from None
    (home / PAYLOAD).mkdir(mode=0o700, exist_ok=True)
    (home / PAYLOAD).chmod(0o700)
    for entry, content in files:
        _write(home / entry.name, content, entry.mode)


def _checked(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    parts = PurePosixPath(entry.name).parts
    if not entry.isreg():
        raise ValueError(f"{entry.name}: not a plain file")
    if ".." in parts or len(parts) < 2 or parts[0] != PAYLOAD:
        raise ValueError(f"{entry.name}: not below {PAYLOAD}")
    allowed = (_PRIVATE_MODE,) if parts[-1] in _PRIVATE else _MODES
    if entry.mode not in allowed:
        raise ValueError(f"{entry.name}: the mode {entry.mode:o} is wrong for it")
    return entry


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return b"" if file is None else file.read()


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
