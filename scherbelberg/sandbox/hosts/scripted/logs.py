# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The logs of a scripted host, and how a client reads them: as the script does that it sends along."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from pathlib import Path

from attrs import frozen

from scherbelberg.sandbox.hosts.sshd import Process

_LINE = re.compile(r"env LC_ALL=C\.UTF-8 bash -s -- (cloud-init|bootstrap|dask) ([0-9]{1,9})(?: (follow|[0-9]{1,9}))?")
#: The last lines of the script; what follows is read by nobody.
_END = b'{\n  main "$@"\n  exit\n}\n'
_MOST_BYTES = 64 * 1024
_MOST_LINES = 1000
_LOOK_S = 0.05
_MISSING = 3
_LACKS = {
    "cloud-init": "cloud-init has written no log here",
    "bootstrap": "the bootstrap has not begun here",
    "dask": "Dask has not been started here",
}


class Log:
    """Lines, of which the last are kept."""

    def __init__(self) -> None:
        #: How many there have ever been.
        self.count = 0
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    def append(self, line: str) -> None:
        """Write a line."""
        self._lines.append(line)
        self.count += 1

    def last(self, count: int) -> list[str]:
        """The last lines, as many as asked for or as there are."""
        return list(self._lines)[-count:] if count > 0 else []


@frozen(kw_only=True)
class LogRequest:
    """What a client wants to read.

    Args:
        source: Which log.
        count: How many of its last lines.
        most_bytes: How much of them at most, or None.
        follows: Whether it wants to have those that come, too.
    """

    source: str
    count: int
    most_bytes: int | None = None
    follows: bool = False


def parse_request(line: str) -> LogRequest | None:
    """Read a command line that prints a log; None for any other.

    Args:
        line: It.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    source, count, more = match.groups()
    most_bytes = int(more) if more and more != "follow" else None
    return LogRequest(source=source, count=int(count), most_bytes=most_bytes, follows=more == "follow")


async def print_log(wanted: LogRequest, log: Log, process: Process) -> int:
    """Print a log to a session.

    Args:
        wanted: What the client wants.
        log: It.
        process: The session.

    Returns:
        The exit status.
    """
    script = bytearray()
    while not script.endswith(_END):
        data = await process.stdin.read(_MOST_BYTES)
        if not data or len(script) > _MOST_BYTES:
            process.stderr.write(b"bash: line 1: syntax error: unexpected end of file\n")
            return 2
        script += data
    if not log.count:
        process.stderr.write(f"{_LACKS[wanted.source]}\n".encode())
    text = "".join(f"{line}\n" for line in log.last(wanted.count)).encode()
    process.stdout.write(text if wanted.most_bytes is None else text[max(0, len(text) - wanted.most_bytes) :])
    if wanted.follows:
        await _follow(log, process)
        return 0
    return 0 if log.count else _MISSING


async def _follow(log: Log, process: Process) -> None:
    """Print new lines until nobody listens any more."""
    listener = asyncio.create_task(process.stdin.read())
    told = log.count
    try:
        while not listener.done():
            await asyncio.wait((listener,), timeout=_LOOK_S)
            for line in log.last(log.count - told):
                process.stdout.write(f"{line}\n".encode())
            told = log.count
    except OSError:
        pass  # whoever listened is gone
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def read_log(path: Path) -> Log:
    """Take a file as a log.

    Args:
        path: It may be missing.
    """
    log = Log()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        log.append(line)
    return log
