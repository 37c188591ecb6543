# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Decides where a node is tried next when one place has no capacity or a worker has failed. Pure."""

from __future__ import annotations

from attrs import evolve, frozen

from scherbelberg.cloud.pricing import NOTHING, Price, total
from scherbelberg.errors import FailedAttempt, NoCapacity, Outcome
from scherbelberg.planning.candidates import Place, key_of
from scherbelberg.planning.plan import ClusterPlan, NodePlan, NodeRole, plan_node
from scherbelberg.planning.remedies import advice, remedies

#: How often a worker may fail: the first time it is replaced.
_MOST_FAILURES = 1


@frozen(kw_only=True)
class Attempts:
    """Where the nodes of a cluster are, or are to be, and what was tried in vain; each step makes a new one.

    Args:
        plan: The cluster with its nodes where they are now, without those that were given up.
        tried: What was tried in vain, in order.
        may_replace: Whether a worker that fails is replaced.
    """

    plan: ClusterPlan
    tried: tuple[FailedAttempt, ...] = ()
    may_replace: bool = True

    def node(self, name: str) -> NodePlan:
        """The plan of a node.

        Args:
            name: As users know it; it was not given up.
        """
        return next(node for node in self.plan.nodes if node.name == name)

    def is_sold_out(self, name: str) -> bool:
        """Whether it is known, from this node or another, that where a node is to be there is no capacity."""
        node = self.node(name)
        return (node.server_type.name, node.location) in self._sold_out

    def with_failure(self, name: str, outcome: Outcome, said: str) -> Attempts:
        """Note that a node was tried in vain where it is now.

        Args:
            name: The node.
            outcome: What came of it.
            said: The cloud's or the node's own words.
        """
        node = self.node(name)
        row = FailedAttempt(
            node=name, server_type=node.server_type.name, location=node.location, outcome=outcome, said=said
        )
        return evolve(self, tried=(*self.tried, row))

    def next_place(self, name: str) -> Place | None:
        """Decide where a node that was tried in vain is tried next.

        It is the first candidate that nobody found without capacity and where this node was not, within the limits of
        the price. A worker that failed where there is no other place is tried there again.

        Args:
            name: The node.

        Returns:
            The place, or None if it is given up: a limit of the account is reached, the scheduler or a worker that was
            replaced has failed, or there is no place left.
        """
        node = self.node(name)
        own = [row for row in self.tried if row.node == name]
        failures = sum(row.outcome == "failed" for row in own)
        if any(row.outcome == "quota" for row in own):
            return None
        if failures > (_MOST_FAILURES if self.may_replace and node.role == "worker" else 0):
            return None
        sold_out, been = self._sold_out, {(row.server_type, row.location) for row in own}
        places = [
            one for one in self._candidates(name) if key_of(one) not in sold_out and self._is_affordable(name, one)
        ]
        other = next((one for one in places if key_of(one) not in been), None)
        if other is not None or not own or own[-1].outcome != "failed":
            return other
        return next((one for one in places if key_of(one) == (node.server_type.name, node.location)), None)

    def no_capacity(self, name: str) -> NoCapacity:
        """The error where there is no place left for a node.

        Args:
            name: The node; where it is to be there is no capacity.
        """
        node = self.node(name)
        own = {(node.server_type.name, node.location), *(key_of(place) for place in self._candidates(name))}
        rows = [row for row in self.tried if row.outcome == "sold_out" and (row.server_type, row.location) in own]
        count, last = len({(row.server_type, row.location) for row in rows}), rows[-1]
        where = "the only place" if count == 1 else f"any of {count} places"
        found = remedies(self.plan, self._roles_without_place(node.role), self._sold_out)
        error = NoCapacity(
            f"There is no capacity for node {name} in {where}; of {last.server_type} in {last.location} the cloud says:"
            f" {last.said}. {advice(found)}",
            api_code="resource_unavailable",
            node=name,
            said=last.said,
        )
        error.remedies = found
        return error

    def _roles_without_place(self, role: NodeRole) -> tuple[NodeRole, ...]:
        """A role, and the other one as well if there is nothing for it either."""
        kept: list[NodeRole] = []
        for other in dict.fromkeys(node.role for node in self.plan.nodes):
            keys = {key_of(place) for place in self._candidates(other)}
            if other == role or keys <= self._sold_out:
                kept.append(other)
        return tuple(kept)

    def with_capacity_unknown(self) -> Attempts:
        """Forget where there was no capacity, since there may be some by now."""
        return evolve(self, tried=tuple(row for row in self.tried if row.outcome != "sold_out"))

    def with_node_at(self, name: str, place: Place) -> Attempts:
        """Have a node somewhere else.

        Args:
            name: The node.
            place: Where.
        """
        spec = self.plan.spec
        nodes = (plan_node(name, node.role, spec, place) if node.name == name else node for node in self.plan.nodes)
        return evolve(self, plan=evolve(self.plan, nodes=tuple(nodes)))

    def without_node(self, name: str) -> Attempts | None:
        """Do without a node.

        Args:
            name: The node.

        Returns:
            The cluster without it, or None if the user does not want it without it.
        """
        nodes = tuple(node for node in self.plan.nodes if node.name != name)
        if name == "scheduler" or len(nodes) - 1 < self.plan.spec.min_workers_effective:
            return None
        return evolve(self, plan=evolve(self.plan, nodes=nodes))

    def _candidates(self, name: str) -> tuple[Place, ...]:
        return self.plan.candidates.scheduler if name == "scheduler" else self.plan.candidates.worker

    @property
    def _sold_out(self) -> set[tuple[str, str]]:
        return {(row.server_type, row.location) for row in self.tried if row.outcome == "sold_out"}

    def _is_affordable(self, name: str, place: Place) -> bool:
        spec = self.plan.spec
        if spec.max_hourly is None and spec.max_total is None:
            return True
        bill = self.with_node_at(name, place).plan.bill
        most = (bill.at_most or NOTHING) + self._spent
        return bill.hourly.gross <= (spec.max_hourly or bill.hourly.gross) and most.gross <= (
            spec.max_total or most.gross
        )

    @property
    def _spent(self) -> Price:
        """The begun hours of what failed and was given back."""
        prices = {key_of(place): place.hourly for place in self.plan.candidates.worker}
        rows = [(row.server_type, row.location) for row in self.tried if row.outcome == "failed"]
        return total(prices[key] for key in rows if key in prices)
