# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a project holds, sorted into clusters by label."""

from __future__ import annotations

import pytest
from catalogues import CALM, NOW_S, OWNER, UID, identity, network, server
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.resources import Resource
from scherbelberg.inventory.clusters import CloudCluster, format_duration, group_clusters, selector
from scherbelberg.planning.plan import LEAST_VALID_S, network_labels

#: Neighbours that look alike.
_PREFIXES = ("cluster", "cluster2", "cluster-2", "clus")
_UIDS = ("00", "01", "0")


def _labels(prefix: str = "cluster", uid: str = UID, role: str = "worker") -> dict[str, str]:
    return identity(prefix, uid).labels(role)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {"managed-by": "scherbelberg"}),
        ({"prefix": "cluster"}, {"managed-by": "scherbelberg", "prefix": "cluster"}),
        ({"uid": "u"}, {"managed-by": "scherbelberg", "uid": "u"}),
        ({"prefix": "a", "uid": "u"}, {"managed-by": "scherbelberg", "prefix": "a", "uid": "u"}),
    ],
)
def test_selector(wanted: dict[str, str], expected: dict[str, str]) -> None:
    """Whatever is looked for is ours; what was not asked for is not compared."""
    assert selector(**wanted) == expected


@pytest.mark.parametrize("other", _PREFIXES[1:])
def test_neighbours_are_not_selected(other: str) -> None:
    """Labels of a cluster whose name begins alike do not match."""
    wanted = selector(prefix="cluster").items()
    assert wanted <= _labels("cluster").items()
    assert not wanted <= _labels(other).items()


def test_holding() -> None:
    """A cluster is all that carries its uid, described by its labels; machines are listed by name."""
    resources = (
        server("cluster-worker001", _labels(), 3),
        server("cluster-scheduler", _labels(role="scheduler"), 1),
        server("cluster-worker000", _labels(), 2),
        network("cluster", network_labels(identity(), "ready"), 4),
    )
    (found,) = group_clusters(resources)
    assert found == CloudCluster(
        prefix="cluster",
        uid=UID,
        owner=OWNER,
        created_s=int(NOW_S),
        state="ready",
        deadline_s=int(NOW_S) + 3600,
        idle_s=None,
        certified_s=int(NOW_S) + LEAST_VALID_S,
        is_protected=False,
        resources=resources,
    )
    assert [machine.id for machine in found.servers] == [1, 2, 3]


@pytest.mark.parametrize(
    ("resources", "state"),
    [
        (
            (
                network("c", network_labels(identity(), "ready")),
                server("c-scheduler", _labels() | {"role": "scheduler"}),
            ),
            "ready",
        ),
        ((network("c", network_labels(identity(), "ready")), server("c-worker000", _labels())), "broken"),
        ((network("c", network_labels(identity(), "creating")),), "creating"),
        ((network("c", _labels(role="network")),), "creating"),
        ((server("c-scheduler", _labels()),), "broken"),
        ((server("c-scheduler", _labels() | {"state": "ready"}),), "broken"),
    ],
)
def test_state(resources: tuple[Resource, ...], state: str) -> None:
    """The network says how far a cluster is; without one, or ready without a scheduler, it is broken."""
    assert [found.state for found in group_clusters(resources)] == [state]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"managed-by": "somebody-else", "prefix": "cluster", "uid": UID},
        {"prefix": "cluster", "uid": UID},
        {"managed-by": "scherbelberg", "uid": UID},
        {"managed-by": "scherbelberg", "prefix": "cluster"},
    ],
)
def test_what_is_not_ours_is_left_out(labels: dict[str, str]) -> None:
    """A resource without all of our labels belongs to no cluster, whatever it is called."""
    assert group_clusters([server("cluster-scheduler", labels)]) == ()


@pytest.mark.parametrize(("created", "expected"), [("17", 17), ("", 0), ("yesterday", 0), ("-1", 0), ("1.5", 0)])
def test_created(created: str, expected: int) -> None:
    """A label that is no time counts as the beginning of time, not as an error."""
    (found,) = group_clusters([server("x", _labels() | {"created": created})])
    assert found.created_s == expected


def test_missing_owner() -> None:
    """A label that somebody deleted is no reason not to find the cluster."""
    labels = _labels()
    del labels["owner"], labels["created"]
    (found,) = group_clusters([server("x", labels)])
    assert (found.owner, found.created_s) == ("unknown", 0)
    assert found.describe(NOW_S) == "'cluster' of unknown, unknown time old, 1 machine, broken"


@CALM
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["servers", "networks"]),
            st.none() | st.sampled_from(_UIDS),
            st.sampled_from([*_PREFIXES, None]),
            st.booleans(),
        )
    )
)
def test_uids_never_mix(rows: list[tuple[str, str | None, str | None, bool]]) -> None:
    """Any crowd of resources is sorted so that each of ours is in exactly one cluster, its own."""
    resources = []
    for number, (kind, uid, prefix, ours) in enumerate(rows):
        labels = {"managed-by": "scherbelberg" if ours else "terraform", "uid": uid, "prefix": prefix}
        present = {key: value for key, value in labels.items() if value is not None}
        resources.append((server if kind == "servers" else network)("x", present, number))
    found = group_clusters(resources)
    for one in found:
        names = {(resource.labels["uid"], resource.labels["prefix"]) for resource in one.resources}
        assert names == {(one.uid, one.prefix)}
    assert len({(one.uid, one.prefix) for one in found}) == len(found)
    assert {resource.id for one in found for resource in one.resources} == {
        number for number, (_, uid, prefix, ours) in enumerate(rows) if ours and uid and prefix
    }


def test_order() -> None:
    """Clusters are listed by name, then by age."""
    young = _labels("b", "1") | {"created": "200"}
    old = _labels("b", "2") | {"created": "100"}
    found = group_clusters([server("x", young, 1), server("x", old, 2), server("x", _labels("a", "3"), 3)])
    assert [one.uid for one in found] == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        (0, "'cluster' of anna_at_laptop, 1 h 30 min old, 0 machines, creating"),
        (1, "'cluster' of anna_at_laptop, 1 h 30 min old, 1 machine, creating"),
        (2, "'cluster' of anna_at_laptop, 1 h 30 min old, 2 machines, creating"),
    ],
)
def test_described(machines: int, expected: str) -> None:
    """One phrase names the cluster, its owner, its age, its machines and its state."""
    servers = [server(f"cluster-worker00{number}", _labels(), number) for number in range(machines)]
    (found,) = group_clusters([network("cluster", network_labels(identity(), "creating"), 9), *servers])
    assert found.describe(NOW_S + 5400.7) == expected
    assert found.age(NOW_S) == "0 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.99, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
        (3 * 86400 + 7200 + 59, "3 d 2 h"),
    ],
)
def test_words_for(seconds: float, words: str) -> None:
    """A duration has its two largest units."""
    assert format_duration(seconds) == words


@CALM
@given(st.integers(0, 10**9))
def test_words_for_anything(seconds: int) -> None:
    """Words never say more than there is, and miss less than their smallest unit's larger neighbour."""
    sizes = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = format_duration(seconds).split()
    said = sum(int(count) * sizes[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert said <= seconds < said + 3600
    assert len(words) <= 4
