# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a scripted host does with a command line: it knows exactly those that the product sends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from scherbelberg.sandbox.hosts.played import logs
from scherbelberg.sandbox.hosts.played.conversation import Conversation, Failed
from scherbelberg.sandbox.hosts.played.phases import Phases
from scherbelberg.sandbox.hosts.played.stage import NodeSettings, Stage
from scherbelberg.sandbox.hosts.played.unpacking import MOST_BYTES, PAYLOAD, unpack
from scherbelberg.sandbox.hosts.sshd import Process

#: Notes that are older say nothing.
_STALE_S = 180
UNPACK = f"umask 077 && mkdir -p {PAYLOAD} && chmod 700 {PAYLOAD} && tar -x -p -f -"
#: Lets in whoever has the key on standard input.
ADMIT = """umask 077 && mkdir -p ~/.ssh && touch ~/.ssh/authorized_keys && IFS= read -r line &&
{ grep -qxF -e "$line" ~/.ssh/authorized_keys ||
  { [ -z "$(tail -c 1 ~/.ssh/authorized_keys)" ] || echo; printf '%s\\n' "$line"; } >>~/.ssh/authorized_keys; }"""
SCRIPT = f"env LC_ALL=C.UTF-8 bash {PAYLOAD}/bootstrap.sh "

Command = Callable[[Stage, Conversation], Coroutine[Any, Any, None]]


async def play(stage: Stage, process: Process) -> int:
    """Play a session.

    Args:
        stage: The host.
        process: The session.

    Returns:
        The exit status.
    """
    talk, line = Conversation(process), process.command or ""
    if line == UNPACK:
        return await _unpack(stage, talk, process)
    if line == ADMIT:
        return await _admit(stage, process)
    if wanted := logs.read_line(line):
        return await _show(wanted, stage, process)
    return await _play_script(line, stage, talk)


async def _play_script(line: str, stage: Stage, talk: Conversation) -> int:
    command = _COMMANDS.get(line.removeprefix(SCRIPT)) if line.startswith(SCRIPT) else None
    if command is None:
        talk.note(
            f"sandbox: a scripted host does not play {line!r}" if line else "sandbox: a scripted host has no shell"
        )
        return 127
    if not (stage.payload / "bootstrap.sh").exists():
        talk.note(f"bash: {PAYLOAD}/bootstrap.sh: No such file or directory")
        return 127
    try:
        await command(stage, talk)
    except (Failed, OSError) as error:
        # Whoever lost the connection as well hears nothing of it, and ends of it, as with a broken pipe.
        with contextlib.suppress(OSError):
            talk.fail(str(error), word=error.word if isinstance(error, Failed) else Failed.word)
        return 1
    return 0


async def _unpack(stage: Stage, talk: Conversation, process: Process) -> int:
    archive = bytearray()
    while len(archive) <= MOST_BYTES and (data := await process.stdin.read(MOST_BYTES)):
        archive += data
    try:
        unpack(bytes(archive), stage.home)
    except ValueError as error:
        talk.note(f"tar: {error}")
        return 2
    return 0


async def _admit(stage: Stage, process: Process) -> int:
    line = await process.stdin.readline()
    if not line.endswith(b"\n"):
        return 1
    file = stage.home / ".ssh/authorized_keys"
    known = file.read_bytes().splitlines()
    if line[:-1] not in known:
        file.write_bytes(b"".join(key + b"\n" for key in (*known, line[:-1])))
    return 0


@contextlib.asynccontextmanager
async def _alone(stage: Stage, settings: NodeSettings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.wait_s):
            await stage.busy.acquire()
    except TimeoutError:
        raise Failed("another run of this script is still busy on this machine") from None
    try:
        yield
    finally:
        stage.busy.release()


def _load_node(stage: Stage) -> NodeSettings:
    if not stage.installed.exists():
        raise Failed(f"this machine is not a node yet: it has no {stage.installed}")
    return stage.read_settings(stage.installed)


async def _up(stage: Stage, talk: Conversation) -> None:
    talk.phase = "hostkey"
    talk.record = stage.record
    settings = stage.read_settings(stage.payload / "node.env")
    async with _alone(stage, settings):
        await Phases(stage, talk, settings).run()


async def _settle(stage: Stage, talk: Conversation) -> None:
    talk.phase = "hostkey"
    settings = _load_node(stage)
    if not (stage.host_key_words()[2:] == [settings.mark] and stage.drop_in.exists()):
        raise Failed("the planted host keys stay: this node has no other one yet")
    for planted in (stage.root / "etc/ssh").glob("ssh_host_*"):
        planted.unlink()


async def _start(stage: Stage, talk: Conversation) -> None:
    settings = _load_node(stage)
    async with _alone(stage, settings):
        if not stage.service.running:
            stage.start_service(settings)


async def _stop(stage: Stage, talk: Conversation) -> None:
    if stage.installed.exists():
        async with _alone(stage, _load_node(stage)):
            await stage.service.stop()


async def _status(stage: Stage, talk: Conversation) -> None:
    talk.print("running" if stage.installed.exists() and stage.service.running else "stopped")


async def _show(wanted: logs.Wanted, stage: Stage, process: Process) -> int:
    if stage.faults.has("no_logs"):
        await asyncio.Event().wait()  # until the client has no more patience
    return await logs.print_log(wanted, _log(stage, wanted.source), process)


def _log(stage: Stage, source: str) -> logs.Log:
    if source == "cloud-init":
        return logs.read_file(stage.root / "var/log/cloud-init.log")
    return stage.service.log if source == "dask" else stage.record


async def _idle(stage: Stage, talk: Conversation) -> None:
    _load_node(stage)
    try:
        looked, since = (time.time() - float(word) for word in stage.activity.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        looked, since = math.inf, 0.0
    talk.print("unknown" if looked > _STALE_S else str(max(0, int(since))))


_COMMANDS: dict[str, Command] = {
    "up": _up,
    "settle": _settle,
    "start": _start,
    "stop": _stop,
    "status": _status,
    "idle": _idle,
}
