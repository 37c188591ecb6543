# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The end of a program beside threads that are not Python's."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import _thread, asyncio, sys, threading
import scherbelberg.environments.channels

class Loop(asyncio.SelectorEventLoop):
    def _write_to_self(self):
        entered.set()
        sys.stdin.readline()
        print("out", flush=True)

entered = threading.Event()
loop = Loop()
# Unlike those of threading, such a thread is nobody's whom Python would wait for.
_thread.start_new_thread(loop.call_soon_threadsafe, (print,))
entered.wait(20)
print("in", flush=True)
"""


def test_result_that_is_being_handed_over() -> None:
    """A program that ends while a foreign thread still calls asyncio waits for it, as rattler's threads want it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"in"
        output, complaints = process.communicate(b"\n", timeout=30)
    assert (output.strip(), complaints, process.returncode) == (b"out", b"", 0)
