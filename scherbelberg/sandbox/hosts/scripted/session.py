# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a scripted host says to its client in a session, and hears from it."""

from __future__ import annotations

import asyncio

from scherbelberg.sandbox.hosts.scripted.logs import Log
from scherbelberg.sandbox.hosts.sshd import Process


class ScriptFailed(Exception):
    """The script ends with this sentence."""

    #: What the client is told with it.
    word = "failed"


class ScriptHopeless(ScriptFailed):
    """The same, for a reason that every other host would have."""

    word = "hopeless"


class Session:
    """The streams of one session, used as the node's script does.

    Args:
        process: The session.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        #: What a failure is announced for; before the first phase it is not announced.
        self.phase = ""
        #: What keeps what is said of the run, if anything does.
        self.record: Log | None = None

    def print(self, line: str) -> None:
        """Write a line to standard output."""
        self._process.stdout.write(f"{line}\n".encode())

    def note(self, line: str) -> None:
        """Write a line to standard error."""
        self._keep(line)
        self._process.stderr.write(f"{line}\n".encode())

    def _keep(self, line: str) -> None:
        if self.record is not None:
            self.record.append(line)

    def send(self, line: str) -> None:
        """Tell the client."""
        self.print(f"@{line}")

    def send_phase(self, phase: str, state: str = "start") -> None:
        """Tell of a phase.

        Args:
            phase: Which.
            state: What happened to it, and a detail.
        """
        self.phase = phase
        self._keep(f"phase {phase} {state}")
        self.send(f"phase {phase} {state}")

    def fail(self, sentence: str, *, word: str = ScriptFailed.word) -> None:
        """Tell why the script ends.

        Args:
            sentence: Why.
            word: What kind of failure it is.
        """
        if self.phase:
            self.send(f"{word} {self.phase} {sentence}")
        self.note(f"bootstrap.sh: {sentence}")

    async def receive(self, word: str, *, within_s: float) -> str:
        """Take an answer.

        Args:
            word: What it begins with.
            within_s: Deadline in seconds.

        Returns:
            The rest of it.

        Raises:
            ScriptFailed: It does not come, or is another one.
        """
        try:
            async with asyncio.timeout(within_s):
                line = await self._process.stdin.readline()
        except TimeoutError:
            raise ScriptFailed(f'the client did not answer "{word}" within {within_s:g} s') from None
        if not line.endswith(b"\n"):
            raise ScriptFailed(f'the connection ended before the client answered "{word}"')
        got, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
        if got != word:
            raise ScriptFailed(f'expected the answer "{word}" and got "{got}"')
        return rest
