# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From what the user wants and what the cloud offers to everything that will be made, as values. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Literal

from attrs import field, frozen, validators

from scherbelberg.cloud.pricing import Bill, Price, Tariff, bill, enough, total
from scherbelberg.cloud.resources import Catalog, Image, ServerType
from scherbelberg.environments.lock import PLATFORMS
from scherbelberg.errors import BadInput
from scherbelberg.planning.candidates import Candidates, Place, candidates
from scherbelberg.spec.model import AUTO, ClusterSpec

MANAGED_BY = "scherbelberg"
NodeRole = Literal["scheduler", "worker"]
ClusterState = Literal["creating", "ready"]
#: Certificates are valid from so many seconds before they are made: a node's clock may be behind.
BACKDATED_S = 3600
#: For so many seconds they are valid at the least, and for so many more than the time to live: that is counted anew
#: when an interrupted making goes on.
LEAST_VALID_S = 400 * 86400
_MORE_VALID_S = 30 * 86400


@frozen(kw_only=True)
class Identity:
    """Who a cluster is and whose.

    Args:
        prefix: Its name.
        uid: Drawn when it is created, never used again.
        owner: Who created it, in label syntax.
        created_s: When, as epoch seconds of the API's clock.
        deadline_s: When it counts as forgotten, or None for never.
        idle_s: Seconds without work after which it does, too, or None for never.
        certified_s: Until when its certificates are valid, as epoch seconds, or None in records that do not tell.
    """

    prefix: str
    uid: str
    owner: str
    created_s: int = field(validator=validators.instance_of(int))
    deadline_s: int | None = field(validator=validators.optional(validators.instance_of(int)))
    idle_s: int | None = field(default=None, validator=validators.optional(validators.instance_of(int)))
    certified_s: int | None = field(default=None, validator=validators.optional(validators.instance_of(int)))

    def labels(self, role: str) -> dict[str, str]:
        """Labels of a resource; times are epoch seconds since labels take no colons."""
        return {
            "managed-by": MANAGED_BY,
            "prefix": self.prefix,
            "uid": self.uid,
            "owner": self.owner,
            "role": role,
            "created": str(self.created_s),
            "deadline": time_label(self.deadline_s),
            **({} if self.idle_s is None else {"idle": str(self.idle_s)}),
            **({} if self.certified_s is None else {"certified": str(self.certified_s)}),
        }


#: A label of what must not be deleted; its value says nothing.
PROTECTED = "protected"


def time_label(time_s: int | None) -> str:
    """Write a deadline, or an idle time, as a label.

    Args:
        time_s: Epoch seconds, or seconds, or None for never.
    """
    return "none" if time_s is None else str(time_s)


@frozen(kw_only=True)
class NodePlan:
    """One machine of a cluster.

    Args:
        name: As users know it: ``scheduler``, ``worker000``, ...
        role: What it does.
        server_name: As the cloud knows it.
        server_type: What is rented.
        location: Where it is.
        image: What its disk begins with.
        tariffs: What is charged for it: the server, and its IPv4 address.
        workers: Names of the Dask workers on it; none on the scheduler.
        begun_s: When it was rented, as epoch seconds, if an interrupted try has done that.
    """

    name: str
    role: NodeRole
    server_name: str
    server_type: ServerType
    location: str
    image: Image
    tariffs: tuple[Tariff, ...]
    workers: tuple[str, ...] = ()
    begun_s: int | None = None

    @property
    def hourly(self) -> Price:
        """Price per hour, IPv4 address included."""
        return total(tariff.hourly for tariff in self.tariffs)


@frozen(kw_only=True)
class ClusterPlan:
    """All that will be made.

    Args:
        spec: What the user wants.
        identity: Who the cluster is.
        begin_s: When what is not rented yet will be, as epoch seconds of the API's clock.
        network_zone: Where all of it is.
        nodes: The scheduler, then the workers.
        currency: Of its prices, ISO 4217 code.
        candidates: Where nodes can be instead, beginning with where they are planned.
    """

    spec: ClusterSpec
    identity: Identity
    begin_s: int
    network_zone: str
    nodes: tuple[NodePlan, ...]
    currency: str
    candidates: Candidates

    @property
    def location(self) -> str:
        """Where the scheduler is."""
        return self.nodes[0].location

    @property
    def bill(self) -> Bill:
        """What it costs."""
        return bill(
            ((node.begun_s or self.begin_s, node.tariffs) for node in self.nodes),
            currency=self.currency,
            end_s=self.identity.deadline_s,
        )

    def node(self, server_name: str) -> NodePlan | None:
        """The node that the cloud knows by a name, or None."""
        return next((node for node in self.nodes if node.server_name == server_name), None)


def make_identity(spec: ClusterSpec, *, uid: str, owner: str, now_s: float) -> Identity:
    """Say who a new cluster is.

    Args:
        spec: What the user wants.
        uid: The uid drawn for it.
        owner: In label syntax.
        now_s: The API's clock, epoch seconds.
    """
    created = int(now_s)
    deadline = None if spec.ttl_s is None else created + spec.ttl_s
    return Identity(
        prefix=spec.prefix,
        uid=uid,
        owner=owner,
        created_s=created,
        deadline_s=deadline,
        idle_s=spec.idle_s,
        certified_s=created + max(LEAST_VALID_S, (spec.ttl_s or 0) + _MORE_VALID_S),
    )


def make_plan(
    spec: ClusterSpec, catalog: Catalog, identity: Identity, *, architectures: Collection[str] | None = None
) -> ClusterPlan:
    """Decide what will be made.

    Args:
        spec: What the user wants.
        catalog: What can be rented.
        identity: Who the cluster is.
        architectures: Processors that there is an environment for; None for all.

    Raises:
        BadInput: The catalogue has not what the user wants, or it would cost more than the user wants.
    """
    found = candidates(spec, catalog, architectures=architectures)
    names = [f"worker{number:03d}" for number in range(spec.workers)]
    plan = ClusterPlan(
        spec=spec,
        identity=identity,
        begin_s=identity.created_s,
        network_zone=catalog.zones[found.worker[0].location],
        nodes=(
            plan_node("scheduler", "scheduler", spec, found.scheduler[0]),
            *(plan_node(name, "worker", spec, found.worker[0]) for name in names),
        ),
        currency=catalog.currency,
        candidates=found,
    )
    check_total(plan)
    return plan


def check_total(plan: ClusterPlan) -> None:
    """Refuse what could cost more than the user wants.

    Raises:
        BadInput: It could.
    """
    spec, costs = plan.spec, plan.bill
    if spec.max_total is None:
        return
    if costs.at_most is None:
        raise BadInput(f"Without a time to live no cluster stays below {spec.max_total} {costs.currency}: give --ttl.")
    if costs.at_most.gross > spec.max_total:
        raise BadInput(
            f"Within its time to live the cluster could cost {enough(costs.at_most.gross)} {costs.currency} gross,"
            f" more than --max-total {spec.max_total}: ask for fewer or smaller machines, or a shorter --ttl."
        )


def plan_node(name: str, role: NodeRole, spec: ClusterSpec, place: Place) -> NodePlan:
    """Plan one machine.

    Args:
        name: As users know it.
        role: What it does.
        spec: What the user wants.
        place: Where it is.
    """
    server_type = place.server_type
    return NodePlan(
        name=name,
        role=role,
        server_name=f"{spec.prefix}-{name}",
        server_type=server_type,
        location=place.location,
        image=place.image,
        tariffs=place.tariffs,
        workers=() if role == "scheduler" else worker_names(name, processes_on(server_type.cores, spec.processes)),
    )


def processes_on(cores: int, wanted: int | Literal["auto"]) -> int:
    """How many Dask worker processes a machine runs.

    Args:
        cores: Cores of the machine.
        wanted: A number, or ``auto`` for what Dask takes by default: one for each core of a small machine, and a
            divisor of the cores near their square root on a large one.
    """
    if wanted != AUTO:
        return int(wanted)
    if cores <= 4:
        return cores
    return min(number for number in range(1, cores + 1) if cores % number == 0 and number * number >= cores)


def worker_names(node: str, processes: int) -> tuple[str, ...]:
    """The names of the Dask workers on a node: the node's own, or with a number where there are several."""
    return (node,) if processes == 1 else tuple(f"{node}-{number}" for number in range(processes))


def node_platform(node: NodePlan) -> str:
    """Conda's name of a node's platform."""
    return PLATFORMS[node.server_type.architecture]


def network_request(plan: ClusterPlan) -> dict[str, Any]:
    """Body of POST /networks; the network also carries the cluster's state."""
    spec = plan.spec
    return {
        "name": spec.prefix,
        "ip_range": spec.network_range,
        "subnets": [{"type": "cloud", "ip_range": spec.network_range, "network_zone": plan.network_zone}],
        "labels": network_labels(plan.identity, "creating"),
    }


def network_labels(identity: Identity, state: ClusterState) -> dict[str, str]:
    """Labels of the network, which alone carries the cluster's state."""
    return identity.labels("network") | {"state": state}


def ssh_key_request(plan: ClusterPlan, public_key: str) -> dict[str, Any]:
    """Body of POST /ssh_keys."""
    return {"name": plan.spec.prefix, "public_key": public_key, "labels": plan.identity.labels("ssh-key")}


def firewall_request(plan: ClusterPlan, ssh_port: int) -> dict[str, Any]:
    """Body of POST /firewalls."""
    rules = firewall_rules(plan.spec, ssh_port)
    return {"name": plan.spec.prefix, "rules": rules, "labels": plan.identity.labels("firewall")}


def firewall_rules(spec: ClusterSpec, ssh_port: int) -> list[dict[str, Any]]:
    """Rules of the firewall: SSH, and Dask's TLS port if that was asked for; all else that comes in is dropped.

    Args:
        spec: Says from where.
        ssh_port: Where nodes take SSH.
    """
    rules = [_let_in("SSH", ssh_port, spec.ssh_from)]
    if spec.direct:
        rules.append(_let_in("Dask over TLS", spec.ports.scheduler, spec.direct))
    return rules


def _let_in(description: str, port: int, ranges: tuple[str, ...]) -> dict[str, Any]:
    return {
        "description": description,
        "direction": "in",
        "protocol": "tcp",
        "port": str(port),
        "source_ips": list(ranges),
    }


def server_request(plan: ClusterPlan, node: NodePlan, ids: Mapping[str, int], user_data: str) -> dict[str, Any]:
    """Body of POST /servers.

    Args:
        plan: The cluster's plan.
        node: The node's plan.
        ids: The cloud's numbers of ``networks``, ``firewalls`` and ``ssh_keys``.
        user_data: What cloud-init gets.
    """
    return {
        "name": node.server_name,
        "server_type": node.server_type.name,
        "location": node.location,
        "image": node.image.id,
        "ssh_keys": [ids["ssh_keys"]],
        "networks": [ids["networks"]],
        "firewalls": [{"firewall": ids["firewalls"]}],
        "public_net": {"enable_ipv4": True, "enable_ipv6": True},
        "start_after_create": True,
        "user_data": user_data,
        "labels": plan.identity.labels(node.role) | {"node": node.name},
    }


def dashboard_host(private_ip: str) -> str:
    """Where the scheduler's dashboard listens: never on an address that another machine can reach.

    Args:
        private_ip: The scheduler's private address; where hosts share a computer it is itself a loopback address.
    """
    return private_ip if ipaddress.ip_address(private_ip).is_loopback else "127.0.0.1"
