# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From when until when certificates are valid: whose clock may make them, and which deadlines they outlive."""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from catalogues import NOW_S, OWNER, UID, network

from scherbelberg.errors import BadInput
from scherbelberg.inventory.clusters import CloudCluster, group_clusters
from scherbelberg.inventory.validity import check_clock, check_deadline, ending_line
from scherbelberg.planning.plan import LEAST_VALID_S, make_identity
from scherbelberg.spec.model import LONGEST_TTL_S, ClusterSpec

_HOUR, _DAY = 3600, 86400


def _held(ttl_s: int | None) -> CloudCluster:
    who = make_identity(ClusterSpec(ttl_s=ttl_s), uid=UID, owner=OWNER, now_s=NOW_S)
    (held,) = group_clusters([network("cluster", who.labels("network"))])
    return held


@pytest.mark.parametrize("behind_s", [-9e6, -3 * _HOUR, 0, 3299])
def test_clocks_that_do(behind_s: float) -> None:
    """A clock that is ahead, or less than an hour behind, takes certificates that are dated an hour back."""
    check_clock(here_s=NOW_S - behind_s, cloud_s=NOW_S)


@pytest.mark.parametrize(("behind_s", "words"), [(3300, "55 min"), (3 * _HOUR, "3 h"), (40 * _DAY, "40 d")])
def test_clocks_that_are_behind(behind_s: float, words: str) -> None:
    """A clock by which new certificates are not valid yet is refused, and it says by how much it is wrong."""
    with pytest.raises(BadInput, match=f"^This computer's clock is {words} behind the cloud's"):
        check_clock(here_s=NOW_S - behind_s, cloud_s=NOW_S)


@pytest.mark.parametrize("ttl_s", [None, 1, 12 * _HOUR, 399 * _DAY, 400 * _DAY, 3650 * _DAY, LONGEST_TTL_S])
def test_certificates_outlive_the_time_to_live(ttl_s: int | None) -> None:
    """They live 400 days at the least, and longer than any time to live, which may begin anew some days later."""
    who = make_identity(ClusterSpec(ttl_s=ttl_s), uid=UID, owner=OWNER, now_s=NOW_S)
    assert who.certified_s is not None
    assert who.certified_s - who.created_s >= max(LEAST_VALID_S, (ttl_s or 0) + 30 * _DAY)
    check_deadline("cluster", deadline_s=who.deadline_s, certified_s=who.certified_s)
    assert _held(ttl_s).certified_s == who.certified_s


def test_deadlines() -> None:
    """A deadline that is later than the certificates' end is refused with that date; who knows no end refuses none."""
    end_s = int(NOW_S) + LEAST_VALID_S
    for deadline_s in (None, end_s):
        check_deadline("cluster", deadline_s=deadline_s, certified_s=end_s)
    check_deadline("cluster", deadline_s=end_s, certified_s=None)
    with pytest.raises(BadInput, match=r"'cluster' cannot live until 2027-12-24: its certificates end on 2027-12-23"):
        check_deadline("cluster", deadline_s=end_s + _DAY, certified_s=end_s)


def test_labels_of_old() -> None:
    """Of a cluster that was made before labels told the end, it is that of certificates that live shortest."""
    labels = make_identity(ClusterSpec(), uid=UID, owner=OWNER, now_s=NOW_S).labels("network")
    del labels["certified"]
    (held,) = group_clusters([network("cluster", labels)])
    assert held.certified_s == int(NOW_S) + LEAST_VALID_S
    del labels["created"]
    (held,) = group_clusters([network("cluster", labels)])
    assert (held.certified_s, ending_line(held, NOW_S + 9e9)) == (None, None)


def test_endings() -> None:
    """Of a cluster that no deadline ends before, the end of its certificates is told 30 days before, and after it."""
    held = _held(None)
    end_s = NOW_S + LEAST_VALID_S
    assert ending_line(held, end_s - 30 * _DAY - 1) is None
    line = ending_line(held, end_s - 30 * _DAY)
    assert line is not None
    assert line.startswith("The certificates of cluster 'cluster' end on 2027-12-23, in 30 d, and nobody can use it")
    for at_s in (end_s, end_s + 400 * _DAY):
        assert re.search(r"ended on 2027-12-23, .*'scherbelberg destroy -p cluster'", ending_line(held, at_s) or "")


def test_endings_after_a_deadline() -> None:
    """A deadline that comes before is told anyway; protection makes it void, and one that comes later is too late."""
    held = _held(_HOUR)
    end_s = NOW_S + LEAST_VALID_S
    assert ending_line(held, end_s - _DAY) is None
    assert ending_line(evolve(held, is_protected=True), end_s - _DAY) is not None
    assert ending_line(evolve(held, deadline_s=int(end_s) + 1), end_s - _DAY) is not None
