# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a command on a node left."""

from __future__ import annotations

from attrs import frozen

#: How many of the last log lines an error shows.
TAIL = 20


@frozen(kw_only=True)
class CommandResult:
    """What a command left.

    Args:
        exit_code: Its exit status.
        stdout: What it printed.
        stderr: What it printed to stderr.
    """

    exit_code: int
    stdout: str
    stderr: str

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of both."""
        return tuple((self.stdout + self.stderr).splitlines()[-TAIL:])
