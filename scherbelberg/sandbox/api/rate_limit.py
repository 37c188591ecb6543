# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rate limit of the API."""

from __future__ import annotations

import time

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
