# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What happens to requests before they are understood: the rate limit, and faults on purpose."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

from scherbelberg.sandbox.refusals import Refused
from scherbelberg.sandbox.words import Faults, RequestFault

LIMIT = 3600
_PER_S = 1.0


class Bucket:
    """The project's rate limit: a bucket that refills steadily."""

    def __init__(self) -> None:
        self._level = float(LIMIT)
        self._at_s = time.monotonic()

    def take(self) -> bool:
        """Take one request out; False if the bucket is empty."""
        now_s = time.monotonic()
        self._level = min(LIMIT, self._level + (now_s - self._at_s) * _PER_S)
        self._at_s = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def headers(self, now_s: float, *, empty: bool = False) -> dict[str, str]:
        """What every answer tells of it; the reset is when the bucket will be full.

        Args:
            now_s: The cloud's clock, epoch seconds.
            empty: Whether it is said to be empty, whatever it holds.
        """
        level = 0.0 if empty else self._level
        full_s = now_s + (LIMIT - level) / _PER_S
        return {
            "RateLimit-Limit": str(LIMIT),
            "RateLimit-Remaining": str(int(level)),
            "RateLimit-Reset": str(int(full_s)),
        }


class Mishaps:
    """Counts requests and tells which of them fails.

    Args:
        faults: What goes wrong.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._counts = [0] * len(faults.requests)

    def next(self, method: str, path: str) -> RequestFault | None:
        """Count a request.

        Args:
            method: HTTP method.
            path: Below ``/v1``.

        Returns:
            What goes wrong with it, or None.
        """
        found = None
        for index, fault in enumerate(self.faults.requests):
            if fault.method in ("*", method) and fnmatchcase(path, fault.path):
                self._counts[index] += 1
                if fault.hits(self._counts[index]):
                    found = found or fault
        return found


def refusal(fault: RequestFault) -> Refused:
    """The error that a fault answers with."""
    return Refused(fault.status, fault.code, f"the sandbox was told to fail this request with {fault.code}")
