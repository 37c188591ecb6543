# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Why a machine does not let us in over SSH, and when to try again. Pure.

While nobody listens there yet, to ask often costs nothing. What SSH itself refuses counts against us, though: OpenSSH
shuts out an address from which too many connections come that end before a login, and longer where a key was refused.
"""

from __future__ import annotations

from enum import Enum


class Failure(Enum):
    """How a try to connect ended; the value says it to users."""

    SILENT = "silent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    STUCK = "no answer to the login"
    CUT = "the login was broken off"
    STRANGER = "another host key"
    NOT_LET_IN = "our key is not let in"


#: The kernel asks for a connection again after 1, 3, 7 and 15 s only: a new one comes through sooner.
_CONNECT_S = 1.5
#: Where the line is slow, an answer needs its time; so it is given where nothing is known of it.
_SLOW_CONNECT_S = 5.0
_SLOW_S = 0.5
_AGAIN_S = 0.25
#: First and longest pause in seconds after what counts against us.
_PENALISED: dict[Failure, tuple[float, float]] = {
    Failure.CUT: (1.0, 5.0),
    Failure.STRANGER: (2.0, 10.0),
    Failure.NOT_LET_IN: (2.0, 10.0),
}
_GROWTH = 1.5
#: By then the longest pause is reached.
_STEPS = 10


def connect_within_s(answered_s: float | None) -> float:
    """How long one TCP connection is waited for, in seconds.

    Args:
        answered_s: The shortest time in which the cloud's API has answered, in seconds, or None if it was not asked.
            No answer is faster than the line.
    """
    return _SLOW_CONNECT_S if answered_s is None or answered_s > _SLOW_S else _CONNECT_S


def failure_of(error: OSError, *, is_connected: bool) -> Failure:
    """What an error of the operating system, or a deadline of ours, says.

    Args:
        error: It.
        is_connected: Whether there was a TCP connection before.
    """
    if isinstance(error, TimeoutError):
        return Failure.STUCK if is_connected else Failure.SILENT
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED
    return Failure.CUT if isinstance(error, ConnectionError) else Failure.UNREACHABLE


def is_penalised(failure: Failure) -> bool:
    """Whether it is the SSH server that has refused us, and may shut us out if it has to do so often."""
    return failure in _PENALISED


def pause_s(failure: Failure, refusals: int) -> float:
    """How long to wait before the next try, in seconds.

    Args:
        failure: How the last one ended.
        refusals: How many before it were held against us.
    """
    if failure not in _PENALISED:
        return _AGAIN_S
    first_s, longest_s = _PENALISED[failure]
    return float(min(first_s * _GROWTH ** min(refusals, _STEPS), longest_s))
