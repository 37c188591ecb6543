# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Choosing from a small catalogue what is rented, and the sentences where nothing can be chosen."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from attrs import evolve
from catalogues import CALM, CATALOG, CAX11, CCX63, CPX11, CX23, CX33, CX52, IMAGES, offer, server_type
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.catalog import Catalog, ServerType
from scherbelberg.choice import candidates, find_type, pick_image
from scherbelberg.errors import BadInput
from scherbelberg.spec import ClusterSpec

_Row = tuple[str, ServerType, ServerType, bool, Decimal]


def _rows(spec: ClusterSpec, catalog: Catalog = CATALOG) -> list[_Row]:
    return [
        (one.location, one.scheduler, one.worker, one.available, one.hourly.net) for one in candidates(spec, catalog)
    ]


def _refusal(spec: ClusterSpec, catalog: Catalog = CATALOG) -> str:
    with pytest.raises(BadInput) as caught:
        candidates(spec, catalog)
    return caught.value.message


def test_cheapest_that_fits() -> None:
    """Without a wish: the cheapest type of enough cores and memory, in eu-central only, the best place first."""
    assert _rows(ClusterSpec()) == [
        ("fsn1", CX23, CX23, True, Decimal("0.0176")),
        ("nbg1", CX23, CX23, True, Decimal("0.0176")),
        ("hel1", CAX11, CAX11, True, Decimal("0.0192")),
    ]


def test_order_of_the_catalogue_does_not_matter() -> None:
    """However the API sorts its answers, the choice is the same."""
    shuffler = random.Random(1)
    for _ in range(20):
        types = tuple(shuffler.sample(CATALOG.server_types, len(CATALOG.server_types)))
        places = tuple(shuffler.sample(CATALOG.locations, len(CATALOG.locations)))
        assert _rows(ClusterSpec(), evolve(CATALOG, server_types=types, locations=places)) == _rows(ClusterSpec())


def test_named_types() -> None:
    """Named types are taken wherever both are sold; in other zones only if the location is named."""
    assert _rows(ClusterSpec(scheduler="cx23", worker="cx33")) == [
        ("fsn1", CX23, CX33, True, Decimal("0.0224")),
        ("nbg1", CX23, CX33, True, Decimal("0.0224")),
    ]
    assert _rows(ClusterSpec(worker="cx33", location="ash")) == [("ash", CPX11, CX33, True, Decimal("0.0300"))]


def test_named_location() -> None:
    """A named location is the only one looked at, in any zone."""
    assert _rows(ClusterSpec(location="nbg1")) == [("nbg1", CX23, CX23, True, Decimal("0.0176"))]
    assert _rows(ClusterSpec(location="sin")) == [("sin", CPX11, CPX11, True, Decimal("0.0300"))]


def test_availability_sorts_and_never_filters() -> None:
    """What the cloud says is out of stock comes last, and is still tried, since the cloud is often wrong."""
    assert _rows(ClusterSpec(worker="cx23")) == [
        ("fsn1", CX23, CX23, True, Decimal("0.0176")),
        ("nbg1", CX23, CX23, True, Decimal("0.0176")),
        ("hel1", CX23, CX23, False, Decimal("0.0176")),
    ]
    assert _rows(ClusterSpec(scheduler="ccx63", worker="ccx63")) == [
        ("hel1", CCX63, CCX63, False, Decimal("2.7356")),
    ]


@pytest.mark.parametrize(
    "spec", [ClusterSpec(worker="cax11", location="nbg1"), ClusterSpec(scheduler="cax11", location="nbg1")]
)
def test_unnamed_type_is_of_the_named_ones_architecture(spec: ClusterSpec) -> None:
    """Whoever names one type gets no other architecture beside it, however cheap: environments would differ."""
    assert _rows(spec) == [("nbg1", CAX11, CAX11, True, Decimal("0.0192"))]


def test_both_named_types_are_taken_as_they_are() -> None:
    """Whoever names two architectures gets them."""
    assert _rows(ClusterSpec(scheduler="cx23", worker="cax11")) == [
        ("nbg1", CX23, CAX11, True, Decimal("0.0184")),
        ("hel1", CX23, CAX11, False, Decimal("0.0184")),
    ]


def test_types_without_an_image_are_not_chosen() -> None:
    """An architecture for which the cloud has no image that would do is not chosen, even where it alone is in stock."""
    catalog = evolve(CATALOG, images=tuple(one for one in IMAGES if one.architecture == "x86"))
    assert _rows(ClusterSpec(location="hel1"), catalog) == [("hel1", CX23, CX23, False, Decimal("0.0176"))]
    assert _rows(ClusterSpec(location="hel1", image="ubuntu-24.04")) == _rows(ClusterSpec(location="hel1"))


def test_availability_sorts_types_before_prices() -> None:
    """In one place a type in stock is preferred to a cheaper one that is not."""
    assert _rows(ClusterSpec(location="hel1")) == [("hel1", CAX11, CAX11, True, Decimal("0.0192"))]


def test_cheaper_places_come_first() -> None:
    """Among places in stock the price decides, then the name."""
    kind = server_type("one", offer("nbg1", "0.03"), offer("fsn1", "0.03"), offer("hel1", "0.02"))
    found = candidates(ClusterSpec(), evolve(CATALOG, server_types=(kind,)))
    assert [one.location for one in found] == ["hel1", "fsn1", "nbg1"]


def test_ended_types_are_skipped() -> None:
    """A type that cannot be ordered any more is not chosen, however cheap; one that ends later still is."""
    assert all(one.worker.name != "cx22" for one in candidates(ClusterSpec(), CATALOG))
    assert _rows(ClusterSpec(worker="cx52")) == [("nbg1", CX23, CX52, True, Decimal("0.0588"))]


def test_named_type_may_be_small() -> None:
    """The least size is for what nobody named."""
    assert [one.worker.name for one in candidates(ClusterSpec(worker="cpx12"), CATALOG)] == ["cpx12"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (ClusterSpec(worker="cx32"), "There is no server type 'cx32'; did you mean 'cx33'?"),
        (ClusterSpec(scheduler="cax12"), "There is no server type 'cax12'; did you mean 'cax11'?"),
        (ClusterSpec(location="nbg2"), "There is no location 'nbg2'; did you mean 'nbg1'?"),
        (
            ClusterSpec(location="Falkenstein"),
            "There is no location 'Falkenstein'; there are: ash, fsn1, hel1, nbg1, sin.",
        ),
        (
            ClusterSpec(worker="t3.micro"),
            "There is no server type 't3.micro'; there are: cax11, ccx63, cpx11, cpx12, cx22, cx23, cx33, cx52.",
        ),
        (
            ClusterSpec(worker="cx33", location="hel1"),
            "Server type cx33 is not sold in hel1; it is sold in: fsn1, nbg1, ash.",
        ),
        (
            ClusterSpec(scheduler="cpx11"),
            "Server type cpx11 is not sold in network zone eu-central; it is sold in: ash, sin.",
        ),
        (
            ClusterSpec(worker="cx22", location="fsn1"),
            "Server type cx22 is not sold in fsn1; it is sold in: nowhere any more.",
        ),
        (
            ClusterSpec(scheduler="ccx63", worker="cx33"),
            (
                "No server types for scheduler and workers are sold together in network zone eu-central: name them with"
                " --scheduler and --worker, or another --location."
            ),
        ),
    ],
)
def test_refusals(spec: ClusterSpec, sentence: str) -> None:
    """What the catalogue has not is refused in one sentence that helps."""
    assert _refusal(spec) == sentence


def test_nothing_fits() -> None:
    """A place that sells nothing of a sensible size says so."""
    tiny = evolve(CATALOG, server_types=(server_type("tiny", offer("fsn1", "0.001"), cores=1, gb=64),))
    assert _refusal(ClusterSpec(), tiny).startswith("No server types for scheduler and workers are sold together in")


def test_find_type() -> None:
    """A type is found by its whole name."""
    assert find_type("cx23", CATALOG) is CX23
    with pytest.raises(BadInput, match="did you mean 'cx23'"):
        find_type("cx", evolve(CATALOG, server_types=(CX23, CPX11)))


_OFFERS = st.lists(
    st.builds(
        offer,
        st.sampled_from(["fsn1", "nbg1", "hel1", "ash"]),
        st.integers(1, 9999).map(lambda number: f"{number / 10000:.4f}"),
        available=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda one: one.location,
)
_TYPES = st.lists(
    st.tuples(_OFFERS, st.sampled_from([1, 2, 4]), st.sampled_from([2, 4, 8])).map(
        lambda row: server_type("t", *row[0], cores=row[1], gb=row[2])
    ),
    max_size=6,
).map(lambda kinds: tuple(evolve(kind, name=f"t{number}") for number, kind in enumerate(kinds)))


@CALM
@given(_TYPES)
def test_any_catalogue(kinds: tuple[ServerType, ...]) -> None:
    """In any catalogue what is chosen is sold there, of sensible size and, among its like, cheapest."""
    catalog = evolve(CATALOG, server_types=kinds)
    fitting = [kind for kind in kinds if kind.cores >= 2 and kind.memory_bytes >= 4 * 2**30]
    sold = {one.location for kind in fitting for one in kind.offers} - {"ash"}
    if not sold:
        assert _refusal(ClusterSpec(), catalog)
        return
    found = candidates(ClusterSpec(), catalog)
    assert {one.location for one in found} == sold
    for one in found:
        here = [choice for kind in fitting if (choice := kind.offer(one.location, now_s=catalog.now_s))]
        best = min(here, key=lambda choice: (not choice.available, choice.hourly.net))
        assert one.worker.offer(one.location, now_s=catalog.now_s) == best
        assert one.available == best.available
    assert [one.available for one in found] == sorted((one.available for one in found), reverse=True)


def test_newest_lts() -> None:
    """Without a wish: the newest Ubuntu LTS system image of the architecture that is not deprecated."""
    assert pick_image(None, "x86", CATALOG).name == "ubuntu-26.04"
    arm = pick_image(None, "arm", CATALOG)
    assert (arm.name, arm.architecture) == ("ubuntu-24.04", "arm")


def test_named_image() -> None:
    """An image is named by its name, which each architecture has once, or by its number."""
    assert pick_image("ubuntu-24.04", "x86", CATALOG).id == 3
    assert pick_image("ubuntu-24.04", "arm", CATALOG).id == 9
    assert pick_image("debian-30.04", "x86", CATALOG).id == 7
    assert pick_image("4711", "x86", CATALOG).kind == "snapshot"


@pytest.mark.parametrize(
    ("name", "architecture", "sentence"),
    [
        ("ubuntu-24.10", "x86", "There is no image 'ubuntu-24.10' for x86; did you mean 'ubuntu-24.04'?"),
        ("ubuntu-26.04", "arm", "There is no image 'ubuntu-26.04' for arm; did you mean 'ubuntu-24.04'?"),
        ("4711", "arm", "There is no image '4711' for arm; did you mean '4712'?"),
        ("nixos", "arm", "There is no image 'nixos' for arm; there are: 4712, ubuntu-22.04, ubuntu-24.04."),
    ],
)
def test_unknown_image(name: str, architecture: str, sentence: str) -> None:
    """An image that there is not, or not for this architecture, is refused with the nearest or all."""
    with pytest.raises(BadInput) as caught:
        pick_image(name, architecture, CATALOG)
    assert caught.value.message == sentence


@pytest.mark.parametrize("architecture", ["x86", "arm"])
def test_no_lts(architecture: str) -> None:
    """Where there is no LTS image the user is asked to name one."""
    others = tuple(one for one in IMAGES if one.id in {4, 5, 6, 7, 8, 4711})
    with pytest.raises(BadInput) as caught:
        pick_image(None, architecture, evolve(CATALOG, images=others))
    assert caught.value.message == (
        f"The cloud offers no Ubuntu LTS image for {architecture}; name another with --image."
    )
