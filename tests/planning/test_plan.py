# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""From a wish and a catalogue to everything that is made: names, labels, prices and the API's request bodies."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import evolve
from catalogues import CALM, CATALOG, CAX11, CX23, CX33, LABEL, NOW_S, OWNER, UID, identity, plan, price, tariff
from hypothesis import example, given
from hypothesis import strategies as st

from scherbelberg.cloud.pricing import Bill
from scherbelberg.cloud.resources import Image, ServerType
from scherbelberg.errors import BadInput
from scherbelberg.planning.plan import (
    Identity,
    NodePlan,
    dashboard_host,
    firewall_request,
    firewall_rules,
    make_identity,
    make_plan,
    network_labels,
    network_request,
    processes_on,
    server_request,
    ssh_key_request,
)
from scherbelberg.settings import owner_label
from scherbelberg.spec.model import LONGEST_TTL_S, ClusterSpec

#: RFC 1123, as for host names.
_HOST_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_PREFIXES = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
_IDS = {"networks": 11, "firewalls": 12, "ssh_keys": 13}
_LABELS = {
    "managed-by": "scherbelberg",
    "prefix": "cluster",
    "uid": UID,
    "owner": OWNER,
    "created": "1795000000",
    "deadline": "1795003600",
}


@CALM
@given(st.text(max_size=100), st.text(max_size=100), _PREFIXES, st.none() | st.integers(1, LONGEST_TTL_S))
@example("", "", "a", None)
@example("\ud800", "é", "a", None)
@example("a" * 62 + ".", "x", "a", None)
def test_labels_are_in_label_syntax(login: str, host: str, prefix: str, ttl_s: int | None) -> None:
    """Keys and values of all labels are what the API takes, whoever and whatever is named."""
    spec = ClusterSpec(prefix=prefix, ttl_s=ttl_s)
    who = make_identity(spec, uid=UID, owner=owner_label(login, host), now_s=NOW_S)
    node = make_plan(spec, CATALOG, who)
    for labels in (
        server_request(node, node.nodes[1], _IDS, "")["labels"],
        network_request(node)["labels"],
        firewall_request(node, 22)["labels"],
        ssh_key_request(node, "")["labels"],
        network_labels(who, "ready"),
    ):
        for word in (*labels.keys(), *labels.values()):
            assert re.fullmatch(LABEL, word), word


@CALM
@given(_PREFIXES, st.integers(1, 99))
def test_server_names(prefix: str, workers: int) -> None:
    """Server names are distinct and follow RFC 1123."""
    nodes = plan(ClusterSpec(prefix=prefix, workers=workers)).nodes
    names = [node.server_name for node in nodes]
    assert len(set(names)) == workers + 1
    assert all(re.fullmatch(_HOST_NAME, name) for name in names)


@pytest.mark.parametrize(("ttl_s", "deadline_s"), [(None, None), (1, 1795000001), (3600, 1795003600)])
def test_make_identity(ttl_s: int | None, deadline_s: int | None) -> None:
    """Times are whole epoch seconds of the API's clock."""
    assert make_identity(ClusterSpec(prefix="a", ttl_s=ttl_s), uid="u", owner="o", now_s=NOW_S + 0.9) == Identity(
        prefix="a", uid="u", owner="o", created_s=1795000000, deadline_s=deadline_s, certified_s=1829560000
    )


def test_labels() -> None:
    """Labels say what it is, whose, and until when."""
    assert identity().labels("worker") == _LABELS | {"role": "worker"}
    forever = Identity(prefix="cluster", uid=UID, owner=OWNER, created_s=1795000000, deadline_s=None)
    assert forever.labels("firewall") == _LABELS | {"role": "firewall", "deadline": "none"}
    certified = evolve(forever, certified_s=1829560000)
    assert certified.labels("network").items() - forever.labels("network").items() == {("certified", "1829560000")}


@pytest.mark.parametrize("state", ["creating", "ready"])
def test_network_labels(state: str) -> None:
    """The network alone carries the cluster's state."""
    labels = network_labels(identity(), state)  # type: ignore[arg-type] # one of two words
    assert labels == _LABELS | {"role": "network", "state": state}


def _image(name: str) -> Image:
    return next(image for image in CATALOG.images if image.name == name)


def test_plan() -> None:
    """A plan is the best place, the scheduler, then the workers, and what they cost with their addresses."""
    made = plan(ClusterSpec(workers=2, worker="cx33"))
    ubuntu = _image("ubuntu-26.04")
    cx23, cx33 = (tariff("0.0088"), tariff("0.0008")), (tariff("0.0136"), tariff("0.0008"))
    assert (made.location, made.network_zone, made.identity) == ("fsn1", "eu-central", identity())
    assert made.nodes == (
        NodePlan(
            name="scheduler",
            role="scheduler",
            server_name="cluster-scheduler",
            server_type=CX23,
            location="fsn1",
            image=ubuntu,
            tariffs=cx23,
        ),
        NodePlan(
            name="worker000",
            role="worker",
            server_name="cluster-worker000",
            server_type=CX33,
            location="fsn1",
            image=ubuntu,
            tariffs=cx33,
            workers=("worker000",),
        ),
        NodePlan(
            name="worker001",
            role="worker",
            server_name="cluster-worker001",
            server_type=CX33,
            location="fsn1",
            image=ubuntu,
            tariffs=cx33,
            workers=("worker001",),
        ),
    )
    assert made.nodes[0].hourly == price("0.0096")
    assert made.bill == Bill(hourly=price("0.0384"), currency="EUR", at_most=price("0.0384"))


@pytest.mark.parametrize(
    ("ttl_s", "most", "sentence"),
    [
        (3600, "0.04608", None),
        (3601, "0.04608", "could cost 0.0922 EUR gross, more than --max-total 0.04608"),
        (None, "1000000", "Without a time to live no cluster stays below 1000000 EUR"),
        # By the hour it were 99.5, but of December and January no more is charged than the month's price.
        (90 * 86400, "90", None),
        (90 * 86400, "88", "could cost"),
    ],
)
def test_max_total(ttl_s: int | None, most: str, sentence: str | None) -> None:
    """What could cost more than the user wants is refused, counted with started hours and the months' caps."""
    spec = ClusterSpec(workers=2, worker="cx33", ttl_s=ttl_s, max_total=most)
    who = evolve(identity(), deadline_s=None if ttl_s is None else int(NOW_S) + ttl_s)
    if sentence is None:
        assert make_plan(spec, CATALOG, who).bill.at_most is not None
    else:
        with pytest.raises(BadInput, match=sentence):
            make_plan(spec, CATALOG, who)


def test_largest_plan() -> None:
    """The last of 99 workers is worker098."""
    nodes = plan(ClusterSpec(workers=99)).nodes
    assert (len(nodes), nodes[0].name, nodes[1].name, nodes[-1].name) == (100, "scheduler", "worker000", "worker098")


def test_images_follow_the_architecture() -> None:
    """Each node gets the image of its own server type's architecture."""
    made = plan(ClusterSpec(scheduler="cx23", worker="cax11", location="nbg1", workers=1, image="ubuntu-24.04"))
    assert [(node.server_type, node.image.id) for node in made.nodes] == [(CX23, 3), (CAX11, 9)]
    newest = plan(ClusterSpec(scheduler="cax11", worker="cax11", workers=1))
    assert [(node.image.name, node.image.architecture) for node in newest.nodes] == [("ubuntu-24.04", "arm")] * 2


@pytest.mark.parametrize(
    ("image", "kind", "number"), [("4711", CX33, 4711), ("4712", CAX11, 4712), ("debian-30.04", CX33, 7)]
)
def test_types_follow_the_image(image: str, kind: ServerType, number: int) -> None:
    """Where the image is of one architecture only, no cheaper type of another one is chosen."""
    dear = evolve(CATALOG, server_types=(CAX11, CX33))
    made = make_plan(ClusterSpec(location="nbg1", image=image), dear, identity())
    assert {(node.server_type, node.image.id) for node in made.nodes} == {(kind, number)}


def test_place_without_a_price_of_addresses() -> None:
    """A bill that cannot be computed is refused in a sentence, not in a traceback."""
    with pytest.raises(BadInput, match="price of an IPv4 address in fsn1, nbg1, hel1; choose another --location"):
        make_plan(ClusterSpec(), evolve(CATALOG, ipv4={}), identity())


@pytest.mark.parametrize(
    "spec", [ClusterSpec(worker="cx99"), ClusterSpec(location="moon"), ClusterSpec(image="ubuntu-26.05")]
)
def test_plan_refuses(spec: ClusterSpec) -> None:
    """What the catalogue has not cannot be planned."""
    with pytest.raises(BadInput, match="There is no"):
        make_plan(spec, CATALOG, identity())


@pytest.mark.parametrize(
    ("cores", "wanted", "expected"),
    [(2, 1, 1), (2, 5, 5), (1, "auto", 1), (4, "auto", 4), (8, "auto", 4), (16, "auto", 4), (48, "auto", 8)],
)
def test_processes(cores: int, wanted: Any, expected: int) -> None:
    """Processes are as many as asked for, or as Dask itself would take for so many cores."""
    assert processes_on(cores, wanted) == expected


def test_names_of_workers() -> None:
    """One worker is named like its node, several have numbers behind that."""
    assert plan().nodes[2].workers == ("worker001",)
    assert plan(ClusterSpec(processes=2)).nodes[2].workers == ("worker001-0", "worker001-1")
    assert plan(ClusterSpec(processes="auto", worker="cx33")).nodes[1].workers[-1] == "worker000-3"
    assert plan(ClusterSpec(processes=2)).nodes[0].workers == ()


def test_firewall_lets_in_who_was_named() -> None:
    """SSH and, if asked for, Dask's TLS port of the scheduler are open to the named ranges alone."""
    spec = ClusterSpec(ssh_from=("203.0.113.7", "2001:db8::/32"), direct=("198.51.100.0/24",))
    ssh, dask = firewall_rules(spec, 22)
    assert (ssh["port"], ssh["source_ips"]) == ("22", ["203.0.113.7/32", "2001:db8::/32"])
    assert (dask["port"], dask["source_ips"]) == ("8786", ["198.51.100.0/24"])
    assert len(firewall_rules(ClusterSpec(), 22)) == 1


def test_node_by_server_name() -> None:
    """A plan knows its nodes by the cloud's name for them, compared whole."""
    made = plan()
    assert made.node("cluster-worker001") is made.nodes[2]
    assert made.node("worker001") is None
    assert made.node("cluster-worker0010") is None


def test_network_request() -> None:
    """The network's one subnet is all of it, in the zone of the location."""
    assert network_request(plan(ClusterSpec(location="ash", network_range="192.168.0.0/20"))) == {
        "name": "cluster",
        "ip_range": "192.168.0.0/20",
        "subnets": [{"type": "cloud", "ip_range": "192.168.0.0/20", "network_zone": "us-east"}],
        "labels": _LABELS | {"role": "network", "state": "creating"},
    }


def test_ssh_key_request() -> None:
    """The key is named like the cluster."""
    assert ssh_key_request(plan(), "ssh-ed25519 AAAA") == {
        "name": "cluster",
        "public_key": "ssh-ed25519 AAAA",
        "labels": _LABELS | {"role": "ssh-key"},
    }


def test_firewall_request() -> None:
    """One port is open to the world, SSH's; without any other rule all else is dropped."""
    assert firewall_request(plan(), 2222) == {
        "name": "cluster",
        "rules": [
            {
                "description": "SSH",
                "direction": "in",
                "protocol": "tcp",
                "port": "2222",
                "source_ips": ["0.0.0.0/0", "::/0"],
            }
        ],
        "labels": _LABELS | {"role": "firewall"},
    }


@pytest.mark.parametrize(
    ("number", "server_type", "role"), [(0, "cx23", "scheduler"), (1, "cx33", "worker"), (2, "cx33", "worker")]
)
def test_server_request(number: int, server_type: str, role: str) -> None:
    """A server is rented with all that belongs to it at once: key, network, firewall, addresses, labels."""
    made = plan(ClusterSpec(worker="cx33"))
    node = made.nodes[number]
    assert server_request(made, node, _IDS, "#cloud-config\n") == {
        "name": f"cluster-{node.name}",
        "server_type": server_type,
        "location": "fsn1",
        "image": 2,
        "ssh_keys": [13],
        "networks": [11],
        "firewalls": [{"firewall": 12}],
        "public_net": {"enable_ipv4": True, "enable_ipv6": True},
        "start_after_create": True,
        "user_data": "#cloud-config\n",
        "labels": _LABELS | {"role": role, "node": node.name},
    }


@pytest.mark.parametrize(
    ("private_ip", "expected"), [("10.0.0.2", "127.0.0.1"), ("192.168.1.9", "127.0.0.1"), ("127.70.0.2", "127.70.0.2")]
)
def test_dashboard_host(private_ip: str, expected: str) -> None:
    """The dashboard listens on the loopback; where hosts share a computer, on the scheduler's own part of it."""
    assert dashboard_host(private_ip) == expected
