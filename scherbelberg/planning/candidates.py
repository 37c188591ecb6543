# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the nodes of a cluster can be: server types in locations of one network zone, the best first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from decimal import Decimal
from itertools import product, zip_longest
from typing import Literal

from attrs import evolve, frozen

from scherbelberg.cloud.pricing import Price, Tariff, enough, total
from scherbelberg.cloud.resources import Catalog, Image, ServerType
from scherbelberg.errors import BadInput
from scherbelberg.planning.lookup import check_system, find_image, find_location, find_type, is_wanted, pick_image
from scherbelberg.spec.model import ClusterSpec

#: Where nothing was asked for, only this network zone is looked at: others cost more and lie far away.
DEFAULT_ZONE = "eu-central"
#: The least that a node of a cluster needs to be of use.
LEAST_CORES = 2
LEAST_MEMORY_BYTES = 4 * 2**30
#: Most places that are tried for one kind of node, and how many times the first one's price another type may cost that
#: nobody named.
MOST_PLACES = 12
MAX_PRICE_FACTOR = 2
#: Most places that are tried where the user says what all of it may cost.
MOST_WITHIN = 60


@frozen(kw_only=True)
class Place:
    """Where a node can be: a server type in a location.

    Args:
        server_type: What is rented.
        location: The location's name.
        image: What its disk begins with.
        tariffs: What is charged for it: the server, and its IPv4 address.
        available: Whether the cloud says that it has it in stock, which is wrong now and then.
    """

    server_type: ServerType
    location: str
    image: Image
    tariffs: tuple[Tariff, ...]
    available: bool

    @property
    def hourly(self) -> Price:
        """Price per hour, IPv4 address included."""
        return total(tariff.hourly for tariff in self.tariffs)

    @property
    def architecture(self) -> str:
        """Of its processor."""
        return self.server_type.architecture

    @property
    def words(self) -> str:
        """It for people: ``cx23 in fsn1``."""
        return f"{self.server_type.name} in {self.location}"


@frozen(kw_only=True)
class Candidates:
    """The places where the nodes of a cluster can be, all in one network zone, the best first.

    Args:
        scheduler: For the scheduler.
        worker: For workers; the first is in the same location as the scheduler's first.
        scheduler_beyond: Where the scheduler could be if the user allowed it: other types, other locations, dearer.
        worker_beyond: The same of workers.
    """

    scheduler: tuple[Place, ...]
    worker: tuple[Place, ...]
    scheduler_beyond: tuple[Place, ...] = ()
    worker_beyond: tuple[Place, ...] = ()

    def beyond(self, role: Literal["scheduler", "worker"]) -> tuple[Place, ...]:
        """Where nodes of a role could be if the user allowed it, the best first.

        Args:
            role: Which.
        """
        return self.scheduler_beyond if role == "scheduler" else self.worker_beyond

    def of(self, architectures: Iterable[str]) -> Candidates:
        """Those with certain processors; what could be besides would have an environment of its own.

        Args:
            architectures: Which.
        """
        known = set(architectures)

        def of(places: tuple[Place, ...]) -> tuple[Place, ...]:
            return tuple(place for place in places if place.architecture in known)

        return Candidates(
            scheduler=of(self.scheduler),
            worker=of(self.worker),
            scheduler_beyond=self.scheduler_beyond,
            worker_beyond=self.worker_beyond,
        )


def candidates(spec: ClusterSpec, catalog: Catalog, *, architectures: Collection[str] | None = None) -> Candidates:
    """List the places where the nodes of a cluster can be.

    Named types are tried one after the other, each in one location after the other. Where no type is named, the
    cheapest comes first, what is not in stock last; with named locations, the best of each in turn. What nobody named
    costs at most `MAX_PRICE_FACTOR` times the first, or what the user says that all of it may cost.

    Args:
        spec: What the user wants.
        catalog: What can be rented.
        architectures: Processors that the environment which the user named is for; None for all.

    Returns:
        At least one place for each kind of node, and no more than `MOST_PLACES`, or `MOST_WITHIN` a stated price.

    Raises:
        BadInput: Type or location unknown, or nothing fits, or nothing is cheap enough.
    """
    if architectures is None:
        return _candidates(spec, catalog)
    scheduler = _served_types(
        "--scheduler-type", (spec.scheduler,) if spec.scheduler else (), spec, catalog, architectures
    )
    worker = _served_types("--worker-type", spec.worker, spec, catalog, architectures)
    fitting = evolve(
        catalog,
        server_types=tuple(kind for kind in catalog.server_types if kind.architecture in architectures),
        images=tuple(image for image in catalog.images if image.architecture in architectures),
    )
    try:
        return _candidates(evolve(spec, scheduler=next(iter(scheduler), None), worker=worker), fitting)
    except BadInput as error:
        _candidates(spec, catalog)  # raises what has nothing to do with the environment
        raise BadInput(
            f"{error.message} {_environment_of(spec)} is for {_processors(architectures)} alone: with one for others"
            " as well there would be machines."
        ) from None


def _served_types(
    option: str, names: tuple[str, ...], spec: ClusterSpec, catalog: Catalog, architectures: Collection[str]
) -> tuple[str, ...]:
    """Those of the types that the user named which the environment is for."""
    kinds = tuple(find_type(name, catalog) for name in names)
    found = tuple(kind.name for kind in kinds if kind.architecture in architectures)
    if kinds and not found:
        raise BadInput(
            f"{_environment_of(spec)} is for {_processors(architectures)}, and {option} {' '.join(names)} has"
            f" {_processors({kind.architecture for kind in kinds})}: leave {option} out, name a type that has the"
            " former, or give an environment for the latter."
        )
    return found


def _environment_of(spec: ClusterSpec) -> str:
    return "The environment" if spec.env is None else f"The environment '{spec.env}'"


def _processors(architectures: Collection[str]) -> str:
    return f"{' and '.join(sorted(architectures))} processors"


def _candidates(spec: ClusterSpec, catalog: Catalog) -> Candidates:
    locations = _locations(spec, catalog)
    named = (spec.scheduler,) if spec.scheduler else ()
    reference_type = _reference_type((*spec.worker, *named), spec, catalog)
    schedulers = _places(named, reference_type, locations, spec, catalog)
    workers = _places(spec.worker, reference_type, locations, spec, catalog)
    pairs = [
        (one, other)
        for other in workers
        for one in schedulers
        if one.location == other.location and (reference_type is not None or one.architecture == other.architecture)
    ]
    if not pairs:
        raise _nothing_fits(spec, catalog, locations)
    scheduler, worker = _best(pairs, spec, catalog.currency)
    if reference_type is None:  # nobody asked for several kinds of processors, which need an environment each
        schedulers, workers = (_like(worker, places, spec) for places in (schedulers, workers))
    least = [min(place.hourly.gross for place in places) for places in (schedulers, workers)]
    others = (spec.workers * least[1], least[0] + (spec.workers - 1) * least[1])
    best_schedulers = _first(scheduler, schedulers, spec, is_named=bool(named), others=others[0])
    best_workers = _first(worker, workers, spec, is_named=bool(spec.worker), others=others[1])
    return Candidates(
        scheduler=best_schedulers,
        worker=best_workers,
        scheduler_beyond=_beyond(best_schedulers, schedulers, is_named=bool(named), spec=spec, catalog=catalog),
        worker_beyond=_beyond(best_workers, workers, is_named=bool(spec.worker), spec=spec, catalog=catalog),
    )


def _beyond(
    best: tuple[Place, ...], places: tuple[Place, ...], *, is_named: bool, spec: ClusterSpec, catalog: Catalog
) -> tuple[Place, ...]:
    """Where nodes could be besides: what is left in the same locations, in others of their zone, other processors."""
    first = best[0]
    zone = catalog.zones[first.location]
    named = _locations(spec, catalog)
    elsewhere = tuple(name for name, other in catalog.zones.items() if other == zone and name not in named)
    like = evolve(spec, location=(), max_hourly=None)
    found = list(places)
    for reference_type, locations in product((first.server_type.name, None), (named, elsewhere)):
        with suppress(BadInput):
            found += _places((), reference_type, locations, like, catalog)
    kind = first.server_type
    fitting = [one for one in dict.fromkeys(found) if one not in best]
    known = {one.server_type for one in best}
    if is_named:  # who named a type wants at least so much; what costs more is better than what was tried before
        fitting = [one for one in fitting if one.server_type in known or _is_as_large(one.server_type, kind)]

    def rank(one: Place) -> tuple[bool, ...]:
        is_new = is_named and one.server_type not in known
        is_cheaper = is_new and one.hourly.net <= first.hourly.net
        return one.architecture != first.architecture, is_cheaper, is_new, one.location in elsewhere

    return tuple(sorted(fitting, key=lambda one: (rank(one), _rank(one))))


def _is_as_large(one: ServerType, other: ServerType) -> bool:
    return one.cores >= other.cores and one.memory_bytes >= other.memory_bytes


def key_of(place: Place) -> tuple[str, str]:
    """Server type and location of a place, by name."""
    return place.server_type.name, place.location


def _best(pairs: list[tuple[Place, Place]], spec: ClusterSpec, currency: str) -> tuple[Place, Place]:
    """Where the cluster is planned: where its workers are best off, if that is not too dear."""
    prices = [one.hourly.gross + spec.workers * other.hourly.gross for one, other in pairs]
    fitting = [pair for pair, price in zip(pairs, prices, strict=True) if price <= (spec.max_hourly or price)]
    if not fitting:
        raise BadInput(
            f"1 scheduler and {spec.workers} workers cost at least {enough(min(prices))} {currency} an hour gross, more"
            f" than --max-hourly {spec.max_hourly}: ask for fewer or smaller machines, or allow more."
        )
    if spec.location:
        return fitting[0]
    like_first = [pair for pair in fitting if not spec.worker or pair[1].server_type == fitting[0][1].server_type]
    return min(like_first, key=lambda pair: not (pair[0].available and pair[1].available))


def _reference_type(names: tuple[str, ...], spec: ClusterSpec, catalog: Catalog) -> str | None:
    """The named type that says which processor those have that nobody named: the first that there is an image for."""
    imaged = (name for name in names if find_image(spec.image, find_type(name, catalog).architecture, catalog))
    return next(imaged, next(iter(names), None))


def _like(best: Place, places: tuple[Place, ...], spec: ClusterSpec) -> tuple[Place, ...]:
    return _sort([one for one in places if one.architecture == best.architecture], (), spec.location)


def _first(
    best: Place, places: tuple[Place, ...], spec: ClusterSpec, *, is_named: bool, others: Decimal
) -> tuple[Place, ...]:
    """The best place and those that come next, as far as their price is what the user expects.

    Args:
        best: The best.
        places: All.
        spec: What the user wants.
        is_named: Whether they have named the types.
        others: What the other nodes cost an hour at least, gross.
    """
    if spec.max_hourly is not None and not is_named:
        most = spec.max_hourly - others
        return (best, *(one for one in places if one != best and one.hourly.gross <= most))[:MOST_WITHIN]
    rest = (one for one in places if one != best)
    return (best, *(one for one in rest if is_named or one.hourly.gross <= MAX_PRICE_FACTOR * best.hourly.gross))[
        :MOST_PLACES
    ]


def _places(
    names: tuple[str, ...], reference_type: str | None, locations: tuple[str, ...], spec: ClusterSpec, catalog: Catalog
) -> tuple[Place, ...]:
    """All places of one kind of node, the best first.

    Args:
        names: Of server types, in order; none for all that are large enough.
        reference_type: Type that says which processor those have that nobody named.
        locations: In order.
        spec: What the user wants.
        catalog: What can be rented.

    Raises:
        BadInput: A type is unknown, or no place has an image, a disk that is large enough for it, or a price.
    """
    types = tuple(find_type(name, catalog) for name in names) or _large_enough(spec, reference_type, catalog)
    sold = [(kind, offer) for kind in types for name in locations if (offer := kind.offer(name, now_s=catalog.now_s))]
    priced = [(kind, offer) for kind, offer in sold if offer.location in catalog.ipv4]
    if sold and not priced:
        where = ", ".join(locations)
        raise BadInput(f"The cloud names no price of an IPv4 address in {where}; choose another --location.")
    images = {kind.architecture: find_image(spec.image, kind.architecture, catalog) for kind, _ in priced}
    for found in filter(None, images.values()):
        check_system(found)
    imaged = [(kind, offer, image) for kind, offer in priced if (image := images[kind.architecture])]
    if priced and not imaged:
        pick_image(spec.image, priced[0][0].architecture, catalog)  # raises, and says what is missing
    places = [
        Place(
            server_type=kind,
            location=offer.location,
            image=image,
            tariffs=(offer.tariff, catalog.ipv4[offer.location]),
            available=offer.available,
        )
        for kind, offer, image in imaged
        if image.disk_gb <= kind.disk_gb
    ]
    if imaged and not places:
        raise _too_large(*max(((image, kind) for kind, _, image in imaged), key=lambda one: one[1].disk_gb))
    return _sort(places, names, spec.location)


def _too_large(image: Image, kind: ServerType) -> BadInput:
    """The error for an image that fits on no disk, by the largest of them."""
    return BadInput(
        f"Image {image.name or image.id} needs a disk of {image.disk_gb:g} GB, and that of {kind.name} has"
        f" {kind.disk_gb} GB: name types with larger disks with --scheduler-type and --worker-type, or another --image."
    )


def place_at(name: str, location: str, spec: ClusterSpec, catalog: Catalog) -> Place:
    """One place that was decided before.

    Args:
        name: Of the server type.
        location: Of the location.
        spec: What the user wants.
        catalog: What can be rented.

    Raises:
        BadInput: It cannot be had any more.
    """
    places = _places((name,), None, (location,), spec, catalog)
    if not places:
        raise _nothing_fits(evolve(spec, scheduler=name, worker=(), location=location), catalog, (location,))
    return places[0]


def _sort(places: list[Place], names: tuple[str, ...], locations: tuple[str, ...]) -> tuple[Place, ...]:
    """Sort places that come in the order of types, then of locations."""
    if names:
        return tuple(
            places if locations else sorted(places, key=lambda one: (names.index(one.server_type.name), *_rank(one)))
        )
    best_first = sorted(places, key=_rank)
    if not locations:
        return tuple(best_first)
    columns = ([one for one in best_first if one.location == name] for name in locations)
    return tuple(one for row in zip_longest(*columns) for one in row if one is not None)


def _rank(place: Place) -> tuple[bool, Decimal, str, str]:
    return not place.available, place.hourly.net, place.location, place.server_type.name


def _locations(spec: ClusterSpec, catalog: Catalog) -> tuple[str, ...]:
    if not spec.location:
        return tuple(name for name, zone in catalog.zones.items() if zone == DEFAULT_ZONE)
    found = [find_location(name, catalog) for name in spec.location]
    for one in found[1:]:
        if one.network_zone != found[0].network_zone:
            raise BadInput(
                f"{found[0].name} is in network zone {found[0].network_zone} and {one.name} in {one.network_zone}, but"
                " the machines of a cluster share one network: name locations of one zone."
            )
    return spec.location


def _large_enough(spec: ClusterSpec, reference_type: str | None, catalog: Catalog) -> tuple[ServerType, ...]:
    """The types that do where nobody named one: of the named one's processor, or of those that there are images for."""
    if reference_type is not None:
        architectures = {find_type(reference_type, catalog).architecture}
    else:
        architectures = {image.architecture for image in catalog.images if is_wanted(spec.image, image)}
    return tuple(
        kind
        for kind in catalog.server_types
        if kind.architecture in architectures or not architectures
        if kind.cores >= LEAST_CORES and kind.memory_bytes >= LEAST_MEMORY_BYTES
    )


def _nothing_fits(spec: ClusterSpec, catalog: Catalog, locations: tuple[str, ...]) -> BadInput:
    where = " or ".join(spec.location) or f"network zone {DEFAULT_ZONE}"
    for names in ((spec.scheduler,) if spec.scheduler else (), spec.worker):
        sold = {
            name: [place for place in catalog.zones if find_type(name, catalog).offer(place, now_s=catalog.now_s)]
            for name in names
        }
        if sold and not any(set(places) & set(locations) for places in sold.values()):
            name, places = next(iter(sold.items()))
            return BadInput(
                f"Server type {name} is not sold in {where}; it is sold in: {', '.join(places) or 'nowhere any more'}."
            )
    return BadInput(
        f"No server types for scheduler and workers are sold together in {where}: name them with"
        " --scheduler-type and --worker-type, or another --location."
    )
