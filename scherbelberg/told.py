# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Events as lines of text, for those who keep a log and no more."""

from __future__ import annotations

import logging
from collections.abc import Callable

from scherbelberg.concurrency.loop import carried
from scherbelberg.events import Event, Listener

#: What takes lines: a function of one text, or a logger, which gets failures as warnings.
Log = Callable[[str], object] | logging.Logger


def line(event: Event) -> str:
    """Write an event as one line, such as ``worker000: rent done (cx23 in fsn1)``."""
    place = f"{event.node}: " if event.node else ""
    count = f" {event.done}/{event.total}" if event.done is not None and event.total is not None else ""
    detail = f" ({event.detail})" if event.detail else ""
    return f"{place}{event.phase.value} {event.state}{count}{detail}"


def told(listen: Listener, log: Log | None) -> Listener:
    """Make one listener of two.

    Args:
        listen: Is given events.
        log: Is given lines of text; None for nobody.
    """
    if log is None:
        return listen
    write = log

    def write_line(event: Event) -> None:
        if not isinstance(write, logging.Logger):
            write(line(event))
        else:
            write.log(logging.WARNING if event.state == "failed" else logging.INFO, "%s", line(event))

    # Each on its own: the one's error does not silence the other.
    each = (carried(listen), carried(write_line))

    def tell(event: Event) -> None:
        for one in each:
            one(event)

    return tell
