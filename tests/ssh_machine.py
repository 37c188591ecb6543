# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""An SSH server on the loopback, for tests of what reaches it."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scherbelberg.nodes.ssh import Remote
from scherbelberg.sandbox.hosts.fake_programs import LOADED_KEYS
from scherbelberg.sandbox.hosts.process.sessions import LoginShell, serve
from scherbelberg.sandbox.hosts.sshd import Process, Sshd
from scherbelberg.state.keys import make_ssh_pair


class Machine:
    """An SSH server on the loopback, one of the sandbox's, that can crash and boot again on its port.

    Args:
        root: Its root folder.
    """

    def __init__(self, root: Path) -> None:
        self.host_key = make_ssh_pair()
        self.login = make_ssh_pair()
        self.port = free_port()
        self.logins = 0
        self._home = root / "root"
        self._sshd = Sshd(root, address="127.0.0.1", port=self.port, serve=self._serve)
        (self._home / ".ssh").mkdir(parents=True)
        (self._home / ".ssh/authorized_keys").write_text(self.login.public, encoding="utf-8")
        loaded = root / LOADED_KEYS
        loaded.parent.mkdir(parents=True, exist_ok=True)
        loaded.write_text(self.host_key.private, encoding="utf-8")

    async def _serve(self, process: Process) -> None:
        self.logins += 1
        await serve(process, LoginShell(shell="/bin/sh", home=self._home, environment=os.environ))

    def boot(self) -> None:
        """Begin to listen."""
        self._sshd.start()

    async def crash(self) -> None:
        """Stop listening and cut every connection."""
        await self._sshd.stop()

    def remote(self, *host_keys: str) -> Remote:
        """Our side of it; accepts the machine's own host key unless told otherwise."""
        accepted = host_keys or (self.host_key.public,)
        return Remote(
            node="worker000",
            host="127.0.0.1",
            port=self.port,
            key=self.login.private,
            host_keys=lambda: accepted,
            answered_s=lambda: 0.01,
        )

    def lock_out(self) -> None:
        """Let nobody in any more."""
        (self._home / ".ssh/authorized_keys").write_text(make_ssh_pair().public, encoding="utf-8")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def reached(machine: Machine) -> AsyncIterator[Remote]:
    """A connection to a machine."""
    remote = machine.remote()
    await remote.reach(within_s=10)
    try:
        yield remote
    finally:
        await remote.close()
