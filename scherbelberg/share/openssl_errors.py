# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps a TLS connection that breaks from breaking others of its thread. Loaded by Dask itself, and by our client.

OpenSSL collects errors in a queue, one for each thread, and looks there first when it is asked what became of a read
or a write. So the queue has to be empty before each of them, and CPython does not empty it:
https://github.com/python/cpython/issues/148594. From OpenSSL 3.4 on, a write to a peer that has hung up leaves an error
there. Then every other connection of the thread that has nothing to read reports that error as its own, and Dask
closes it.

Whether the running Python has this fault is tried out, since versions do not tell. Where it has not, nothing changes.
"""

from __future__ import annotations

import functools
import json
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from tornado.iostream import SSLIOStream

Clear = Callable[[], object]

#: An attribute of tornado's class, for whoever asks what was done in this process.
ANSWER = "scherbelberg_openssl_errors"
#: What was done.
NOT_NEEDED, CANNOT = "not needed", "cannot be cleared"
#: The methods in which tornado lets OpenSSL read, write and shake hands.
_METHODS = ("read_from_fd", "write_to_fd", "_do_ssl_handshake")
#: How often a connection is tried whose peer has hung up, and after how many seconds again.
_MOST_SENDS, _SEND_AGAIN_S = 100, 0.01
_LOG = logging.getLogger("distributed.scherbelberg")


async def dask_setup(server: Any) -> None:
    """Protect the process, and say so in its log.

    Args:
        server: Dask's scheduler, nanny, worker or client.
    """
    del server
    done = protect()
    if done != NOT_NEEDED:
        level = logging.WARNING if done == CANNOT else logging.INFO
        _LOG.log(level, "%s: errors of one connection would break others; cleared by: %s", ssl.OPENSSL_VERSION, done)


def protect() -> str:
    """Clear the queue before each operation of Dask's TLS, where this Python does not. Doing so twice changes nothing.

    Returns:
        `NOT_NEEDED`, `CANNOT`, or by which way it is cleared.
    """
    if (done := getattr(SSLIOStream, ANSWER, None)) is None:
        done, clear = _choose()
        if clear is not None:
            for name in _METHODS:
                setattr(SSLIOStream, name, _after(clear, getattr(SSLIOStream, name)))
        setattr(SSLIOStream, ANSWER, done)
    return str(done)


def _choose() -> tuple[str, Clear | None]:
    ways = [*_ways(), (CANNOT, None)]
    try:
        if not is_faulty():
            return NOT_NEEDED, None
        return next((way for way in ways if way[1] is None or not is_faulty(way[1])), ways[-1])
    except (OSError, ValueError):
        return ways[0]  # it could not be tried out, for example where a policy forbids what that needs; it does no harm


def _after(clear: Clear, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def cleared(self: SSLIOStream, *data: Any) -> Any:
        try:
            clear()
            return method(self, *data)
        finally:
            del data  # the traceback of an error would keep the buffer, which could not grow then

    return cleared


def _ways() -> Iterator[tuple[str, Clear]]:
    """The ways to clear this thread's queue, the fastest first."""
    with suppress(ImportError):  # there are Pythons without ctypes
        for library in _libraries():
            with suppress(AttributeError):
                function = library.ERR_clear_error
                function.argtypes, function.restype = (), None
                yield "ERR_clear_error", function
    with suppress(OSError, ValueError):  # a policy may forbid even to talk to oneself like that
        yield "handshake", _Handshake()


def _libraries() -> Iterator[Any]:
    """What may hold the OpenSSL that Python's ssl uses; its functions are called without giving the thread up."""
    import _ssl  # noqa: PLC0415
    import ctypes  # noqa: PLC0415

    if sys.platform == "win32":
        module = ctypes.windll.kernel32.GetModuleHandleW
        module.argtypes, module.restype = (ctypes.c_wchar_p,), ctypes.c_void_p
        for ending in ("", "-x64", "-arm64"):
            name = f"libcrypto-{ssl.OPENSSL_VERSION_INFO[0]}{ending}.dll"
            if (handle := module(name)) is not None:
                yield ctypes.PyDLL(name, handle=handle)
        return
    # Python's module leads to the library that it is linked to; where it is part of the program, the program may.
    for name in (getattr(_ssl, "__file__", None), None):
        with suppress(OSError):
            yield ctypes.PyDLL(name)


class _Handshake(threading.local):
    """A handshake with nobody: OpenSSL clears the queue at the beginning of each step, and there is nothing to do.

    It takes some microseconds, ten times as long as the function for it.
    """

    def __init__(self) -> None:
        self._end = _context(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())

    def __call__(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._end.do_handshake()


def is_faulty(clear: Clear = lambda: None) -> bool:
    """Try out whether a connection that breaks breaks another one. Takes some milliseconds and needs no certificate.

    Args:
        clear: Is called before the other one is used.

    Raises:
        OSError, ValueError: Connections cannot be made in this way here.
    """
    with ExitStack() as stack:
        healthy, _ = _connected(stack)
        rude, gone = _connected(stack)
        gone.close()
        _send_until_broken(rude)
        clear()
        try:
            healthy.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        finally:
            with suppress(OSError, ValueError):
                _Handshake()()  # leave nothing behind
    return True  # there was nothing to read


def _send_until_broken(end: ssl.SSLSocket) -> None:
    """Send to a peer that has hung up; over TCP, as on Windows, the first time may go well.

    Raises:
        OSError: It never broke.
    """
    broken = threading.Event()
    for _ in range(_MOST_SENDS):
        try:
            end.send(b"Are you there?")
        except OSError:
            return
        broken.wait(_SEND_AGAIN_S)
    raise OSError("the connection does not break")


def _connected(stack: ExitStack) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """The two ends of a connection."""
    near, far = (stack.enter_context(end) for end in socket.socketpair())
    for end in (near, far):
        end.setblocking(False)
    client = _context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(near, do_handshake_on_connect=False)
    server = _context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(far, do_handshake_on_connect=False, server_side=True)
    ends = [stack.enter_context(end) for end in (client, server)]
    waiting: list[ssl.SSLSocket] = []
    for _ in range(4):
        waiting = [end for end in ends if not _shakes_hands(end)]
    if waiting:
        raise OSError("the handshake did not end")
    return client, server


def _shakes_hands(end: ssl.SSLSocket) -> bool:
    """Go on with a handshake; whether it is over."""
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _context(protocol: int) -> ssl.SSLContext:
    """TLS without certificates, for talking to oneself."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


if __name__ == "__main__":
    print(json.dumps({"openssl": ssl.OPENSSL_VERSION, "errors": protect()}))  # noqa: T201 - this is how it answers
