# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a node is tried next: single decisions in a small catalogue, and what holds whatever goes wrong and when."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from catalogues import CALM, CATALOG, identity, plan
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput
from scherbelberg.planning.attempts import Attempts
from scherbelberg.planning.candidates import MOST_PLACES
from scherbelberg.planning.plan import make_plan
from scherbelberg.spec.model import ClusterSpec

#: In eu-central: cx33 in fsn1 and nbg1, then cx23 in fsn1, nbg1 and hel1.
SPEC = ClusterSpec(worker=("cx33", "cx23"))


def begin(**fields: Any) -> Attempts:
    """Nothing was tried yet."""
    return Attempts(plan=plan(evolve(SPEC, **fields)))


def where(attempts: Attempts, name: str) -> str | None:
    """Where a node is tried next."""
    place = attempts.next_place(name)
    return place.words if place else None


def moved(attempts: Attempts, name: str) -> Attempts:
    """Go there."""
    place = attempts.next_place(name)
    assert place is not None
    return attempts.with_node_at(name, place)


def test_no_capacity() -> None:
    """Where one node finds nothing, no node is tried any more, and each goes on to the next place."""
    attempts = begin().with_failure("worker000", "sold_out", "error during placement")
    assert attempts.is_sold_out("worker000") is attempts.is_sold_out("worker001") is True
    assert attempts.is_sold_out("scheduler") is False
    assert where(attempts, "worker000") == where(attempts, "worker001") == "cx33 in nbg1"
    attempts = moved(attempts, "worker001")
    assert (attempts.is_sold_out("worker001"), attempts.node("worker001").workers) == (False, ("worker001",))
    attempts = attempts.with_failure("worker001", "sold_out", "server location disabled")
    assert where(attempts, "worker001") == where(attempts, "worker000") == "cx23 in fsn1"


def test_price_of_what_there_is() -> None:
    """The plan's price follows its nodes, and names of workers follow the cores of their machine."""
    attempts = begin(processes="auto").with_failure("worker000", "sold_out", "no")
    assert attempts.node("worker000").workers[-1] == "worker000-3"
    hourly = attempts.plan.bill.hourly.net
    for _ in range(2):
        attempts = moved(attempts, "worker000").with_failure("worker000", "sold_out", "no")
    assert attempts.node("worker000").workers[-1] == "worker000-1"
    assert attempts.plan.bill.hourly.net == hourly - Decimal("0.0144") + Decimal("0.0096")


def test_failure() -> None:
    """A worker that fails is tried once more, somewhere else; a scheduler is not."""
    attempts = begin().with_failure("worker000", "failed", "it did not boot")
    assert where(attempts, "worker000") == "cx33 in nbg1"
    attempts = moved(attempts, "worker000").with_failure("worker000", "failed", "again")
    assert where(attempts, "worker000") is None
    assert where(attempts.with_failure("scheduler", "failed", "it did not boot"), "scheduler") is None
    assert (
        where(evolve(begin(), may_replace=False).with_failure("worker000", "failed", "it did not boot"), "worker000")
        is None
    )


def test_failure_and_no_capacity() -> None:
    """Places without capacity do not count as failures, and where a worker failed it is not tried again after them."""
    attempts = begin().with_failure("worker000", "failed", "it did not boot")
    for expected in ("cx33 in nbg1", "cx23 in fsn1", "cx23 in nbg1", "cx23 in hel1"):
        assert where(attempts, "worker000") == expected
        attempts = moved(attempts, "worker000").with_failure("worker000", "sold_out", "no")
    assert where(attempts, "worker000") is None


def test_failure_in_the_only_place() -> None:
    """Where there is no other place, a worker that failed is tried there again, if there is capacity left."""
    attempts = begin(worker="cx23", location="hel1").with_failure("worker000", "failed", "it did not boot")
    assert where(attempts, "worker000") == "cx23 in hel1"
    assert where(attempts.with_failure("worker001", "sold_out", "no"), "worker000") is None


def test_limit_of_the_account() -> None:
    """A limit is final for the node that met it."""
    attempts = begin().with_failure("worker000", "quota", "server_limit exceeded")
    assert where(attempts, "worker000") is None
    assert attempts.is_sold_out("worker000") is False


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "cx33 in fsn1"),
        ({"max_hourly": "0.0391"}, None),
        ({"max_hourly": "0.0404"}, "cx33 in fsn1"),
        ({"max_total": "0.0403"}, None),
        ({"max_total": "0.0404"}, "cx33 in fsn1"),
    ],
)
def test_limits_of_the_price(limits: dict[str, Any], expected: str | None) -> None:
    """A dearer place is taken only as far as all of it stays within the limits: 3 x 0.01152, or 0.01728 for one."""
    spec = evolve(SPEC, worker=("cx23", "cx33"), location="fsn1", ttl_s=3600, **limits)
    attempts = Attempts(plan=plan(spec)).with_failure("worker000", "sold_out", "no")
    assert where(attempts, "worker000") == expected


def test_what_failed_is_paid_as_well() -> None:
    """The begun hour of a worker that was given back counts where the total is limited."""
    spec = evolve(SPEC, worker="cx23", location=("fsn1", "nbg1"), ttl_s=3600, max_total="0.0460")
    for total, expected in (("0.0460", None), ("0.0461", "cx23 in nbg1")):
        attempts = Attempts(plan=plan(evolve(spec, max_total=total))).with_failure(
            "worker000", "failed", "it did not boot"
        )
        assert where(attempts, "worker000") == expected


def test_given_up() -> None:
    """The cluster does without as many workers as the user allows, and never without its scheduler."""
    attempts = begin(workers=3, min_workers=2)
    rest = attempts.without_node("worker001")
    assert rest is not None
    assert [node.name for node in rest.plan.nodes] == ["scheduler", "worker000", "worker002"]
    assert rest.without_node("worker000") is None
    assert attempts.without_node("scheduler") is None
    assert begin().without_node("worker000") is None


def test_no_capacity_anywhere() -> None:
    """The error tells how many places there were for such a node, and what the cloud said of the last."""
    attempts = begin(location="fsn1").with_failure("worker000", "sold_out", "error during placement")
    attempts = moved(attempts, "worker000").with_failure("worker000", "sold_out", "server location disabled")
    attempts = attempts.with_failure("scheduler", "sold_out", "no")
    error = attempts.no_capacity("worker001")
    assert (error.node, error.api_code) == ("worker001", "resource_unavailable")
    assert error.message == (
        "There is no capacity for node worker001 in any of 2 places; of cx23 in fsn1 the cloud says: no. Take cx23 in"
        " nbg1 instead (0.0346 EUR an hour gross in all) by adding --location nbg1, or wait for it with --wait 30m."
    )


def test_no_capacity_where_nothing_was_planned() -> None:
    """A node that an interrupted try had elsewhere than any candidate of today has an error, too."""
    attempts = begin(location="fsn1")
    place = plan(ClusterSpec(worker="cx23", location="hel1")).candidates.worker[0]
    attempts = attempts.with_node_at("worker000", place).with_failure("worker000", "sold_out", "no")
    assert "no capacity for node worker000 in the only place; of cx23 in hel1" in (
        attempts.no_capacity("worker000").message
    )


_SPECS = st.builds(
    ClusterSpec,
    workers=st.integers(1, 4),
    worker=st.lists(st.sampled_from(["cx23", "cx33", "cax11", "cx52"]), max_size=3),
    scheduler=st.sampled_from([None, "cx23", "cax11"]),
    location=st.lists(st.sampled_from(["fsn1", "nbg1", "hel1"]), max_size=3),
    max_hourly=st.none() | st.decimals("0.02", "0.3", places=3),
    max_total=st.none() | st.decimals("0.02", "0.3", places=3),
    ttl_s=st.just(3600),
)
_OUTCOMES = st.lists(st.sampled_from(["fine", "fine", "sold_out", "sold_out", "failed", "quota"]), max_size=80)


@CALM
@given(spec=_SPECS, outcomes=_OUTCOMES, least=st.integers(1, 4), shuffle=st.randoms(use_true_random=False))
def test_whatever_goes_wrong(spec: ClusterSpec, outcomes: list[Any], least: int, shuffle: Any) -> None:
    """Limits, zone, processors and numbers of tries hold; it ends with enough nodes, or for a reason."""
    spec = evolve(spec, min_workers=min(least, spec.workers))
    try:
        attempts = Attempts(plan=make_plan(spec, CATALOG, identity()))
    except BadInput:
        return
    first = attempts.plan
    names = [node.name for node in first.nodes]
    pending = list(names)
    while pending:
        name = pending.pop(shuffle.randrange(len(pending)))
        outcome: Any = outcomes.pop() if outcomes else "fine"
        if not attempts.is_sold_out(name):
            if outcome == "fine":
                continue
            attempts = attempts.with_failure(name, outcome, "the test says so")
        place = attempts.next_place(name)
        rest = attempts.without_node(name) if place is None else attempts.with_node_at(name, place)
        if rest is None:
            assert name == "scheduler" or len(attempts.plan.nodes) - 1 == spec.min_workers_effective
            break
        attempts = rest
        if place is not None:
            assert not attempts.is_sold_out(name)
            pending.append(name)
        check(attempts)
    else:
        assert len(attempts.plan.nodes) - 1 >= spec.min_workers_effective
    assert attempts.plan.nodes[0].name == "scheduler"


def check(attempts: Attempts) -> None:
    """What holds at any time."""
    spec, candidates = attempts.plan.spec, attempts.plan.candidates
    bill = attempts.plan.bill
    assert bill.hourly.gross <= (spec.max_hourly or bill.hourly.gross)
    assert bill.at_most is not None
    assert bill.at_most.gross <= (spec.max_total or bill.at_most.gross)
    for node in attempts.plan.nodes:
        places = candidates.scheduler if node.role == "scheduler" else candidates.worker
        assert (node.server_type, node.location) in {(place.server_type, place.location) for place in places}
        assert CATALOG.zones[node.location] == attempts.plan.network_zone == "eu-central"
        assert not spec.location or node.location in spec.location
        rows = [row for row in attempts.tried if row.node == node.name]
        assert len(rows) <= MOST_PLACES + 2
        failed = [row for row in rows if row.outcome == "failed"]
        assert len(failed) <= 1
        empty = [(row.server_type, row.location) for row in rows if row.outcome == "sold_out"]
        assert len(set(empty)) == len(empty)
