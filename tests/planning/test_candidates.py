# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where nodes can be by a small catalogue, in which order, and the sentences where they can be nowhere."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from attrs import evolve
from catalogues import CALM, CATALOG, CX23, CX33, IMAGES, image, offer, server_type
from hypothesis import given
from hypothesis import strategies as st

from scherbelberg.cloud.resources import Catalog, ServerType
from scherbelberg.errors import BadInput
from scherbelberg.planning.candidates import MAX_PRICE_FACTOR, MOST_PLACES, candidates, place_at
from scherbelberg.spec.model import ClusterSpec


def _words(spec: ClusterSpec, catalog: Catalog = CATALOG) -> tuple[list[str], list[str]]:
    """Where the scheduler, and where workers, can be."""
    found = candidates(spec, catalog)
    return [one.words for one in found.scheduler], [one.words for one in found.worker]


def _workers(spec: ClusterSpec, catalog: Catalog = CATALOG) -> list[str]:
    return _words(spec, catalog)[1]


def _refusal(spec: ClusterSpec, catalog: Catalog = CATALOG) -> str:
    with pytest.raises(BadInput) as caught:
        candidates(spec, catalog)
    return caught.value.message


def test_cheapest_that_fits() -> None:
    """Without a wish: types of enough cores and memory, in eu-central only, in stock and cheap ones first."""
    expected = ["cx23 in fsn1", "cx23 in nbg1", "cx33 in fsn1", "cx33 in nbg1", "cx23 in hel1"]
    assert _words(ClusterSpec()) == (expected, expected)
    best = candidates(ClusterSpec(), CATALOG).worker[0]
    assert (best.hourly.net, best.available, best.image.name) == (Decimal("0.0096"), True, "ubuntu-26.04")


def test_order_of_the_catalogue_does_not_matter() -> None:
    """However the API sorts its answers, the choice is the same."""
    shuffler = random.Random(1)
    for _ in range(20):
        types = tuple(shuffler.sample(CATALOG.server_types, len(CATALOG.server_types)))
        places = tuple(shuffler.sample(CATALOG.locations, len(CATALOG.locations)))
        assert _words(ClusterSpec(), evolve(CATALOG, server_types=types, locations=places)) == _words(ClusterSpec())


def test_disks() -> None:
    """A snapshot is put on disks alone that are as large as its own; where there is none, the sentence says so."""
    large, larger = evolve(CX33, disk_gb=80), image(4713, "ubuntu", "24.04", kind="snapshot", disk_gb=80)
    catalog = evolve(CATALOG, server_types=(CX23, large), images=(*IMAGES, larger))
    snapshot = ClusterSpec(image="4713")
    expected = ["cx33 in fsn1", "cx33 in nbg1"]
    assert _words(snapshot, catalog) == (expected, expected)
    assert _words(evolve(snapshot, worker=("cx23", "cx33")), catalog) == (expected, expected)
    too_small = "Image 4713 needs a disk of 80 GB, and that of cx23 has 40 GB"
    for refused in (evolve(snapshot, worker="cx23"), evolve(snapshot, scheduler="cx23", worker="cx33")):
        assert _refusal(refused, catalog).startswith(too_small)
    assert _refusal(snapshot, evolve(catalog, server_types=(CX23,))).startswith(too_small)
    with pytest.raises(BadInput, match=too_small):
        place_at("cx23", "nbg1", snapshot, catalog)


def test_other_systems() -> None:
    """An image of a system on which nothing of ours starts is refused, and a snapshot of nobody knows what is not."""
    kinds = {flavor: image(number, flavor, "9") for number, flavor in enumerate(("rocky", "fedora", "debian"), 4713)}
    catalog = evolve(CATALOG, images=(*IMAGES, *kinds.values(), image(4720, "unknown", None, kind="snapshot")))
    for flavor in ("rocky", "fedora"):
        expected = f"Image {flavor}-9 is {flavor}, and nodes need Ubuntu: name one of Ubuntu's."
        assert _refusal(ClusterSpec(image=f"{flavor}-9"), catalog) == expected
    for name in ("debian-9", "4720"):
        assert _words(ClusterSpec(image=name), catalog) == _words(ClusterSpec(), CATALOG)


def test_named_types() -> None:
    """Named types are taken wherever they are sold, in their order; in other zones only if a location is named."""
    assert _words(ClusterSpec(scheduler="cx23", worker="cx33")) == (
        ["cx23 in fsn1", "cx23 in nbg1", "cx23 in hel1"],
        ["cx33 in fsn1", "cx33 in nbg1"],
    )
    assert _words(ClusterSpec(worker="cx33", location="ash")) == (["cpx11 in ash", "cx33 in ash"], ["cx33 in ash"])
    assert _workers(ClusterSpec(worker=("cx33", "cx23"))) == [
        *("cx33 in fsn1", "cx33 in nbg1", "cx23 in fsn1", "cx23 in nbg1", "cx23 in hel1"),
    ]


def test_named_types_in_named_locations() -> None:
    """Each type is tried in each location in the order given, whatever the cloud says of stock and price."""
    assert _workers(ClusterSpec(worker=("cx33", "cx23"), location=("hel1", "nbg1", "fsn1"))) == [
        *("cx33 in nbg1", "cx33 in fsn1", "cx23 in hel1", "cx23 in nbg1", "cx23 in fsn1"),
    ]


def test_named_locations() -> None:
    """Of named locations, in any one zone, the best of each comes before the second best of each."""
    assert _workers(ClusterSpec(location="nbg1")) == ["cx23 in nbg1", "cx33 in nbg1"]
    assert _workers(ClusterSpec(location="sin")) == ["cpx11 in sin"]
    assert _workers(ClusterSpec(location=("nbg1", "fsn1"))) == [
        *("cx23 in nbg1", "cx23 in fsn1", "cx33 in nbg1", "cx33 in fsn1"),
    ]


def test_locations_of_two_zones() -> None:
    """A network spans one zone, so locations of two are refused."""
    assert _refusal(ClusterSpec(location=("fsn1", "ash"))) == (
        "fsn1 is in network zone eu-central and ash in us-east, but the machines of a cluster share one network: name"
        " locations of one zone."
    )


def test_the_scheduler_is_planned_beside_its_workers() -> None:
    """The cluster is planned in the first place for workers whose location sells the scheduler's type as well."""
    found = candidates(ClusterSpec(scheduler="cax11", worker="cx23"), CATALOG)
    assert (found.scheduler[0].words, found.worker[0].words) == ("cax11 in nbg1", "cx23 in nbg1")
    assert [one.words for one in found.worker] == ["cx23 in nbg1", "cx23 in fsn1", "cx23 in hel1"]


def test_availability_sorts_and_never_filters() -> None:
    """What the cloud says is out of stock comes last, and is still tried, since the cloud is often wrong."""
    assert _workers(ClusterSpec(worker="cx23")) == ["cx23 in fsn1", "cx23 in nbg1", "cx23 in hel1"]
    assert _words(ClusterSpec(scheduler="ccx63", worker="ccx63")) == (["ccx63 in hel1"], ["ccx63 in hel1"])
    kinds = (server_type("one", offer("fsn1", "0.01", available=False), offer("nbg1", "0.01")), CX23)
    catalog = evolve(CATALOG, server_types=kinds)
    assert _words(ClusterSpec(scheduler="one", worker="cx23"), catalog)[1][0] == "cx23 in nbg1"
    assert _words(ClusterSpec(scheduler="one", worker="cx23", location=("fsn1", "nbg1")), catalog)[1][0] == (
        "cx23 in fsn1"
    )


@pytest.mark.parametrize(
    "spec", [ClusterSpec(worker="cax11", location="nbg1"), ClusterSpec(scheduler="cax11", location="nbg1")]
)
def test_unnamed_type_is_of_the_named_ones_architecture(spec: ClusterSpec) -> None:
    """Whoever names one type gets no other architecture beside it, however cheap: environments would differ."""
    assert _words(spec) == (["cax11 in nbg1"], ["cax11 in nbg1"])


def test_named_types_are_taken_as_they_are() -> None:
    """Whoever names several architectures gets them."""
    assert _words(ClusterSpec(scheduler="cx23", worker="cax11")) == (
        ["cx23 in nbg1", "cx23 in fsn1", "cx23 in hel1"],
        ["cax11 in nbg1", "cax11 in hel1"],
    )
    assert _workers(ClusterSpec(worker=("cx23", "cax11"), location="nbg1")) == ["cx23 in nbg1", "cax11 in nbg1"]


def test_types_without_an_image_are_not_chosen() -> None:
    """An architecture for which the cloud has no image that would do is not chosen, even where it alone is in stock."""
    catalog = evolve(CATALOG, images=tuple(one for one in IMAGES if one.architecture == "x86"))
    assert _workers(ClusterSpec(location="hel1"), catalog) == ["cx23 in hel1"]
    assert _workers(ClusterSpec(location="hel1", image="ubuntu-24.04")) == ["cax11 in hel1"]
    assert _workers(ClusterSpec(worker=("cax11", "cx23"), location="hel1"), catalog) == ["cx23 in hel1"]


def _only(spec: ClusterSpec, *architectures: str) -> tuple[list[str], list[str]]:
    """Where scheduler and workers can be with an environment for some processors alone."""
    found = candidates(spec, CATALOG, architectures=architectures)
    return [one.words for one in found.scheduler], [one.words for one in found.worker]


def test_processors_of_the_environment() -> None:
    """An environment for one kind of processors leaves types of the others out before the best one is chosen."""
    spec = ClusterSpec(location="hel1", image="ubuntu-24.04")
    assert _workers(spec) == _only(spec, "x86", "arm")[1] == ["cax11 in hel1"]
    assert _only(spec, "x86") == (["cx23 in hel1"], ["cx23 in hel1"])
    assert _only(ClusterSpec(), "arm") == (["cax11 in hel1", "cax11 in nbg1"],) * 2
    assert _only(ClusterSpec(worker=("cax11", "cx33")), "x86")[1] == ["cx33 in fsn1", "cx33 in nbg1"]
    assert _only(ClusterSpec(scheduler="cx23", worker=("cax11", "cx33")), "x86")[1] == ["cx33 in fsn1", "cx33 in nbg1"]
    assert _only(ClusterSpec(scheduler="cx23", worker="cax11"), "x86", "arm")[1] == ["cax11 in nbg1", "cax11 in hel1"]


@pytest.mark.parametrize(
    ("spec", "architecture", "sentence"),
    [
        (
            ClusterSpec(worker=("cax11",), env="my.lock"),
            "x86",
            (
                "The environment 'my.lock' is for x86 processors, and --worker-type cax11 has arm processors: leave"
                " --worker-type out, name a type that has the former, or give an environment for the latter."
            ),
        ),
        (
            ClusterSpec(scheduler="cx23", env="my.lock"),
            "arm",
            (
                "The environment 'my.lock' is for arm processors, and --scheduler-type cx23 has x86 processors: leave"
                " --scheduler-type out, name a type that has the former, or give an environment for the latter."
            ),
        ),
        (
            ClusterSpec(location="fsn1", env="my.lock"),
            "arm",
            (
                "No server types for scheduler and workers are sold together in fsn1: name them with"
                " --scheduler-type and --worker-type, or another --location. The environment 'my.lock' is for arm"
                " processors alone: with one for others as well there would be machines."
            ),
        ),
        (
            ClusterSpec(image="4711", env="my.lock"),
            "arm",
            (
                "There is no image '4711' for arm; did you mean '4712'? The environment 'my.lock' is for arm processors"
                " alone: with one for others as well there would be machines."
            ),
        ),
        (
            ClusterSpec(location="nbg1", max_hourly="0.035", env="my.lock"),
            "arm",
            (
                "1 scheduler and 2 workers cost at least 0.0375 EUR an hour gross, more than --max-hourly 0.035: ask"
                " for fewer or smaller machines, or allow more. The environment 'my.lock' is for arm processors alone:"
                " with one for others as well there would be machines."
            ),
        ),
        (
            ClusterSpec(location="nbg2", env="my.lock"),
            "arm",
            "There is no location 'nbg2'; did you mean 'nbg1'?",
        ),
    ],
)
def test_nothing_for_the_environment(spec: ClusterSpec, architecture: str, sentence: str) -> None:
    """Where the environment leaves no machine it is named, with what was in its way; other mistakes are theirs."""
    with pytest.raises(BadInput) as caught:
        candidates(spec, CATALOG, architectures=(architecture,))
    assert caught.value.message == sentence


def test_availability_sorts_types_before_prices() -> None:
    """In one place a type in stock is preferred to a cheaper one that is not, and to no type of another processor."""
    assert _words(ClusterSpec(location="hel1")) == (["cax11 in hel1"], ["cax11 in hel1"])


def test_cheaper_places_come_first() -> None:
    """Among places in stock the price decides, then the name."""
    kind = server_type("one", offer("nbg1", "0.03"), offer("fsn1", "0.03"), offer("hel1", "0.02"))
    found = _workers(ClusterSpec(), evolve(CATALOG, server_types=(kind,)))
    assert found == ["one in hel1", "one in fsn1", "one in nbg1"]


def test_no_surprise_on_the_bill() -> None:
    """A type that nobody named costs at most twice what was planned; a named one may cost anything."""
    kinds = [server_type(f"t{net}", offer("fsn1", f"0.0{net}")) for net in (192, 392, 393)]
    assert _workers(ClusterSpec(), evolve(CATALOG, server_types=tuple(kinds))) == ["t192 in fsn1", "t392 in fsn1"]
    assert _workers(ClusterSpec(worker=("cx33", "cx52"), location="nbg1")) == ["cx33 in nbg1", "cx52 in nbg1"]


def test_bounded_number_of_places() -> None:
    """However many types there are, no more than some are tried."""
    kinds = tuple(server_type(f"t{number}", offer("fsn1", "0.01")) for number in range(10, 40))
    found = candidates(ClusterSpec(), evolve(CATALOG, server_types=kinds))
    assert (len(found.scheduler), len(found.worker)) == (MOST_PLACES, MOST_PLACES)


def test_price_limit() -> None:
    """The cluster is planned where all of it, with VAT and addresses, is cheap enough, or refused with its price."""
    # 3 x 0.0144 x 1.2, and 0.0096 instead for the scheduler
    spec = ClusterSpec(worker=("cx33", "cx23"), location="fsn1", max_hourly="0.04608")
    assert _words(spec) == (["cx23 in fsn1", "cx33 in fsn1"], ["cx33 in fsn1", "cx23 in fsn1"])
    assert _workers(evolve(spec, max_hourly="0.04607"))[0] == "cx23 in fsn1"
    assert _refusal(evolve(spec, max_hourly="0.03")) == (
        "1 scheduler and 2 workers cost at least 0.0346 EUR an hour gross, more than --max-hourly 0.03: ask for"
        " fewer or smaller machines, or allow more."
    )


def test_ended_types_are_skipped() -> None:
    """A type that cannot be ordered any more is not chosen, however cheap; one that ends later still is."""
    assert all(not words.startswith("cx22") for words in _workers(ClusterSpec()))
    assert _workers(ClusterSpec(worker="cx52")) == ["cx52 in nbg1"]


def test_named_type_may_be_small() -> None:
    """The least size is for what nobody named."""
    assert _workers(ClusterSpec(worker="cpx12")) == ["cpx12 in fsn1"]


def test_decided_places() -> None:
    """A place that was decided is found again with its price, and one that is gone is named."""
    assert place_at("cx23", "hel1", ClusterSpec(worker="cx33"), CATALOG).words == "cx23 in hel1"
    with pytest.raises(BadInput, match=r"^Server type cx22 is not sold in fsn1; it is sold in: nowhere any more\.$"):
        place_at("cx22", "fsn1", ClusterSpec(worker="cx33"), CATALOG)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (ClusterSpec(worker="cx32"), "There is no server type 'cx32'; did you mean 'cx33'?"),
        (ClusterSpec(scheduler="cax12"), "There is no server type 'cax12'; did you mean 'cax11'?"),
        (ClusterSpec(worker=("cx33", "cx32")), "There is no server type 'cx32'; did you mean 'cx33'?"),
        (ClusterSpec(location=("nbg1", "nbg2")), "There is no location 'nbg2'; did you mean 'nbg1'?"),
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
            ClusterSpec(worker=("cpx11", "ccx63"), location=("nbg1", "fsn1")),
            "Server type cpx11 is not sold in nbg1 or fsn1; it is sold in: ash, sin.",
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
                " --scheduler-type and --worker-type, or another --location."
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
    found = candidates(ClusterSpec(), catalog).worker
    best = found[0]
    assert len(found) == len(set(found)) <= MOST_PLACES
    assert {one.location for one in found} <= sold
    assert all(one.server_type in fitting and one.hourly.gross <= MAX_PRICE_FACTOR * best.hourly.gross for one in found)
    offers = [one for kind in fitting for one in kind.offers if one.location != "ash"]
    assert (best.available, best.hourly.net) == min(
        ((one.available, one.hourly.net + Decimal("0.0008")) for one in offers), key=lambda row: (not row[0], row[1])
    )
    assert [one.available for one in found] == sorted((one.available for one in found), reverse=True)
