# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The one way out for all that the program writes: nothing that is written there raises, and nothing waits.

Readers of pipes leave, terminals are closed, disks are full, and somebody who pages stops reading for an hour. None of
that may stop a program that gives back what costs money. So a thread of its own writes, in the order in which it was
told to, and what cannot be written is dropped.
"""

from __future__ import annotations

import errno
import io
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

#: What says that nobody reads any more: a pipe, a terminal or a descriptor that is gone.
_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.EINVAL, errno.ECONNRESET}
#: So many messages are kept for a reader who does not read, results longer than others; what follows is dropped.
_MOST_PENDING, _MOST_RESULTS = 10_000, 1_000_000
#: How long the program waits at its end for a reader who is slow, in seconds. Signals end that wait.
_AT_THE_END_S = 3600.0
#: For a descriptor that takes nothing at the moment, in seconds.
_LATER_S = 0.05


class _Target:
    """Where something is written in the end.

    Args:
        raw: A file without a buffer.
        most: How many messages are kept for a reader who does not read.
    """

    def __init__(self, raw: io.RawIOBase, *, most: int) -> None:
        self.raw = raw
        self.most = most
        self.error: OSError | ValueError | None = None

    def write(self, data: bytes) -> None:
        """Write it, or drop it."""
        left = memoryview(data)
        while left and self.error is None:
            try:
                count = self.raw.write(left)
            except (OSError, ValueError) as error:
                self.error = error
            else:
                left = left[count or 0 :]
                if count is None:  # somebody has set the descriptor so that writing does not wait
                    threading.Event().wait(_LATER_S)


class _Pump(threading.Thread):
    """Writes what it is given, in order; giving takes no time and may happen in a signal handler."""

    def __init__(self) -> None:
        super().__init__(name="scherbelberg-output", daemon=True)
        self._queue: queue.SimpleQueue[tuple[_Target, bytes] | threading.Event | None] = queue.SimpleQueue()
        self._is_open = True

    def run(self) -> None:
        """Write until the end."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                target, data = item
                target.write(data)

    def give(self, target: _Target, data: bytes) -> None:
        """Have something written."""
        if not self._is_open:
            target.write(data)
        elif self._queue.qsize() < target.most:
            self._queue.put((target, data))

    def drain(self, within_s: float) -> bool:
        """Wait until all that was given is written or dropped.

        Args:
            within_s: How long, in seconds.

        Returns:
            Whether it is.
        """
        done = threading.Event()
        self._queue.put(done)
        return done.wait(within_s)

    def close(self) -> None:
        """End the thread; what is given from now on is written at once."""
        self._is_open = False
        self._queue.put(None)


class _Feed(io.RawIOBase):
    """What stands below a stream of text in place of the file."""

    def __init__(self, pump: _Pump, target: _Target) -> None:
        self._pump, self._target = pump, target

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override] # all that a buffer gives
        """Pass it on."""
        self._pump.give(self._target, bytes(data))
        return len(data)

    def fileno(self) -> int:
        """That of the file."""
        return self._target.raw.fileno()

    def isatty(self) -> bool:
        """Whether the file is a terminal."""
        return self._target.raw.isatty()


class Output:
    """Both streams of one run of the program.

    Args:
        out: Where results go, if that is a file.
        err: Where all else goes, if that is a file.
    """

    def __init__(self, out: io.RawIOBase | None, err: io.RawIOBase | None) -> None:
        self._pump = _Pump()
        streams = ((1, out, _MOST_RESULTS), (2, err, _MOST_PENDING))
        self._targets = {number: _Target(raw, most=most) for number, raw, most in streams if raw is not None}
        self._pump.start()

    def stream(self, number: int, former: TextIO) -> TextIO:
        """A stream of text that takes the place of another one.

        Args:
            number: 1 for results, 2 for all else.
            former: The other one.
        """
        target = self._targets.get(number)
        if target is None:
            return former
        errors = former.errors if former.errors in {"surrogateescape", "backslashreplace"} else "backslashreplace"
        buffer = io.BufferedWriter(_Feed(self._pump, target))  # type: ignore[type-var] # it is a raw file
        return io.TextIOWrapper(buffer, encoding=former.encoding, errors=errors, line_buffering=True)

    def write(self, number: int, text: str) -> None:
        """Write past the streams, from within a signal handler that may have interrupted one.

        Args:
            number: 1 for results, 2 for all else.
            text: What.
        """
        if (target := self._targets.get(number)) is not None:
            self._pump.give(target, text.encode(errors="backslashreplace"))
        else:
            print(text, end="", file=sys.stdout if number == 1 else sys.stderr, flush=True)

    def drain(self, within_s: float) -> bool:
        """Wait until all is written or dropped; whether it is."""
        return self._pump.drain(within_s)

    @property
    def is_read(self) -> bool:
        """Whether somebody may still read the results, also if nothing was written since he left."""
        target = self._targets.get(1)
        return target is None or (target.error is None and _has_reader(target.raw))

    @property
    def loss(self) -> str | None:
        """Why results were lost that somebody would have read, or None if none were."""
        error = self._targets[1].error if 1 in self._targets else None
        if error is None or isinstance(error, ValueError) or error.errno in _NOBODY_READS:
            return None
        return error.strerror or str(error)

    def close(self) -> None:
        """End."""
        self._pump.close()


def _has_reader(raw: io.RawIOBase) -> bool:
    """Whether the other end of a pipe or terminal is open; of what is neither, and on Windows, that is not known."""
    try:
        poll = select.poll()
        poll.register(raw.fileno(), 0)
        return not poll.poll(0)
    except (AttributeError, OSError, ValueError):
        return True


_CURRENT: list[Output] = []


def output() -> Output:
    """The way out of the command that runs; outside of one, one that ends with the program."""
    if not _CURRENT:
        _CURRENT.append(Output(_raw(sys.stdout), _raw(sys.stderr)))
    return _CURRENT[-1]


@contextmanager
def all_output() -> Iterator[Output]:
    """Lead all that is written in this process through one way out, until the end of the block.

    The end waits for readers who are slow; signals end that wait.
    """
    _fill_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    with Path(os.devnull).open("r+", encoding="utf-8") as nothing:
        sys.stdin, former = sys.stdin or nothing, (sys.stdout or nothing, sys.stderr or nothing)
        way = Output(*map(_raw, former))
        sys.stdout, sys.stderr = (way.stream(number, stream) for number, stream in enumerate(former, start=1))
        _CURRENT.append(way)
        try:
            yield way
        finally:
            with suppress(KeyboardInterrupt):
                sys.stdout.flush()
                sys.stderr.flush()
                way.drain(_AT_THE_END_S)
            _CURRENT.remove(way)
            sys.stdin, sys.stdout, sys.stderr = before
            way.close()


def _raw(stream: TextIO | None) -> io.RawIOBase | None:
    """The file below a stream, or None where that is none, as in notebooks and tests."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, io.RawIOBase) else None


def _fill_descriptors() -> None:
    """Open what is closed of the three standard descriptors: else the next connection or file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
