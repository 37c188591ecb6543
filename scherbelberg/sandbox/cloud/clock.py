# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated cloud's clock, which can be moved, so that nobody has to wait for a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Goes as this computer's, and ahead of it by as much as one likes.

    Attributes:
        ahead_s: By how much, in seconds.
    """

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def set(self, ahead_s: float) -> None:
        """Move it.

        Args:
            ahead_s: By how much it is ahead from now on, in seconds.
        """
        self.ahead_s = ahead_s

    def now(self) -> datetime:
        """The time that goes into answers."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)
