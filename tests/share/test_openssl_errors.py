# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""OpenSSL's queue of errors: whether this Python forgets it is tried out, and ways to clear it are proven.

A Python that clears it, or an OpenSSL that leaves nothing there, would let most of these tests pass without a cure.
Therefore they put an error into the queue themselves.
"""

from __future__ import annotations

import _ssl
import ctypes
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from scherbelberg.environments.interpreter import PRELOAD
from scherbelberg.share import openssl_errors
from scherbelberg.share.openssl_errors import CANNOT, NOT_NEEDED, is_faulty, protect

_WAYS = [name for name, _ in openssl_errors._ways()]


def _leave_an_error() -> None:
    """Put an error into this thread's queue: a broken pipe, as OpenSSL notes it."""
    library = ctypes.PyDLL(_ssl.__file__)
    library.ERR_new()
    library.ERR_set_error(ctypes.c_int(2), ctypes.c_int(32), None)


def _reads(clear: Callable[[], object]) -> type[BaseException] | None:
    """What comes of reading where there is nothing to read, after an error of somebody else's."""
    with ExitStack() as stack:
        end, _ = openssl_errors._connected(stack)
        _leave_an_error()
        clear()
        try:
            end.recv(1)
        except OSError as error:
            return type(error)
        finally:
            openssl_errors._Handshake()()
    return None


def _nothing() -> None:
    pass


def test_errors_of_others_count() -> None:
    """An error in the queue is taken for that of whichever connection is used next, or this Python is mended."""
    assert _reads(_nothing) is not ssl.SSLWantReadError or not is_faulty()


@pytest.mark.parametrize("way", _WAYS)
def test_ways(way: str) -> None:
    """Each way clears the queue of the thread in which it is called, as often as that is needed."""
    clear = dict(openssl_errors._ways())[way]
    found: list[type[BaseException] | None] = []
    thread = threading.Thread(target=lambda: found.append(_reads(clear)))
    thread.start()
    thread.join(timeout=30)
    assert [*found, _reads(clear), _reads(clear)] == [ssl.SSLWantReadError] * 3
    assert not is_faulty(clear)


def test_trying_out_leaves_nothing() -> None:
    """Afterwards the thread's queue is empty, whatever was found."""
    is_faulty()
    library = ctypes.PyDLL(_ssl.__file__)
    library.ERR_peek_error.restype = ctypes.c_ulong
    assert library.ERR_peek_error() == 0


def test_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that has no ctypes has the slower way."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert [name for name, _ in openssl_errors._ways()] == ["handshake"]


def test_without_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """So has one whose OpenSSL shows nobody its functions."""
    monkeypatch.setattr(openssl_errors, "_libraries", lambda: iter([object()]))
    assert [name for name, _ in openssl_errors._ways()] == ["handshake"]


def test_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There Python's module does not lead to its library, which is loaded already and found by its name."""
    loaded = f"libcrypto-{ssl.OPENSSL_VERSION_INFO[0]}-x64.dll"

    class Kernel:
        @staticmethod
        def GetModuleHandleW(name: str) -> int | None:  # noqa: N802 - Windows' name
            return 4711 if name == loaded else None

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", type("Libraries", (), {"kernel32": Kernel}), raising=False)
    monkeypatch.setattr(ctypes, "PyDLL", lambda name, handle: (name, handle))
    assert list(openssl_errors._libraries()) == [(loaded, 4711)]


@pytest.mark.parametrize(
    ("helps", "chosen"),
    [
        ({"none", "first", "second"}, NOT_NEEDED),
        ({"first", "second"}, "first"),
        ({"second"}, "second"),
        (set[str](), CANNOT),
    ],
)
def test_choice(monkeypatch: pytest.MonkeyPatch, helps: set[str], chosen: str) -> None:
    """Nothing is done where nothing is wrong; else the first way is taken that helps; if none does, that is said."""
    ways = {name: lambda name=name: name for name in ("first", "second")}
    monkeypatch.setattr(openssl_errors, "_ways", lambda: iter(ways.items()))
    monkeypatch.setattr(openssl_errors, "is_faulty", lambda clear=lambda: "none": clear() not in helps)
    way, clear = openssl_errors._choose()
    assert way == chosen
    assert clear is ways.get(chosen)


@pytest.mark.parametrize("error", [OSError, ValueError, ssl.SSLError])
def test_choice_in_the_dark(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Where nothing can be tried out, the fastest way is taken, which does no harm where it is not needed."""

    def cannot(clear: object = None) -> bool:
        raise error

    monkeypatch.setattr(openssl_errors, "is_faulty", cannot)
    assert openssl_errors._choose()[0] == _WAYS[0]


class _Stream:
    """What tornado's class has, as far as it counts here."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def read_from_fd(self, buffer: bytearray) -> int:
        """Read something."""
        self.done.append("read")
        return len(buffer)

    def write_to_fd(self, data: memoryview) -> int:
        """Fail to write it, and keep nothing of it, as tornado does."""
        try:
            self.done.append("write")
            raise BrokenPipeError
        finally:
            del data

    def _do_ssl_handshake(self) -> None:
        self.done.append("handshake")


def test_before_each_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is cleared once before each operation, however often the process is protected; no data are kept."""
    done: list[str] = []
    kind = type("Stream", (_Stream,), {})
    monkeypatch.setattr(openssl_errors, "SSLIOStream", kind)
    monkeypatch.setattr(openssl_errors, "_choose", lambda: ("by hand", lambda: done.append("clear")))
    assert protect() == protect() == "by hand"
    stream, text = kind(done), bytearray(b"text")
    stream._do_ssl_handshake()
    assert stream.read_from_fd(bytearray(3)) == 3
    try:
        stream.write_to_fd(memoryview(text))
    except BrokenPipeError:
        text.extend(b" that grows")  # impossible as long as a traceback holds a view of it
    assert done == ["clear", "handshake", "clear", "read", "clear", "write"]
    assert len(text) == 15


def test_as_a_program() -> None:
    """Run by any interpreter that has tornado, the file tells what it would do there."""
    words = [sys.executable, "-P", str(PRELOAD)]
    done = subprocess.run(words, capture_output=True, timeout=60, check=True)
    needed = is_faulty()
    found = json.loads(done.stdout)
    assert found["openssl"] == ssl.OPENSSL_VERSION
    assert (found["errors"] == NOT_NEEDED) is not needed
    assert found["errors"] != CANNOT


_MAKES_A_CLIENT = """
import pathlib
from scherbelberg.scheduler.client import TunnelClient
from scherbelberg.scheduler.endpoint import SchedulerEndpoint
from scherbelberg.errors import StateDamaged
from scherbelberg.share import openssl_errors

openssl_errors._choose = lambda: ("by hand", None)
path = pathlib.Path("there is none")
try:
    TunnelClient(SchedulerEndpoint(prefix="x", port=1, dashboard_port=1, authority=path, certificate=path, key=path))
except StateDamaged:
    print(openssl_errors.SSLIOStream.scherbelberg_openssl_errors)
"""


def test_protected_client() -> None:
    """Making a client protects its process, before it connects."""
    words = [sys.executable, "-P", "-c", _MAKES_A_CLIENT]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.stdout.strip() == "by hand", done.stderr
