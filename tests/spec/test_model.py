# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the user wants: names, numbers and ranges that can be, and those that cannot."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve
from attrs.exceptions import FrozenInstanceError
from catalogues import CALM, LABEL
from hypothesis import example, given
from hypothesis import strategies as st

from scherbelberg.errors import BadInput
from scherbelberg.spec.model import ClusterSpec, Ports, Timeouts, check_network_range, check_prefix, suggest_prefix

#: RFC 1123, which server names follow.
HOST_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


@CALM
@given(st.text())
@example("")
@example("-" * 80)
@example("a" * 39 + "--" + "b")
@example("9" * 80 + "x")
@example("ẞİŉ")
def test_suggestion_is_valid(text: str) -> None:
    """Whatever was typed, the suggested prefix is one."""
    suggested = suggest_prefix(text)
    assert check_prefix(suggested) == suggested


@CALM
@given(st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True) | st.text(max_size=50))
def test_accepted_prefix(text: str) -> None:
    """An accepted prefix can be a label's value and begin a server's name."""
    try:
        check_prefix(text)
    except BadInput:
        return
    assert re.fullmatch(LABEL, text)
    assert re.fullmatch(HOST_NAME, f"{text}-worker000")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe", "groesse"),
        ("GRÖSSE", "groesse"),
        ("gro\u0308\u00dfe", "groesse"),
        ("Ångström", "aangstroem"),
        ("Café au lait", "cafe-au-lait"),
        ("my_cluster.one", "my-cluster-one"),
        ("  -x-  ", "x"),
        ("2026 run", "run"),
        ("集群", "cluster"),
        ("", "cluster"),
        ("123", "cluster"),
        ("cluster2", "cluster2"),
        ("Größe2", "groesse2"),
        ("run 2026", "run-2026"),
        ("a" * 50, "a" * 40),
    ],
)
def test_suggestion(text: str, expected: str) -> None:
    """The suggestion stays as near to what was typed as it can."""
    assert suggest_prefix(text) == expected


@pytest.mark.parametrize("text", ["a", "cluster", "a1", "a-b", "a--b", "x" * 40])
def test_good_prefix(text: str) -> None:
    """A good prefix is returned as it is."""
    assert check_prefix(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "1a", "A", "aB", "a_b", "a.b", "a b", "ä", "a\n", "\na", "a\x00", "٣", "a٣", "x" * 41]
)
def test_bad_prefix(text: str) -> None:
    """A bad prefix is refused, by itself and in a spec."""
    for refuse in (lambda: check_prefix(text), lambda: ClusterSpec(prefix=text)):
        with pytest.raises(BadInput, match="cannot name a cluster"):
            refuse()


def test_bad_prefix_is_answered_with_a_suggestion() -> None:
    """The sentence names what was typed, the rule and a prefix that would do."""
    with pytest.raises(BadInput) as caught:
        ClusterSpec(prefix="größe")
    assert caught.value.message == (
        "The prefix 'größe' cannot name a cluster: use at most 40 lower-case letters a to z, digits and dashes,"
        " beginning with a letter, for example 'groesse'."
    )


@pytest.mark.parametrize("workers", [-1, 0, 100, 10**6])
def test_bad_number_of_workers(workers: int) -> None:
    """A network holds 100 members and the scheduler is one of them."""
    with pytest.raises(BadInput) as caught:
        ClusterSpec(workers=workers)
    assert caught.value.message == (
        f"Invalid number of workers: {workers}. Use 1 to 99 (a Hetzner network holds 100 machines, one of which is the"
        " scheduler)."
    )


@pytest.mark.parametrize("workers", [2.5, "2", None])
def test_workers_are_a_whole_number(workers: Any) -> None:
    """Half a machine cannot be rented."""
    with pytest.raises(BadInput, match="Invalid number of workers"):
        ClusterSpec(workers=workers)


@pytest.mark.parametrize("ttl_s", [-5, 0, 0.5, "3600", 10**9])
def test_bad_time_to_live(ttl_s: Any) -> None:
    """A cluster that counts as forgotten before it is made cannot be."""
    with pytest.raises(BadInput, match=f"Invalid time to live: {ttl_s} s"):
        ClusterSpec(ttl_s=ttl_s)


@pytest.mark.parametrize(
    "ports",
    [
        {"scheduler": 8787},
        {"nanny": 9000},
        {"scheduler": 70000},
        {"worker": 65536},
        {"dashboard": 1023},
        {"dashboard": 0},
        {"scheduler": "8786"},
    ],
)
def test_bad_ports(ports: dict[str, Any]) -> None:
    """Ports that are none, need more rights or are asked for twice are refused before anything is rented."""
    with pytest.raises(BadInput, match="Use four different numbers from 1024 to 65535"):
        Ports(**ports)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"processes": 0}, "Invalid number of processes: 0"),
        ({"processes": 65}, "Use 1 to 64, or 'auto'"),
        ({"processes": "many"}, "Invalid number of processes: many"),
        ({"processes": 3, "ports": Ports(worker=9098)}, "3 worker processes need as many ports from 9098 and 9100 on"),
        ({"processes": "auto", "ports": Ports(nanny=65500)}, "64 worker processes need as many ports"),
        ({"threads": 0}, "Invalid number of threads: 0"),
        ({"threads": "2"}, "Invalid number of threads: 2"),
        ({"memory_limit": "lots"}, "Invalid memory limit 'lots'"),
        ({"memory_limit": "4GiB; rm"}, "Use bytes"),
        ({"memory_limit": "1.5"}, "or a share, such as 0.5"),
        ({"resources": {"GPU": "two"}}, "Use names with numbers"),
        ({"resources": {"GPU": -1}}, "Invalid resource 'GPU=-1'"),
        ({"resources": {"G U": 1}}, "Invalid resource 'G U=1'"),
        ({"resources": {"GPU": float("inf")}}, "Invalid resource 'GPU=inf'"),
        ({"env": ""}, "Invalid environment ''. Use main, science, or the path of a file"),
        ({"env": Path("env.yml")}, "Use main, science"),
        ({"packages": ("",)}, "Invalid package ''. Use NAME, 'NAME >=1.2', or pypi:NAME"),
        ({"packages": ("xarray", "pypi:")}, "Invalid package 'pypi:'"),
        ({"packages": "--yes"}, "Invalid package '--yes'"),
        ({"packages": "a\nb"}, "Use NAME"),
        ({"packages": "./mine-1.0-0.conda"}, "Use NAME"),
        ({"packages": "https://a.b/mine-1.0-0.conda"}, "Use NAME"),
        (
            {"channels": ("conda-forge", "")},
            "Invalid channel ''. Use a name such as conda-forge, or an http(s)",
        ),
        ({"channels": "../mine"}, "Invalid channel '../mine'"),
        ({"channels": "ftp://a.b/c"}, "Invalid channel 'ftp://a.b/c'"),
        ({"channels": "https://a.b/c d"}, "Invalid channel 'https://a.b/c d'"),
        ({"ssh_from": ()}, "Nobody could reach the nodes"),
        ({"ssh_from": ("here",)}, "'here' is not a range of addresses"),
        ({"direct": ("10.0.0.1/8",)}, "has host bits set"),
    ],
)
def test_bad_wishes(fields: dict[str, Any], words: str) -> None:
    """What cannot be is refused in one sentence before anything is rented."""
    with pytest.raises(BadInput, match=re.escape(words)):
        ClusterSpec(**fields)


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "5", None, True])
def test_bad_deadlines(value: Any) -> None:
    """A deadline that is no number of seconds is refused here, and not when it is first waited for."""
    with pytest.raises(BadInput, match="Invalid timeout node_wait: "):
        Timeouts(node_wait=value)


def test_good_wishes() -> None:
    """Ranges are written as networks, once each; amounts are numbers."""
    spec = ClusterSpec(
        processes="auto",
        threads=2,
        memory_limit="0.5",
        resources={"GPU": 2},
        ssh_from="203.0.113.7",
        direct=["2001:db8::/32", "2001:db8::/32"],
    )
    assert (spec.ssh_from, spec.direct) == (("203.0.113.7/32",), ("2001:db8::/32",))
    assert spec.resources == {"GPU": 2.0}
    assert evolve(spec, memory_limit="3500MB").memory_limit == "3500MB"


def test_wishes_for_an_environment() -> None:
    """A single package or channel is one; what is said twice counts once, where it was said first."""
    spec = ClusterSpec(
        packages=("xarray>=2025", "pypi:rio[x]>=1; python_version > '3'", "xarray>=2025"), channels="mine"
    )
    assert spec.packages == ("xarray>=2025", "pypi:rio[x]>=1; python_version > '3'")
    assert spec.channels == ("mine",)
    assert ClusterSpec(packages="mine::_openmp_mutex").packages == ("mine::_openmp_mutex",)
    channels = ("conda-forge/label/rc", "https://a.b:8443/c_d/e-f")
    assert ClusterSpec(channels=channels).channels == channels


@pytest.mark.parametrize(
    "field", [{"channels": "https://anna:s3cret@a.b/c"}, {"channels": ("x", "https://a.b/t/s3cret/c")}]
)
def test_secrets_in_channels(field: dict[str, Any]) -> None:
    """A channel with a password or token in it is refused with a better place for it, and without showing it."""
    with pytest.raises(BadInput) as caught:
        ClusterSpec(**field)
    assert "Put it into ~/.netrc or the keyring" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_good_ports() -> None:
    """The first and the last port that anybody may open will do."""
    assert Ports(scheduler=1024, dashboard=65535) == Ports(scheduler=1024, dashboard=65535, worker=9000, nanny=9100)


@pytest.mark.parametrize("workers", [1, 99])
def test_good_number_of_workers(workers: int) -> None:
    """One worker is enough, and 99 are possible."""
    assert ClusterSpec(workers=workers).workers == workers


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.0/16", "192.168.7.0/24", "127.70.0.0/16"])
def test_good_network_range(text: str) -> None:
    """A network range is returned as it is."""
    assert check_network_range(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not an IPv4 network such as 10.0.0.0/16"),
        ("10.0.0.1/16", "has host bits set"),
        ("10.0.0.0/33", "is not an IPv4 network such as 10.0.0.0/16"),
        ("fd00::/64", "is not an IPv4 network such as 10.0.0.0/16"),
        ("einhundert", "is not an IPv4 network such as 10.0.0.0/16"),
        ("10.0.0.0/25", "is too small"),
        ("10.0.0.0", "is not a private IPv4 network such as 10.0.0.0/16"),
        ("10.0.0.0/255.255.0.0", "is not a private IPv4 network such as 10.0.0.0/16"),
        ("10.0.0.0/0.0.255.255", "is not a private IPv4 network such as 10.0.0.0/16"),
        ("8.8.0.0/16", "is not a private IPv4 network such as 10.0.0.0/16"),
        ("0.0.0.0/0", "is not a private IPv4 network such as 10.0.0.0/16"),
    ],
)
def test_bad_network_range(text: str, words: str) -> None:
    """What is no network, not a private one, written otherwise or too small is refused by itself and in a spec."""
    for refuse in (lambda: check_network_range(text), lambda: ClusterSpec(network_range=text)):
        with pytest.raises(BadInput, match=words):
            refuse()


def test_defaults() -> None:
    """The defaults are these, and no server type, location or image is among them."""
    assert asdict(ClusterSpec()) == {
        "prefix": "cluster",
        "workers": 2,
        "min_workers": None,
        "worker": (),
        "scheduler": None,
        "location": (),
        "image": None,
        "network_range": "10.0.0.0/16",
        "max_hourly": None,
        "wait_s": None,
        "ttl_s": 43200,
        "idle_s": None,
        "warden": False,
        "max_total": None,
        "processes": 1,
        "threads": None,
        "memory_limit": None,
        "resources": {},
        "ssh_from": ("0.0.0.0/0", "::/0"),
        "direct": (),
        "dashboard_origin": (),
        "env": None,
        "packages": (),
        "channels": (),
        "allow_mismatch": False,
        "ports": {"scheduler": 8786, "dashboard": 8787, "worker": 9000, "nanny": 9100},
        "timeouts": {
            "request": 30,
            "cloud": 120,
            "rent": 300,
            "reach": 300,
            "bootstrap": 1200,
            "node_wait": 120,
            "join": 120,
            "delete": 240,
            "solve": 120,
            "logs": 5,
        },
    }


@pytest.mark.parametrize("least", [0, -1, 3, "2"])
def test_least_workers(least: Any) -> None:
    """Fewer workers than asked for are accepted only if the user says how few, which is at least one."""
    assert (ClusterSpec().min_workers_effective, ClusterSpec(min_workers=1).min_workers_effective) == (2, 1)
    with pytest.raises(BadInput, match=f"Invalid minimum of {least} workers out of 2. Use 1 to 2."):
        ClusterSpec(min_workers=least)


def test_one_wish_or_several() -> None:
    """Types and locations are given as one text or as several in order, each once."""
    assert ClusterSpec(worker="cx33", location="fsn1") == ClusterSpec(worker=["cx33", "cx33"], location=("fsn1",))
    assert ClusterSpec(worker=["b", "a"]).worker == ("b", "a")
    assert ClusterSpec(worker=None, location=[]) == ClusterSpec()


@pytest.mark.parametrize("amount", ["0.50", 0.5, Decimal("0.5")])
def test_prices(amount: Decimal | float | str) -> None:
    """A price is exact, however it is given."""
    assert ClusterSpec(max_hourly=amount).max_hourly == Decimal("0.5")


@pytest.mark.parametrize("amount", [0, -1, "free", "nan", float("inf"), "0,50", ""])
def test_bad_prices(amount: float | str) -> None:
    """What is no amount of money is refused."""
    with pytest.raises(BadInput, match=r"Invalid amount .* Use a number above 0"):
        ClusterSpec(max_hourly=amount)


def test_spec_is_a_value() -> None:
    """A spec cannot be changed, only evolved, and what is evolved is checked again."""
    spec = ClusterSpec()
    with pytest.raises(FrozenInstanceError):
        spec.workers = 3  # type: ignore[misc] # that it cannot be set is what is tested
    assert evolve(spec, workers=3) == ClusterSpec(workers=3)
    with pytest.raises(BadInput):
        evolve(spec, workers=0)


def test_origins_of_the_dashboard() -> None:
    """Whose pages may show the dashboard is a host's name, with the port that it was given, or that of its URL."""
    spec = ClusterSpec(
        dashboard_origin=["Hub.example.org", "hub.example.org:*", "proxy:8000", "https://x.org/", "http://y:81"]
    )
    assert spec.dashboard_origin == ("hub.example.org:*", "proxy:8000", "x.org:443", "y:81")
    assert ClusterSpec(dashboard_origin="hub").dashboard_origin == ("hub:*",)


@pytest.mark.parametrize(
    "text", ["", "*", "*.example.org", "a b", "hub.example.org/page", "ftp://hub", "hub:port", "a;b"]
)
def test_origins_that_are_none(text: str) -> None:
    """What would let in everybody, or nobody, is refused."""
    with pytest.raises(BadInput, match="is not the name of a host whose pages may show the dashboard"):
        ClusterSpec(dashboard_origin=text)
