# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A server for a folder that misbehaves on demand: what a mirror of channels and installers may do to a download."""

from __future__ import annotations

import base64
import contextlib
import math
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mirror_answers import Answers, Fault, Seen


class Mirror(ThreadingHTTPServer):
    """A server on the loopback, from entering until leaving a ``with`` block.

    Args:
        root: The folder.
        tls: The server's certificate, if it is to speak TLS.
        address: Where it listens.
    """

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, root: Path, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Answers)
        self._address = address
        self.root = root.resolve()
        #: Bytes a second of all connections together.
        self.rate_bytes_s = math.inf
        self._tls = tls
        self._changed = threading.Condition()
        self._seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._guards: dict[str, str] = {}
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._next_s = 0.0
        self._errors: list[BaseException | None] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="mirror")

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self._address}:{self.server_port}"

    @property
    def seen(self) -> list[Seen]:
        """All requests so far, in order."""
        with self._changed:
            return [*self._seen]

    def misbehave(self, pattern: str, **fault: Any) -> Fault:
        """Set a fault; the words are those of ``Fault``. The first that fits a request is the one that happens."""
        made = Fault(pattern=pattern, **fault)
        with self._changed:
            self._faults.append(made)
        return made

    def clear(self) -> None:
        """Behave well from now on, also towards those who are held back."""
        with self._changed:
            for fault in self._faults:
                fault.release()
            self._faults.clear()

    def forget(self) -> None:
        """Forget the requests so far."""
        with self._changed:
            self._seen.clear()

    def protect(self, prefix: str, *, user: str, password: str) -> None:
        """Ask whoever wants paths below a prefix for name and password."""
        self._guards[prefix] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def wait_for(self, happened: Callable[[list[Seen]], bool], *, within_s: float = 20) -> None:
        """Wait until the requests so far are as somebody expects.

        Args:
            happened: Whether they are.
            within_s: The deadline.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: happened(self._seen), within_s), self._seen

    def note(self, seen: Seen) -> Fault | None:
        """Remember a request, and say what is to happen to it."""
        with self._changed:
            self._seen.append(seen)
            self._changed.notify_all()
            for fault in self._faults:
                if fault.times > 0 and fault.concerns(seen):
                    fault.times -= 1
                    return fault
        return None

    def is_allowed(self, seen: Seen) -> bool:
        """Whether a request brings what its path asks for."""
        asked = [word for prefix, word in self._guards.items() if seen.path.startswith(prefix)]
        return all(word == seen.headers.get("authorization") for word in asked)

    def pace(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent; when the server ends, none may."""
        with self._changed:
            now_s = time.monotonic()
            start_s = max(self._next_s, now_s)
            self._next_s = start_s + size_bytes / self.rate_bytes_s
        if self._closing.wait(start_s - now_s):
            raise ConnectionAbortedError("the mirror ends")

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; TLS is agreed upon in the connection's own thread."""
        taken, address = super().get_request()
        if self._tls is not None:
            taken = self._tls.wrap_socket(taken, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._open.add(taken)
        return taken, address

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._changed:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of those who go away in the middle; what else goes wrong is told in the end."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self._errors.append(error)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with all connections."""
        self.shutdown()
        self._closing.set()
        self.clear()
        with self._changed:
            for taken in self._open:
                with contextlib.suppress(OSError):
                    # TLS is not ended in a seemly manner: its own method must not be called beside a reader.
                    socket.socket.shutdown(taken, socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()
        assert self._errors == []
