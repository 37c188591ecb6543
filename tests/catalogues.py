# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Values that several tests begin with: a small catalogue, a cluster's plan, its record on this computer."""

from __future__ import annotations

import functools
from decimal import Decimal

from hypothesis import HealthCheck, settings

from scherbelberg.cloud.pricing import Price, Tariff
from scherbelberg.cloud.resources import Catalog, Image, Location, Offer, Resource, Server, ServerType
from scherbelberg.planning.plan import ClusterPlan, Identity, make_plan
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.state.keys import Certified, SshPair, make_authority, make_client, make_ssh_pair
from scherbelberg.state.manifest import Credentials, EnvRecord, Manifest, NodeRecord

#: The API's clock, in the autumn of 2026.
NOW_S = 1_795_000_000.0
UID = "0a1b2c3d4e"
OWNER = "anna_at_laptop"
#: On a busy computer nothing is asserted about how fast examples are.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: For examples that start a process each.
FEW = settings(CALM, max_examples=15)
#: What label values of Hetzner Cloud look like.
LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


def price(net: str) -> Price:
    """Make a price whose gross is a fifth higher than its net."""
    return Price(net=Decimal(net), gross=Decimal(net) * Decimal("1.2"))


def tariff(net: str) -> Tariff:
    """Make a tariff whose month costs as much as 624 hours."""
    return Tariff(hourly=price(net), monthly=price(str(Decimal(net) * 624)))


def offer(location: str, net: str, *, available: bool = True, ends_s: float | None = None) -> Offer:
    """Make an offer of a server type in a location."""
    return Offer(location=location, tariff=tariff(net), available=available, ends_s=ends_s)


def server_type(name: str, *offers: Offer, cores: int = 2, gb: int = 4, architecture: str = "x86") -> ServerType:
    """Make a server type."""
    return ServerType(
        name=name,
        cores=cores,
        memory_bytes=gb * 2**30,
        disk_gb=40,
        architecture=architecture,
        dedicated=name.startswith("ccx"),
        offers=offers,
    )


def image(
    number: int,
    flavor: str,
    version: str | None,
    *,
    architecture: str = "x86",
    kind: str = "system",
    deprecated: bool = False,
    disk_gb: float = 5,
) -> Image:
    """Make an image; a snapshot has no name."""
    return Image(
        id=number,
        name=None if kind == "snapshot" else f"{flavor}-{version}",
        kind=kind,
        architecture=architecture,
        flavor=flavor,
        version=version,
        deprecated=deprecated,
        disk_gb=disk_gb,
    )


#: Cheapest that fits: cx23, in fsn1 and nbg1. In hel1 the cloud says that it has none in stock.
CX23 = server_type("cx23", offer("fsn1", "0.0088"), offer("nbg1", "0.0088"), offer("hel1", "0.0088", available=False))
CX33 = server_type("cx33", offer("fsn1", "0.0136"), offer("nbg1", "0.0136"), offer("ash", "0.0200"), cores=4, gb=8)
CAX11 = server_type("cax11", offer("hel1", "0.0096"), offer("nbg1", "0.0096"), architecture="arm")
CPX11 = server_type("cpx11", offer("ash", "0.0100"), offer("sin", "0.0150"))
#: Nobody has these two in stock, whatever the cloud says.
CCX63 = server_type("ccx63", offer("hel1", "1.3678", available=False), cores=48, gb=192)
#: Cheap, but too small, or not to be ordered any more, or not for long.
CPX12 = server_type("cpx12", offer("fsn1", "0.0010"), cores=1, gb=2)
CX22 = server_type("cx22", offer("fsn1", "0.0050", ends_s=NOW_S), offer("nbg1", "0.0050", ends_s=NOW_S - 1))
CX52 = server_type("cx52", offer("nbg1", "0.0500", ends_s=NOW_S + 1), cores=16, gb=32)

IMAGES = (
    image(1, "ubuntu", "22.04"),
    image(2, "ubuntu", "26.04"),
    image(3, "ubuntu", "24.04"),
    image(4, "ubuntu", "26.10"),
    image(5, "ubuntu", "25.04"),
    image(6, "ubuntu", "28.04", deprecated=True),
    image(7, "debian", "30.04"),
    image(8, "ubuntu", "30.04", kind="app"),
    image(9, "ubuntu", "24.04", architecture="arm"),
    image(10, "ubuntu", "22.04", architecture="arm"),
    image(4711, "ubuntu", "32.04", kind="snapshot"),
    image(4712, "ubuntu", None, kind="snapshot", architecture="arm"),
)

CATALOG = Catalog(
    locations=(
        Location(name="fsn1", city="Falkenstein", country="DE", network_zone="eu-central"),
        Location(name="nbg1", city="Nuremberg", country="DE", network_zone="eu-central"),
        Location(name="hel1", city="Helsinki", country="FI", network_zone="eu-central"),
        Location(name="ash", city="Ashburn, VA", country="US", network_zone="us-east"),
        Location(name="sin", city="Singapore", country="SG", network_zone="ap-southeast"),
    ),
    server_types=(CCX63, CPX12, CX22, CX52, CPX11, CAX11, CX33, CX23),
    images=IMAGES,
    ipv4={name: tariff("0.0008") for name in ("fsn1", "nbg1", "hel1", "ash", "sin")},
    currency="EUR",
    now_s=NOW_S,
)


def identity(prefix: str = "cluster", uid: str = UID) -> Identity:
    """Say who a cluster is that was made now and counts as forgotten in an hour."""
    return Identity(prefix=prefix, uid=uid, owner=OWNER, created_s=int(NOW_S), deadline_s=int(NOW_S) + 3600)


def plan(spec: ClusterSpec | None = None) -> ClusterPlan:
    """Plan a cluster from the small catalogue."""
    spec = spec or ClusterSpec()
    return make_plan(spec, CATALOG, identity(spec.prefix))


@functools.cache
def ssh_pair() -> SshPair:
    """An SSH key pair, made once."""
    return make_ssh_pair()


@functools.cache
def authority() -> Certified:
    """A certificate authority that was made at NOW_S."""
    return make_authority(uid=UID, now_s=NOW_S)


def credentials() -> Credentials:
    """All keys of a cluster with one worker."""
    return Credentials(
        ssh=ssh_pair(),
        authority=authority(),
        client=make_client(authority(), uid=UID, now_s=NOW_S),
        planted={"scheduler": make_ssh_pair(), "worker000": make_ssh_pair()},
    )


def manifest(prefix: str = "cluster", uid: str = UID, *, endpoint: str = "https://api.hetzner.cloud/v1") -> Manifest:
    """What this computer remembers of a ready cluster with one worker."""
    nodes = (
        NodeRecord(
            name="scheduler",
            role="scheduler",
            server_type="cx23",
            host_keys=(ssh_pair().public,),
            public_ip="198.51.100.1",
            private_ip="10.0.0.2",
        ),
        NodeRecord(name="worker000", role="worker", server_type="cx33", host_keys=("ssh-ed25519 AA", "ssh-ed25519 BB")),
    )
    return Manifest(
        identity=identity(prefix, uid),
        endpoint=endpoint,
        state="ready",
        spec=ClusterSpec(prefix=prefix, workers=1, worker="cx33"),
        ssh_port=22,
        location="fsn1",
        environment=EnvRecord(
            name="main",
            digests={"linux-64": "ab" * 32},
            client="python3",
            client_source="--client",
            allowed=(("numpy", "2.4.6", "2.4.5"),),
        ),
        nodes=nodes,
        phases={"rent": 12.5, "tls": 0.25},
        versions={"python": "3.13", "dask": "2026.8.0"},
    )


def server(name: str, labels: dict[str, str], number: int = 1) -> Server:
    """Make a running server as the cloud shows it."""
    return Server(
        kind="servers",
        id=number,
        name=name,
        labels=labels,
        status="running",
        server_type="cx23",
        location="fsn1",
        created_s=int(NOW_S),
        has_ipv4=True,
        public_ip="198.51.100.1",
        private_ips={1: "10.0.0.2"},
    )


def network(name: str, labels: dict[str, str], number: int = 1) -> Resource:
    """Make a network as the cloud shows it."""
    return Resource(kind="networks", id=number, name=name, labels=labels)
