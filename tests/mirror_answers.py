# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the mirror answers one request."""

from __future__ import annotations

import fnmatch
import math
import re
import threading
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from mirror import Mirror

_CHUNK_BYTES = 32_768
#: Until somebody lets go what is held back.
_PATIENCE_S = 60
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


@frozen(kw_only=True)
class Seen:
    """A request.

    Args:
        method: GET or HEAD.
        path: Decoded, without a query.
        headers: Names in small letters.
    """

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        """The part that was asked for."""
        return self.headers.get("range")


@define(kw_only=True, eq=False)
class Fault:
    """What happens to requests for a path.

    Args:
        pattern: The path, such as ``/conda-forge/*/numpy-*.conda``.
        status: The answer's status instead of the file.
        corrupt: Whether the byte in the middle of the file is another one.
        cut_after: Bytes of an answer after which the connection is dropped.
        hold_after: Bytes of an answer after which nothing comes until ``release``.
        times: How many requests it happens to.
    """

    pattern: str
    status: int | None = None
    corrupt: bool = False
    cut_after: int | None = None
    hold_after: int | None = None
    times: float = math.inf
    released: threading.Event = field(factory=threading.Event, init=False)

    def concerns(self, seen: Seen) -> bool:
        """Whether it happens to a request; what happens to a file's bytes does not happen to questions about it."""
        fits = fnmatch.fnmatchcase(seen.path, self.pattern)
        return fits and (self.status is not None or seen.method == "GET")

    def release(self) -> None:
        """Let go what is held back, and hold back nothing more."""
        self.released.set()

    def wait(self) -> None:
        """Hold back."""
        self.released.wait(_PATIENCE_S)


def part(header: str | None, size_bytes: int) -> range | None:
    """Say which bytes of a file are asked for.

    Args:
        header: The request's ``Range``; what is not one single range of bytes asks for everything.
        size_bytes: The file's size.

    Returns:
        Their positions, or None if the file has none of them.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return range(size_bytes)
    first, last, from_end = (int(word) if word else None for word in match.groups())
    if first is None:
        wanted = range(max(0, size_bytes - (from_end or 0)), size_bytes)
    else:
        wanted = range(first, size_bytes if last is None else min(size_bytes, last + 1))
    return wanted or None


class Answers(BaseHTTPRequestHandler):
    """Answers requests for files."""

    protocol_version = "HTTP/1.1"
    server: Mirror
    fault: Fault | None = None

    def do_GET(self) -> None:
        """Answer with a file, a part of it, or what is to happen instead."""
        path = urllib.parse.unquote(self.path.partition("?")[0])
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(method=self.command, path=path, headers=headers)
        self.fault = self.server.note(seen)
        file = (self.server.root / path.lstrip("/")).resolve()
        if not self.server.is_allowed(seen):
            self._refuse(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="mirror"'})
        elif self.fault and self.fault.status:
            self._refuse(self.fault.status)
        elif not file.is_file() or not file.is_relative_to(self.server.root):
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._answer(file, seen.range)

    do_HEAD = do_GET  # noqa: N815 - the name is the base class's

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._begin(status, headers or {}, 0)

    def _begin(self, status: int, headers: dict[str, str], size_bytes: int) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(size_bytes)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, file: Path, asked: str | None) -> None:
        size_bytes = file.stat().st_size
        wanted = part(asked, size_bytes)
        if wanted is None:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size_bytes}"})
            return
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        is_part = _RANGE.fullmatch(asked or "") is not None
        if is_part:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size_bytes}"
        self._begin(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK, headers, len(wanted))
        if self.command == "GET":
            self._send(self._read(file, wanted))

    def _read(self, file: Path, wanted: range) -> bytes:
        data = bytearray(file.read_bytes())
        if self.fault and self.fault.corrupt and data:
            data[len(data) // 2] ^= 0xFF
        return bytes(data[wanted.start : wanted.stop])

    def _send(self, data: bytes) -> None:
        cut, hold = (self.fault.cut_after, self.fault.hold_after) if self.fault else (None, None)
        if hold is not None and self.fault:
            self._pour(data[:hold])
            self.fault.wait()
            data = data[hold:]
        self._pour(data[:cut])
        if cut is not None and cut < len(data):
            self.close_connection = True

    def _pour(self, data: bytes) -> None:
        for start in range(0, len(data), _CHUNK_BYTES):
            chunk = data[start : start + _CHUNK_BYTES]
            self.server.pace(len(chunk))
            self.wfile.write(chunk)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""
