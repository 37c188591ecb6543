# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What deadlines mean: no doubt ever counts as expired, and nothing that may be needed is garbage."""

from __future__ import annotations

import pytest
from catalogues import CALM, NOW_S, identity, network, server
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.resources import Resource
from scherbelberg.inventory.clusters import CloudCluster, group_clusters
from scherbelberg.inventory.deadlines import (
    GcVerdict,
    format_time_left,
    judge,
    overdue_line,
    reason,
    seconds_to_deadline,
    soon_line,
    strays,
)
from scherbelberg.planning.plan import network_labels

_NOW = int(NOW_S)
_HOUR = 3600


def held(*deadlines: str | None, state: str = "ready", machines: bool = True) -> CloudCluster:
    """A cluster whose resources carry these deadlines, its network first."""
    labels = [network_labels(identity(), "ready" if state == "ready" else "creating")]
    labels += [identity().labels("scheduler")] * (len(deadlines) - 1)
    resources: list[Resource] = []
    for number, (deadline, words) in enumerate(zip(deadlines, labels, strict=True)):
        kept = {key: value for key, value in words.items() if key != "deadline"}
        kept |= {} if deadline is None else {"deadline": deadline}
        is_network = number == 0 and state != "broken"
        resources.append((network if is_network or not machines else server)("x", kept, number))
    if state == "broken" and not machines:
        resources = [Resource(kind="firewalls", id=1, name="x", labels=identity().labels("firewall"))]
    (found,) = group_clusters(resources)
    return found


@pytest.mark.parametrize(
    ("deadlines", "expected"),
    [
        (("1795000100", "1795000100"), 1_795_000_100),
        (("1795000100", "1795000200"), 1_795_000_200),
        (("1795000100", "none"), None),
        (("1795000100", None), None),
        (("1795000100", ""), None),
        (("1795000100", "-5"), None),
        (("1795000100", "1.8e9"), None),
        (("1795000100", "20261122T101500Z"), None),
        (("1795000100", "0"), None),
        (("1795000100", "1794999999"), None),
        (("1795000000", "1795000000"), 1_795_000_000),
    ],
)
def test_the_latest_deadline_counts(deadlines: tuple[str | None, ...], expected: int | None) -> None:
    """Whoever moves a deadline may be interrupted in the middle; what is missing or makes no sense never passes."""
    found = held(*deadlines)
    assert found.deadline_s == expected
    assert found.is_overdue(NOW_S + 10 * _HOUR) is (expected is not None)


def test_no_deadline_without_a_birthday() -> None:
    """A deadline that nothing can be compared with does not count."""
    labels = identity().labels("worker")
    del labels["created"]
    (found,) = group_clusters([server("x", labels)])
    assert found.deadline_s is None


@CALM
@given(st.lists(st.sampled_from(["none", "", "x", "1795003600", "1795007200", None]), min_size=2, max_size=4))
def test_doubt_is_never_overdue(deadlines: list[str | None]) -> None:
    """Only where every resource names a time, and the latest has passed, a cluster is overdue."""
    found = held(*deadlines)
    times = [int(text) for text in deadlines if text is not None and text.isdecimal()]
    assert found.is_overdue(NOW_S + 1.5 * _HOUR) is (len(times) == len(deadlines) and max(times) == _NOW + _HOUR)
    assert found.is_overdue(NOW_S) is False


_LATE = str(_NOW + 8 * _HOUR)


@pytest.mark.parametrize(
    ("holding", "passed_h", "verdict"),
    [
        (held(_LATE, _LATE), 7.9, GcVerdict.ALIVE),
        (held(_LATE, _LATE), 8, GcVerdict.EXPIRED),
        (held("none", "none"), 10_000, GcVerdict.ALIVE),
        (held(_LATE, _LATE, state="creating"), 0.9, GcVerdict.ALIVE),
        (held(_LATE, _LATE, state="creating"), 1, GcVerdict.BROKEN),
        (held(_LATE, _LATE, state="creating"), 8, GcVerdict.EXPIRED),
        (held(_LATE, _LATE, state="broken"), 0.9, GcVerdict.ALIVE),
        (held(_LATE, _LATE, state="broken"), 1, GcVerdict.BROKEN),
        (held("none", state="broken", machines=False), 0.9, GcVerdict.ALIVE),
        (held("none", state="creating"), 2, GcVerdict.BROKEN),
    ],
)
def test_verdicts(holding: CloudCluster, passed_h: float, verdict: GcVerdict) -> None:
    """Deadlines decide; what cannot be used is garbage by itself only when no machine is left of it."""
    assert judge(holding, NOW_S + passed_h * _HOUR) is verdict
    assert verdict.should_delete is (verdict in {GcVerdict.EXPIRED, GcVerdict.LEFTOVERS})


def test_remains() -> None:
    """Of what a warden or a broken deletion left, only what is free of charge goes before its deadline."""
    lost = network("x", network_labels(identity(), "ready"))
    (found,) = group_clusters([lost])
    assert judge(found, NOW_S + 3599) is GcVerdict.ALIVE
    assert judge(found, NOW_S + 3600 - 1e-3 + 1) is GcVerdict.EXPIRED
    (found,) = group_clusters([Resource(kind="networks", id=1, name="x", labels={**lost.labels, "deadline": "none"})])
    assert judge(found, NOW_S + 3600) is GcVerdict.LEFTOVERS
    assert reason(found, GcVerdict.LEFTOVERS, NOW_S) == "no machine is left of it"
    assert reason(found, GcVerdict.EXPIRED, NOW_S) == "no deadline, no machine is left of it"


@pytest.mark.parametrize(
    ("left_s", "words"),
    [(None, "no deadline"), (3600, "1 h left"), (0, "overdue by 0 s"), (-7260.5, "overdue by 2 h 1 min")],
)
def test_left_words(left_s: float | None, words: str) -> None:
    """It is said how long is left, or since when there is nothing left."""
    assert format_time_left(left_s) == words


def test_reasons() -> None:
    """Each verdict has its words."""
    found = held(_LATE, _LATE)
    assert reason(found, GcVerdict.ALIVE, NOW_S) == "8 h left"
    assert reason(found, GcVerdict.EXPIRED, NOW_S + 9 * _HOUR) == "overdue by 1 h"
    assert reason(found, GcVerdict.BROKEN, NOW_S) == "it cannot be used; 'scherbelberg nuke -p cluster' deletes it"


def test_lines() -> None:
    """All that is overdue is one line; what is near has one of its own, for those who can move it."""
    found = held(_LATE, _LATE)
    assert overdue_line([found], NOW_S) is None
    line = overdue_line([found, held("none", "none")], NOW_S + 9 * _HOUR)
    assert line is not None
    assert line.startswith("Forgotten? 'cluster' of anna_at_laptop (overdue by 1 h): 'scherbelberg gc' deletes that")
    times = [seconds_to_deadline(found, NOW_S + passed_h * _HOUR) for passed_h in (6.9, 7, 7.5, 8)]
    assert times == [None, _HOUR, 0.5 * _HOUR, None]
    assert seconds_to_deadline(held("none", "none"), NOW_S) is None
    assert soon_line("x", 1800) == "The deadline of cluster 'x' is in 30 min: 'scherbelberg extend -p x' moves it."
    assert soon_line("x", -1).startswith("The deadline of cluster 'x' is now")


def test_protected() -> None:
    """Nothing protected is garbage nor nagged about; one resource that says so speaks for all."""
    labels = identity().labels("worker")
    (found,) = group_clusters([server("a", labels, 1), server("b", labels | {"protected": ""}, 2)])
    assert judge(found, NOW_S + 100 * _HOUR) is GcVerdict.PROTECTED
    assert not GcVerdict.PROTECTED.should_delete
    assert overdue_line([found], NOW_S + 100 * _HOUR) is None
    assert seconds_to_deadline(found, NOW_S + _HOUR / 2) is None
    assert found.describe(NOW_S).endswith("2 machines, broken, protected")
    words = reason(found, GcVerdict.PROTECTED, NOW_S + 2 * _HOUR)
    assert words == "overdue by 1 h; 'scherbelberg unprotect -p cluster' allows its deletion"


def test_strays() -> None:
    """What is ours by its label alone is a stray; others' resources are none."""
    whole = identity().labels("worker")
    ours = server("a", {key: value for key, value in whole.items() if key != "uid"}, 1)
    theirs = server("b", {"prefix": "cluster"}, 2)
    assert strays([ours, theirs, server("c", whole, 3)]) == (ours,)
