# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a failed connection says, and how long to wait after it."""

from __future__ import annotations

import errno
import itertools

import pytest

from scherbelberg.nodes.reachability import Failure, connect_within_s, failure_of, is_penalised, pause_s

#: For how many seconds OpenSSH (PerSourcePenalties) holds a connection against its source, and from how many such
#: seconds on it shuts that out.
PENALTIES = {Failure.CUT: 1.0, Failure.STRANGER: 1.0, Failure.NOT_LET_IN: 5.0}
SHUT_OUT_S = 15.0


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (TimeoutError(), Failure.SILENT, Failure.STUCK),
        (OSError(errno.ETIMEDOUT, ""), Failure.SILENT, Failure.STUCK),
        (OSError(errno.ECONNREFUSED, ""), Failure.REFUSED, Failure.REFUSED),
        (OSError(errno.ENETUNREACH, ""), Failure.UNREACHABLE, Failure.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), Failure.UNREACHABLE, Failure.UNREACHABLE),
        (OSError(errno.ENETDOWN, ""), Failure.UNREACHABLE, Failure.UNREACHABLE),
        (OSError(errno.EMFILE, ""), Failure.UNREACHABLE, Failure.UNREACHABLE),
        (OSError(errno.ECONNRESET, ""), Failure.CUT, Failure.CUT),
        (OSError(errno.EPIPE, ""), Failure.CUT, Failure.CUT),
        (OSError(errno.ECONNABORTED, ""), Failure.CUT, Failure.CUT),
    ],
)
def test_errors(error: OSError, before: Failure, after: Failure) -> None:
    """An error means what it means, and a deadline depends on how far we came."""
    assert failure_of(error, is_connected=False) is before
    assert failure_of(error, is_connected=True) is after


@pytest.mark.parametrize(("answered_s", "within_s"), [(None, 5), (0.02, 1.5), (0.5, 1.5), (0.51, 5), (8, 5)])
def test_slow_lines(answered_s: float | None, within_s: float) -> None:
    """A connection has more time where the cloud's own answers are slow, or where nothing is known of them."""
    assert connect_within_s(answered_s) == within_s


@pytest.mark.parametrize("failure", [Failure.SILENT, Failure.REFUSED, Failure.UNREACHABLE, Failure.STUCK])
@pytest.mark.parametrize("refusals", [0, 1, 100])
def test_nobody_there_yet(failure: Failure, refusals: int) -> None:
    """While nobody listens, pauses are short and stay so."""
    assert not is_penalised(failure)
    assert 0 < pause_s(failure, refusals) <= 0.3


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (Failure.CUT, [1, 1.5, 2.25, 3.375, 5, 5]),
        (Failure.STRANGER, [2, 3, 4.5, 6.75, 10, 10]),
        (Failure.NOT_LET_IN, [2, 3, 4.5, 6.75, 10, 10]),
    ],
)
def test_refused_by_ssh(failure: Failure, pauses: list[float]) -> None:
    """After a refusal of SSH itself pauses are long, and grow up to a limit."""
    assert is_penalised(failure)
    assert [pause_s(failure, refusals) for refusals in range(6)] == pauses
    assert pause_s(failure, 10_000) == pauses[-1]


def test_openssh_never_shuts_us_out() -> None:
    """Whatever SSH refuses, in whichever order: OpenSSH's penalties pass faster than they come."""
    for failures in itertools.product(PENALTIES, repeat=7):
        held_s = 0.0
        for refusals, failure in enumerate(failures):
            held_s += PENALTIES[failure]
            assert held_s < SHUT_OUT_S, failures
            held_s = max(0.0, held_s - pause_s(failure, refusals))
