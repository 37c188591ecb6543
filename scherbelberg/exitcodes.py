# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The numbers with which the command line ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line, one per kind of failure."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    TOKEN = 3
    QUOTA = 4
    CAPACITY = 5
    TIMEOUT = 6
    MISMATCH = 7
    LEFTOVERS = 8
    EXISTS = 9
    NOT_FOUND = 10
    STATE = 11
    CLOUD = 12
    NODE = 13
    SANDBOX = 14
    ENVIRONMENT = 15
    PROTECTED = 16
    INTERRUPTED = 130
    TERMINATED = 143
