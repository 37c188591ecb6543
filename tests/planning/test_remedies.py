# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where nothing of what was asked for can be had: the price that was stated rules, and each advice works as it says."""

from __future__ import annotations

import fnmatch
import shlex
from decimal import Decimal
from typing import Any

import click
import pytest
from catalogues import identity

from scherbelberg.cli.cluster_options import wish_options, wished
from scherbelberg.cloud.offers import read_catalog
from scherbelberg.cloud.pricing import enough
from scherbelberg.cloud.resources import Catalog
from scherbelberg.errors import BadInput, NoCapacity
from scherbelberg.planning.attempts import Attempts
from scherbelberg.planning.candidates import candidates
from scherbelberg.planning.plan import make_plan
from scherbelberg.planning.remedies import apply_remedy
from scherbelberg.sandbox.cloud.catalog import make_catalog
from scherbelberg.spec.model import ClusterSpec

_IMAGE: dict[str, Any] = {
    "type": "system",
    "name": "ubuntu-24.04",
    "os_flavor": "ubuntu",
    "os_version": "24.04",
    "disk_size": 5,
}


def _catalog() -> Catalog:
    """The whole line-up of August 2026."""
    known = make_catalog()
    return read_catalog(
        server_types=[kind.row for kind in known.server_types],
        images=[_IMAGE | {"id": number, "architecture": name} for number, name in enumerate(("x86", "arm"), 1)],
        locations=[place.row for place in known.locations],
        pricing=known.pricing,
        now_s=1_795_000_000.0,
    )


CATALOG = _catalog()


def _ordered(words: str) -> ClusterSpec:
    """What the options of a command line ask for."""
    found: list[ClusterSpec] = []

    @click.command()
    @wish_options
    @click.pass_context
    def create(context: click.Context, /, **_wishes: Any) -> None:
        found.append(ClusterSpec(**wished(context).fields))

    create.main(shlex.split(words), standalone_mode=False)
    return found[0]


def _make(spec: ClusterSpec, gone: str) -> Attempts:
    """Rent all nodes where the types that some patterns name are sold out everywhere; raises if one finds none."""
    attempts = Attempts(plan=make_plan(spec, CATALOG, identity()))
    for name in [node.name for node in attempts.plan.nodes]:
        while True:
            node = attempts.node(name)
            if not any(fnmatch.fnmatch(f"{node.server_type.name}@{node.location}", part) for part in gone.split()):
                break
            attempts = attempts.with_failure(name, "sold_out", "error during placement")
            place = attempts.next_place(name)
            if place is None:
                raise attempts.no_capacity(name)
            attempts = attempts.with_node_at(name, place)
    return attempts


def _lack(spec: ClusterSpec, gone: str) -> NoCapacity:
    with pytest.raises(NoCapacity) as caught:
        _make(spec, gone)
    return caught.value


def test_the_stated_price_rules() -> None:
    """Without a price, what costs more than twice the first is left out; a stated one alone says what is too dear."""
    assert not any(one.server_type.name.startswith("cpx") for one in candidates(ClusterSpec(), CATALOG).worker)
    spec = ClusterSpec(max_hourly="1")
    found = [one.words for one in candidates(spec, CATALOG).worker]
    assert {f"cpx{number} in fsn1" for number in (22, 32, 42, 52)} <= set(found)
    made = _make(spec, "cx*@* cax*@*")
    assert {node.server_type.name for node in made.plan.nodes} == {"cpx22"}
    assert made.plan.bill.hourly.gross <= Decimal(1)
    least = enough(made.plan.bill.hourly.gross)
    assert {node.server_type.name for node in _make(ClusterSpec(max_hourly=least), "cx*@* cax*@*").plan.nodes} == {
        "cpx22"
    }


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ("", "cx*@* cax*@*"),
        ("-w 7", "cx*@* cax*@*"),
        ("", "cx*@* cax*@* cpx*@*"),
        ("--max-hourly 0.05", "cx*@* cax*@*"),
        ("--max-hourly 0.05 --max-total 0.7", "cx*@* cax*@*"),
        ("--worker-type cx23", "cx*@* cax*@*"),
        ("--worker-type cx23 --scheduler-type cx23", "cx*@* cax*@*"),
        ("--worker-type cpx22 --location fsn1", "*@fsn1"),
        ("--location fsn1", "*@fsn1"),
        ("--location fsn1 --worker-type ccx23 --scheduler-type cx33", "*@fsn1 *@nbg1"),
        ("--scheduler-type cax11", "cax*@*"),
        ("--min-workers 1 -w 3 --worker-type cx53", "cx*@* cpx*@*"),
    ],
)
def test_advice_followed_literally(words: str, gone: str) -> None:
    """Whoever adds the options that the error names, as often as there is an error, has a cluster in the end."""
    for _ in range(12):
        spec = _ordered(words)
        try:
            made = _make(spec, gone)
        except NoCapacity as error:
            words = _followed(words, spec, error)
        else:
            assert made.plan.bill.hourly.gross <= (spec.max_hourly or made.plan.bill.hourly.gross)
            return
    raise AssertionError(words)


def _followed(words: str, spec: ClusterSpec, error: NoCapacity) -> str:
    """The command line with what an error tells to add."""
    assert error.remedies, words
    first = error.remedies[0]
    assert f"by adding {first.options}, or wait for it with --wait 30m." in error.message
    words = f"{words} {first.options}"
    followed = _ordered(words)
    for name, value in first.fields.items():
        assert getattr(followed, name) == getattr(apply_remedy(spec, first), name) == value
    return words


def test_what_there_is() -> None:
    """What there is instead is told with the price of the whole cluster, the cheapest first, and each will do."""
    error = _lack(ClusterSpec(workers=3), "cx*@* cax*@*")
    prices = [one.hourly.gross for one in error.remedies]
    assert "cpx22 in fsn1" in {one.words for one in error.remedies}
    assert prices == sorted(prices)
    assert len(prices) == 5
    for one in error.remedies:
        made = _make(apply_remedy(ClusterSpec(workers=3), one), "cx23@* cx33@*")
        assert made.plan.bill.hourly.gross <= one.hourly.gross


def test_nothing_at_all() -> None:
    """Where a whole network zone is empty, what remains is to wait."""
    error = _lack(ClusterSpec(location="ash", worker="ccx63", scheduler="ccx63"), "*")
    assert error.remedies == ()
    assert error.message.endswith(
        "In this network zone there is nothing else that would do: wait for it with --wait 30m."
    )


@pytest.mark.parametrize(
    "words", ["--max-hourly 0.01", "--max-hourly 0.03 -w 5", "--max-total 0.01", "--max-total 0.04 -w 9"]
)
def test_amounts_followed_literally(words: str) -> None:
    """The amount that a refusal names is enough when it is asked for."""
    with pytest.raises(BadInput) as caught:
        make_plan(_ordered(words), CATALOG, identity())
    amount = next(text for text in caught.value.message.split() if text[:2] == "0.")
    option = words.split(maxsplit=1)[0]
    make_plan(_ordered(f"{words} {option} {amount}"), CATALOG, identity())
