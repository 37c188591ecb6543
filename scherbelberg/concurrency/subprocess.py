# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Other programs that are run to their end, with a deadline, on every operating system."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from attrs import field, frozen

from scherbelberg.errors import WaitTimeout


@frozen(kw_only=True)
class ProcessResult:
    """What a program did.

    Args:
        code: Its exit code.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    code: int
    out: bytes = field(repr=False)
    err: bytes = field(repr=False)


async def run_child(
    line: Sequence[str],
    *,
    what: str,
    within_s: float,
    environ: Mapping[str, str],
    stdin: bytes = b"",
    folder: Path | None = None,
) -> ProcessResult:
    """Run a program until it ends; it is killed at the deadline or when this is cancelled.

    A thread waits, since not every event loop on Windows can run programs; files take what it says, since whatever it
    has started itself may outlive it and hold a pipe open.

    Args:
        line: The program and its arguments.
        what: What it is for, to be said at the deadline.
        within_s: Deadline in seconds.
        environ: All of its environment variables.
        stdin: What it reads.
        folder: Where it runs; None for here.

    Raises:
        OSError: It cannot be run.
        WaitTimeout: It did not end in time.
    """
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time, and a thread waits
            list(line),
            cwd=folder,
            env=dict(environ),
            stdin=given,
            stdout=out,
            stderr=err,
            start_new_session=True,  # no terminal to ask questions on
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        try:
            code = await asyncio.to_thread(process.wait, within_s)
        except subprocess.TimeoutExpired:
            raise WaitTimeout(what=what, within_s=within_s) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return ProcessResult(code=code, out=_all_of(out), err=_all_of(err))


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
