# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The way out for all that is written: nothing raises there, and nothing waits. tests/campaign has whole programs."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest

from scherbelberg.cli.streams import _MOST_PENDING, Output, all_output

WITHIN_S = 60


class _File(io.RawIOBase):
    """A file that takes so many bytes at once, and fails when it is told to."""

    def __init__(self, most: int = 1000) -> None:
        self.most, self.content = most, b""
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        if self.error is not None:
            raise self.error
        self.content += bytes(data[: self.most])
        return min(len(data), self.most)


def _text(number: int, way: Output, *, errors: str = "strict") -> io.TextIOBase:
    return way.stream(number, io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors))  # type: ignore[return-value]


def test_order() -> None:
    """All is written, in pieces if need be, in the order in which it was given, past the streams as well."""
    both = _File(most=3)
    way = Output(both, both)
    for number, text in ((1, "first\n"), (2, "second\n"), (1, "third\n")):
        _text(number, way).write(text)
    way.write(2, "fourth\n")
    assert way.drain(WITHIN_S)
    assert (both.content, way.is_read, way.loss) == (b"first\nsecond\nthird\nfourth\n", True, None)
    way.close()


def test_text_that_the_stream_has_no_letters_for() -> None:
    """What cannot be encoded is written in another form, and does not raise."""
    file = _File()
    way = Output(file, None)
    _text(1, way).write("✓ \ud800\n")
    assert way.drain(WITHIN_S)
    assert file.content == b"\\u2713 \\ud800\n"
    way.close()


@pytest.mark.parametrize(
    ("error", "loss"),
    [(errno.EPIPE, None), (errno.EIO, None), (errno.EBADF, None), (errno.ENOSPC, os.strerror(errno.ENOSPC))],
)
def test_loss(error: int, loss: str | None) -> None:
    """After an error nothing more is written, and a loss is one where somebody would have read."""
    file = _File()
    file.error = OSError(error, os.strerror(error))
    way = Output(file, None)
    stream = _text(1, way)
    stream.write("lost\n")
    assert way.drain(WITHIN_S)
    file.error = None
    stream.write("lost too\n")
    assert way.drain(WITHIN_S)
    assert (file.content, way.is_read, way.loss) == (b"", False, loss)
    way.close()


def test_messages_are_not_kept_for_ever() -> None:
    """Of messages that nobody reads only so many are kept, and giving them takes no time."""
    near, far = os.pipe()
    with open(near, "rb") as reader, open(far, "wb", buffering=0) as raw:  # noqa: PTH123
        way = Output(None, raw)
        stream = _text(2, way)
        for number in range(3 * _MOST_PENDING):
            stream.write(f"{number} {'.' * 100}\n")
        assert not way.drain(0.01)
        assert reader.readline().startswith(b"0 ")
        lines = 1
        while not way.drain(0.01):
            lines += reader.read1(2**16).count(b"\n")
        assert lines < 2 * _MOST_PENDING
        way.close()


def test_streams_come_back() -> None:
    """Afterwards everything is as it was, and a stream that somebody has kept goes on writing."""
    before = sys.stdout, sys.stderr, sys.stdin
    with all_output() as way:
        kept = sys.stderr
        assert way.is_read
    assert (sys.stdout, sys.stderr, sys.stdin) == before
    print("more", file=kept, flush=True)
