# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Wishes in TOML: every mistake is named, and what was written reads back as it was."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from attrs import fields
from catalogues import CALM
from hypothesis import given, settings
from hypothesis import strategies as st

from scherbelberg.errors import BadInput
from scherbelberg.spec.model import LONGEST_TTL_S, ClusterSpec, Ports, Timeouts
from scherbelberg.spec.toml import _KINDS, read_duration, read_resources, read_spec, write_spec, write_toml

_NAMES = st.none() | st.text(max_size=12)
_WISHES = _NAMES | st.lists(st.text(max_size=12), max_size=3)
_CIDRS = st.sampled_from(["203.0.113.7/32", "0.0.0.0/0", "::/0", "2001:db8::/32", "198.51.100.0/24"])
_SPECS = st.builds(
    ClusterSpec,
    prefix=st.sampled_from(["cluster", "a-1"]),
    workers=st.integers(3, 99),
    min_workers=st.none() | st.integers(1, 3),
    worker=_WISHES,
    scheduler=_NAMES,
    location=_WISHES,
    max_hourly=st.none() | st.decimals("0.0001", 1000, places=4) | st.sampled_from([2, 0.25, "1e-3"]),
    image=_NAMES,
    network_range=st.sampled_from(["10.0.0.0/16", "172.16.0.0/24"]),
    ttl_s=st.none() | st.integers(1, LONGEST_TTL_S),
    idle_s=st.none() | st.integers(1, LONGEST_TTL_S),
    warden=st.booleans(),
    max_total=st.none() | st.decimals(min_value="0.01", max_value=10**6),
    processes=st.sampled_from(["auto"]) | st.integers(1, 64),
    threads=st.none() | st.integers(1, 1024),
    memory_limit=st.sampled_from([None, "4GiB", "0.5"]),
    resources=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True), st.floats(0, 1e300), max_size=3
    ),
    ssh_from=st.lists(_CIDRS, min_size=1, max_size=3),
    direct=st.lists(_CIDRS, max_size=3),
    dashboard_origin=st.lists(st.sampled_from(["hub.example.org", "localhost:8000"]), max_size=2),
    env=st.sampled_from([None, "main", 'C:\\env "1".yml']),
    packages=st.lists(st.sampled_from(["xarray>=2025", "pypi:rio[x]; a == 'b'"]), max_size=2),
    channels=st.lists(st.sampled_from(["conda-forge", "https://a.b/c"]), max_size=2),
    allow_mismatch=st.booleans(),
    ports=st.builds(Ports, scheduler=st.integers(2000, 3000)),
    timeouts=st.builds(Timeouts, request=st.floats(0.001, 1e9) | st.integers(1, 100)),
)
_SINGLE = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
_VALUES = _SINGLE | st.lists(_SINGLE, max_size=3)
_DOCUMENTS = st.dictionaries(st.text(), st.recursive(_VALUES, lambda inner: st.dictionaries(st.text(), inner)))


@settings(CALM, max_examples=30)
@given(spec=_SPECS)
def test_written_spec_reads_back(spec: ClusterSpec) -> None:
    """What was written makes the same wishes again."""
    assert ClusterSpec(**read_spec(write_spec(spec), source="it")) == spec


@settings(CALM, max_examples=30)
@given(document=_DOCUMENTS)
def test_written_toml_reads_back(document: dict[str, Any]) -> None:
    """Whatever texts, numbers and tables are written, Python's own reader finds the same."""
    assert tomllib.loads(write_toml(document)) == document


def test_what_cannot_be_written() -> None:
    """What TOML of ours has no words for is refused and not written as something else."""
    with pytest.raises(TypeError, match="NoneType has no place"):
        write_toml({"a": None})


def test_written_in_full() -> None:
    """The file as a person sees it: nothing that is left to chance or to the surroundings, tables last."""
    spec = ClusterSpec(
        ttl_s=None, worker=("cx33", "cx43"), max_hourly=0.5, resources={"GPU": 2, "a.b": 0.5}, ssh_from="203.0.113.7"
    )
    lines = write_spec(spec).splitlines()
    assert lines[:19] == [
        'prefix = "cluster"',
        "workers = 2",
        'worker = ["cx33", "cx43"]',
        'max_hourly = "0.5"',
        'ttl_s = "none"',
        "warden = false",
        "processes = 1",
        'ssh_from = ["203.0.113.7/32"]',
        "direct = []",
        "dashboard_origin = []",
        "packages = []",
        "channels = []",
        "allow_mismatch = false",
        "",
        "[resources]",
        "GPU = 2.0",
        '"a.b" = 0.5',
        "",
        "[ports]",
    ]
    assert lines[lines.index("[timeouts]") + 1] == "request = 30"


def test_every_field_has_a_kind() -> None:
    """Each field of the wishes can be in the file."""
    assert list(_KINDS) == [one.name for one in fields(ClusterSpec)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers = ", "wishes.toml cannot be read as TOML: Invalid value"),
        ("wokrers = 2", "There is no 'wokrers' in wishes.toml to set; did you mean 'workers'?"),
        ("[ports]\nshceduler = 1", "There is no 'shceduler' in [ports] of wishes.toml to set; did you mean 'schedul"),
        ("[timeouts]\nboot = 1", "There is no 'boot' in [timeouts] of wishes.toml to set; did you mean 'bootstrap'?"),
        ('workers = "2"', "workers in wishes.toml is '2', and must be a whole number."),
        ("workers = true", "workers in wishes.toml is True, and must be a whole number."),
        ("workers = 2.0", "workers in wishes.toml is 2.0, and must be a whole number."),
        ("memory_limit = 0.5", "memory_limit in wishes.toml is 0.5, and must be a text in quotation marks."),
        ('ssh_from = "here"', "ssh_from in wishes.toml is 'here', and must be a list of texts."),
        ("ssh_from = [1]", "ssh_from in wishes.toml is [1], and must be a list of texts."),
        ("worker = 1", "worker in wishes.toml is 1, and must be a text in quotation marks or a list of such."),
        ("location = [1]", "location in wishes.toml is [1], and must be a text in quotation marks or a list of such."),
        ("max_hourly = true", "max_hourly in wishes.toml is True, and must be an amount of money."),
        ("ports = 8786", "ports in wishes.toml is 8786, and must be a table."),
        ("[ports]\nscheduler = 8786.5", "ports.scheduler in wishes.toml is 8786.5, and must be a whole number."),
        ("[timeouts]\njoin = 0", "timeouts.join in wishes.toml is 0, and must be above 0."),
        ("[timeouts]\njoin = nan", "timeouts.join in wishes.toml is nan, and must be above 0."),
        ("env = true", "env in wishes.toml is True, and must be a text in quotation marks."),
        ('packages = "xarray"', "packages in wishes.toml is 'xarray', and must be a list of texts."),
        ("channels = [1]", "channels in wishes.toml is [1], and must be a list of texts."),
        ('allow_mismatch = "yes"', "allow_mismatch in wishes.toml is 'yes', and must be true or false."),
        ("allow_mismatch = 1", "allow_mismatch in wishes.toml is 1, and must be true or false."),
        ("max_total = true", "max_total in wishes.toml is True, and must be an amount of money."),
        ('ttl_s = "soon"', "Invalid duration 'soon'"),
    ],
)
def test_mistakes_in_a_file(text: str, sentence: str) -> None:
    """A key or value that cannot be is named with the file, and the nearest key is suggested."""
    with pytest.raises(BadInput) as caught:
        read_spec(text, source="wishes.toml")
    assert sentence in caught.value.message


def test_only_what_the_file_says() -> None:
    """What the file does not say is not decided by it; tables become values."""
    text = 'worker = "cx33"\nmax_hourly = 0.5\nttl_s = "2d"\n'
    text += 'ssh_from = ["here"]\n[ports]\nscheduler = 9786\n[timeouts]\njoin = 5.5\n'
    expected = {
        "worker": "cx33",
        "max_hourly": 0.5,
        "ttl_s": 172800,
        "ssh_from": ["here"],
        "ports": Ports(scheduler=9786),
        "timeouts": Timeouts(join=5.5),
    }
    assert read_spec(text, source="it") == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12h", 43200), ("90m", 5400), ("3600", 3600), ("30s", 30), ("2 d", 172800), ("none", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    """A time to live is a number with a unit, or none."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1.5h", "1h30m", "None", "1w", "12h\n", "\u0663h"])
def test_no_durations(text: str) -> None:
    """Anything else is refused with what can be written."""
    with pytest.raises(BadInput, match="Use 12h, 90m, 2d"):
        read_duration(text)


def test_resources() -> None:
    """Resources may be given one by one or together; a later one of a name wins."""
    assert read_resources(["GPU=4", "disk=1.5 net=0"]) == {"GPU": 4, "disk": 1.5, "net": 0}
    assert read_resources(["a=1,b=2"]) == {"a": 1, "b": 2}
    assert math.isinf(read_resources(["a=inf"])["a"])  # which ClusterSpec refuses


@pytest.mark.parametrize("word", ["GPU", "GPU=", "=2", "GPU=two"])
def test_no_resources(word: str) -> None:
    """A word that is no name with a number is named."""
    with pytest.raises(BadInput, match=f"Invalid resource '{word}'"):
        read_resources([word])


def test_resource_twice() -> None:
    """A resource that is given twice is refused, instead of the last one winning."""
    with pytest.raises(BadInput, match="'GPU' is given twice"):
        read_resources(["GPU=1", "GPU=2"])
