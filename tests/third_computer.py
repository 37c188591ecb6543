# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Another computer in the machines' public network: a network namespace, a home folder, and a note of whom it dials."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from attrs import evolve, frozen
from surroundings import environment_for

from scherbelberg.sandbox.hosts.machine.network import PUBLIC_NET, make_namespace, remove_namespace
from scherbelberg.sandbox.hosts.machine.programs import run
from scherbelberg.settings import Settings

#: A sandbox that finds it removes it, as all that begins so.
_NAMESPACE = "sbg-third"
ADDRESS = str(PUBLIC_NET[210])
_WITHIN_S = 120
_LISTEN = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
with socket.socket(fileno=int(sys.argv[3])) as way:
    socket.send_fds(way, [b"."], [listener.fileno()])
"""
_DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 22), timeout=2).close()
except OSError:
    print("closed")
else:
    print("open")
"""
_WATCH = """
table inet watch {
  set dialled { type ipv4_addr . inet_service; flags dynamic; }
  counter otherwise {}
  chain output {
    type filter hook output priority 0
    oifname "lo" accept
    tcp flags & (syn | ack) == syn add @dialled { ip daddr . tcp dport }
    meta nfproto ipv4 meta l4proto != tcp counter name otherwise
  }
}
"""


@frozen
class Third:
    """The computer.

    Args:
        settings: Settings with which it reaches the cloud.
    """

    settings: Settings

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            [*_inside(), *words],
            env=environment_for(self.settings),
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=_WITHIN_S,
        )

    def shell(self, *words: str) -> str:
        """Run a command of the command line; returns what it printed."""
        return self.python("-m", "scherbelberg", *words)

    def python(self, *words: str) -> str:
        """Run Python; returns what it printed."""
        done = self.run(sys.executable, *words)
        assert done.returncode == 0, done
        return done.stdout

    def reaches(self, address: str) -> bool:
        """Whether SSH takes connections there."""
        return self.python("-c", _DIAL, address) == "open\n"

    def dialled(self) -> set[tuple[str, int]]:
        """Address and TCP port of all that was dialled since the last look; nothing but TCP was spoken."""
        said = self.run("nft", "-n", "list", "table", "inet", "watch").stdout
        assert "packets 0 bytes 0" in said, said
        assert self.run("nft", "flush", "set", "inet", "watch", "dialled").returncode == 0
        return {(address, int(port)) for address, port in re.findall(r"([0-9.]+) \. ([0-9]+)", said)}


@contextlib.contextmanager
def third_computer(settings: Settings, home: Path) -> Iterator[Third]:
    """Set it up, with a way to the cloud's API, which is on this computer's loopback; and take it away."""
    asyncio.run(make_namespace(_NAMESPACE, ADDRESS))
    try:
        asyncio.run(run(*_inside(), "nft", "-f", "-", stdin=_WATCH))
        with _relayed(settings.access.endpoint):
            yield Third(evolve(settings, home=home))
    finally:
        asyncio.run(remove_namespace(_NAMESPACE))


def _inside() -> list[str]:
    return ["nsenter", f"--net=/run/netns/{_NAMESPACE}"]


@contextlib.contextmanager
def _relayed(endpoint: str) -> Iterator[None]:
    """Let the namespace's loopback lead to the same place on this computer's."""
    parts = urlsplit(endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    with _Relay((parts.hostname, parts.port)) as relay:
        serving = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield
        relay.shutdown()
        serving.join()


class _Relay(socketserver.ThreadingTCPServer):
    """Listens in the namespace and connects from here: a socket stays where it was made."""

    daemon_threads = True

    def __init__(self, place: tuple[str, int]) -> None:
        super().__init__(place, _Carrier, bind_and_activate=False)
        self.socket.close()
        self.socket = _listener(place)
        self.place = place


class _Carrier(socketserver.BaseRequestHandler):
    """Carries one connection's bytes both ways."""

    def handle(self) -> None:
        """Carry until both sides have ended."""
        assert isinstance(self.server, _Relay)
        with socket.create_connection(self.server.place) as far:
            back = threading.Thread(target=_carry, args=(far, self.request), daemon=True)
            back.start()
            _carry(self.request, far)
            back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _listener(place: tuple[str, int]) -> socket.socket:
    """A socket that listens in the namespace, made by a process there."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        words = [*_inside(), sys.executable, "-c", _LISTEN, place[0], str(place[1]), str(number)]
        subprocess.run(words, pass_fds=[number], check=True, timeout=_WITHIN_S)
        _, numbers, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=numbers[0])
