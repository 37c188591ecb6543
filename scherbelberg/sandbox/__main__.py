# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The background process: ``python -m scherbelberg.sandbox FOLDER``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

from scherbelberg.errors import ScherbelbergError
from scherbelberg.sandbox.daemon import READY, own_state, write_state
from scherbelberg.sandbox.options import Options, read_options
from scherbelberg.sandbox.server import Sandbox

_log = logging.getLogger("scherbelberg.sandbox")


def main() -> int:
    """Run a sandbox until a signal, or the end of the input."""
    parser = argparse.ArgumentParser(prog="scherbelberg.sandbox")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--options", default="{}", help="a JSON document")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until-eof", action="store_true", help="end with the input")
    end.add_argument("--detach", action="store_true", help="go on in a child that nobody waits for")
    options = parser.parse_args()
    if options.detach and os.fork():
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    try:
        asyncio.run(_live(options.folder, read_options(options.options), until_eof=options.until_eof))
    except ScherbelbergError as error:
        _say(error.message.encode())
        return int(error.exit_code)
    return 0


async def _live(folder: Path, options: Options, *, until_eof: bool) -> None:
    enough = asyncio.Event()
    _end_on_signals(enough)
    # The loop itself refers to tasks weakly: without a name here, this one could vanish.
    watch = asyncio.create_task(_end_on_eof(enough)) if until_eof else None
    write_state(folder, own_state())
    sandbox = Sandbox(folder, options)
    await sandbox.start()
    try:
        write_state(folder, own_state(sandbox.settings))
        _log.info("answers at %s", sandbox.settings.endpoint)
        _say(READY)
        await enough.wait()
    finally:
        if watch is not None:
            watch.cancel()
        await sandbox.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _end_on_signals(enough: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Also sets a disposition that hosts do not inherit: one to ignore SIGINT, as from nohup, they would.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(enough.set))


async def _end_on_eof(enough: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while await reader.read(1024):
        pass
    enough.set()


def _say(line: bytes) -> None:
    """Tell whoever started us, once; their end of the pipe may be closed, and will be from then on."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), line + b"\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
