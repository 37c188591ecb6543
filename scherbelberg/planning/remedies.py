# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What there is where nothing of what was asked for can be had, and which options take it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from scherbelberg.cloud.pricing import Price, enough
from scherbelberg.planning.candidates import MAX_PRICE_FACTOR, Place, key_of
from scherbelberg.planning.plan import ClusterPlan, NodeRole, plan_node
from scherbelberg.spec.model import ClusterSpec

#: So many are told of.
_MOST = 5


@frozen(kw_only=True)
class Remedy:
    """Something that there is, and what has to be asked for to get it.

    Args:
        words: It for people: ``cpx22 in fsn1``.
        hourly: What the whole cluster costs an hour with it.
        currency: Of that, ISO 4217 code.
        fields: Fields of the spec, with the values that take it.
        options: The options of the command line that do the same, added to those that were given.
    """

    words: str
    hourly: Price
    currency: str
    fields: Mapping[str, Any] = field(hash=False)
    options: str


def remedies(
    plan: ClusterPlan, roles: Collection[NodeRole], sold_out: Collection[tuple[str, str]]
) -> tuple[Remedy, ...]:
    """List what there is where some nodes can be nowhere, the best first.

    Args:
        plan: The cluster, with its nodes where they are.
        roles: Of those nodes.
        sold_out: Server types and locations in which there is known to be nothing.
    """
    found: dict[str, Remedy] = {}
    for kind in _kinds(plan, roles, sold_out):
        places = {role: _place(plan, role, kind, sold_out) for role in roles}
        known = {role: place for role, place in places.items() if place is not None}
        if len(known) == len(places):
            remedy = _remedy(plan, known)
            found.setdefault(remedy.options, remedy)
    return tuple(found.values())[:_MOST]


def _kinds(plan: ClusterPlan, roles: Collection[NodeRole], sold_out: Collection[tuple[str, str]]) -> Iterator[str]:
    for role in roles:
        for place in plan.candidates.beyond(role):
            if key_of(place) not in sold_out:
                yield place.server_type.name


def _place(plan: ClusterPlan, role: NodeRole, kind: str, sold_out: Collection[tuple[str, str]]) -> Place | None:
    """Where a node of a role would be: of that type, or the best that there is for it."""
    places = [place for place in plan.candidates.beyond(role) if key_of(place) not in sold_out]
    return next((place for place in places if place.server_type.name == kind), next(iter(places), None))


def _remedy(plan: ClusterPlan, places: Mapping[NodeRole, Place]) -> Remedy:
    spec = plan.spec
    nodes = tuple(
        plan_node(node.name, node.role, spec, places[node.role]) if node.role in places else node for node in plan.nodes
    )
    costs = evolve(plan, nodes=nodes).bill
    fields: dict[str, Any] = {}
    options: list[str] = []
    are_named = True  # or not so dear that nobody would expect it
    for role, place in places.items():
        kind = place.server_type.name
        named = spec.worker if role == "worker" else tuple(filter(None, (spec.scheduler,)))
        # Nobody gets other processors beside those of their own without having named them.
        if not named and place.architecture == _first(plan, role).architecture:
            are_named = are_named and place.hourly.gross <= MAX_PRICE_FACTOR * _first(plan, role).hourly.gross
        elif kind not in named:
            fields[role], options = (*named, kind) if role == "worker" else kind, [*options, f"--{role}-type {kind}"]
        if spec.location and place.location not in fields.get("location", spec.location):
            fields["location"] = (*fields.get("location", spec.location), place.location)
            options += [f"--location {place.location}"]
    amount = enough(costs.hourly.gross)
    if not are_named if spec.max_hourly is None else amount > spec.max_hourly:
        fields["max_hourly"], options = amount, [*options, f"--max-hourly {amount}"]
    if spec.max_total is not None and costs.at_most is not None and costs.at_most.gross > spec.max_total:
        fields["max_total"] = enough(costs.at_most.gross)
        options += [f"--max-total {fields['max_total']}"]
    words = " and ".join(dict.fromkeys(place.words for place in places.values()))
    return Remedy(words=words, hourly=costs.hourly, currency=plan.currency, fields=fields, options=" ".join(options))


def _first(plan: ClusterPlan, role: NodeRole) -> Place:
    return (plan.candidates.scheduler if role == "scheduler" else plan.candidates.worker)[0]


def apply_remedy(spec: ClusterSpec, remedy: Remedy) -> ClusterSpec:
    """What the user wants who takes what there is.

    Args:
        spec: What they wanted.
        remedy: What they take.
    """
    return evolve(spec, **remedy.fields)


def advice(found: Collection[Remedy]) -> str:
    """Say what to do where there is nothing of what was asked for.

    Args:
        found: What there is instead.
    """
    wait = "wait for it with --wait 30m"
    if not found:
        return f"In this network zone there is nothing else that would do: {wait}."
    first = next(iter(found))
    price = f"{enough(first.hourly.gross)} {first.currency} an hour gross in all"
    return f"Take {first.words} instead ({price}) by adding {first.options}, or {wait}."
