# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Chooses server types, location and image from the live catalogue; no name of any is written down here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import takewhile

from attrs import frozen

from scherbelberg.catalog import Catalog, Image, Location, Offer, ServerType
from scherbelberg.errors import BadInput
from scherbelberg.pricing import Price
from scherbelberg.spec import ClusterSpec

#: Where nothing was asked for, only this network zone is looked at: others cost more and lie far away.
DEFAULT_ZONE = "eu-central"
#: The least that a node of a cluster needs to be of use.
LEAST_CORES = 2
LEAST_MEMORY_BYTES = 4 * 2**30
_LTS = re.compile(r"(\d[02468])\.04\Z")


@frozen(kw_only=True)
class Candidate:
    """A place where a cluster can be made.

    Args:
        location: The location's name.
        scheduler: Server type of the scheduler.
        worker: Server type of the workers.
        available: Whether the cloud says that it has both in stock.
        hourly: Price per hour of one scheduler and one worker without addresses, for the order.
    """

    location: str
    scheduler: ServerType
    worker: ServerType
    available: bool
    hourly: Price


def candidates(spec: ClusterSpec, catalog: Catalog) -> tuple[Candidate, ...]:
    """List the places where a cluster can be made, the best first.

    Those the cloud says are in stock come first, then the cheapest, then by name.

    Args:
        spec: What the user wants.
        catalog: What can be rented.

    Returns:
        At least one candidate.

    Raises:
        BadInput: Type or location unknown, or nothing fits.
    """
    locations = _locations(spec, catalog)
    architectures = _architectures(spec, catalog)
    found = []
    for location in locations:
        scheduler = _pick_type(spec.scheduler, location, catalog, architectures)
        worker = _pick_type(spec.worker, location, catalog, architectures)
        if scheduler and worker:
            found.append(_candidate(location, scheduler, worker))
    if not found:
        raise _nothing_fits(spec, catalog, locations)
    return tuple(sorted(found, key=lambda one: (not one.available, one.hourly.net, one.location)))


def _candidate(location: str, scheduler: tuple[ServerType, Offer], worker: tuple[ServerType, Offer]) -> Candidate:
    return Candidate(
        location=location,
        scheduler=scheduler[0],
        worker=worker[0],
        available=scheduler[1].available and worker[1].available,
        hourly=scheduler[1].hourly + worker[1].hourly,
    )


def _locations(spec: ClusterSpec, catalog: Catalog) -> tuple[str, ...]:
    if spec.location is None:
        return tuple(name for name, zone in catalog.zones.items() if zone == DEFAULT_ZONE)
    return (find_location(spec.location, catalog).name,)


def find_location(name: str, catalog: Catalog) -> Location:
    """Find a location by name.

    Args:
        name: Such as ``fsn1``.
        catalog: What can be rented.

    Raises:
        BadInput: There is none of this name; the nearest one is suggested.
    """
    for location in catalog.locations:
        if location.name == name:
            return location
    raise BadInput(f"There is no location '{name}'{_hint(name, catalog.zones)}")


def _architectures(spec: ClusterSpec, catalog: Catalog) -> set[str]:
    """What a type that nobody named may be: as the type that was named, and as there are images."""
    named = {find_type(name, catalog).architecture for name in (spec.scheduler, spec.worker) if name is not None}
    if named:
        return named
    fitting = {image.architecture for image in catalog.images if _is_wanted(spec.image, image)}
    return fitting or {kind.architecture for kind in catalog.server_types}


def _pick_type(
    name: str | None, location: str, catalog: Catalog, architectures: set[str]
) -> tuple[ServerType, Offer] | None:
    if name is not None:
        server_type = find_type(name, catalog)
        offer = server_type.offer(location, now_s=catalog.now_s)
        return (server_type, offer) if offer else None
    fitting = [
        (kind, offer)
        for kind in catalog.server_types
        if kind.architecture in architectures
        and kind.cores >= LEAST_CORES
        and kind.memory_bytes >= LEAST_MEMORY_BYTES
        and (offer := kind.offer(location, now_s=catalog.now_s))
    ]
    return min(fitting, key=lambda pair: (not pair[1].available, pair[1].hourly.net, pair[0].name), default=None)


def find_type(name: str, catalog: Catalog) -> ServerType:
    """Find a server type by name.

    Args:
        name: Such as ``cx23``.
        catalog: What can be rented.

    Raises:
        BadInput: There is none of this name; the nearest one is suggested.
    """
    for kind in catalog.server_types:
        if kind.name == name:
            return kind
    raise BadInput(f"There is no server type '{name}'{_hint(name, [kind.name for kind in catalog.server_types])}")


def _nothing_fits(spec: ClusterSpec, catalog: Catalog, locations: tuple[str, ...]) -> BadInput:
    where = spec.location or f"network zone {DEFAULT_ZONE}"
    for name in (spec.scheduler, spec.worker):
        if name is None:
            continue
        sold = [place for place in catalog.zones if find_type(name, catalog).offer(place, now_s=catalog.now_s)]
        if not set(sold) & set(locations):
            places = ", ".join(sold) if sold else "nowhere any more"
            return BadInput(f"Server type {name} is not sold in {where}; it is sold in: {places}.")
    return BadInput(
        f"No server types for scheduler and workers are sold together in {where}: name them with"
        " --scheduler and --worker, or another --location."
    )


def pick_image(name: str | None, architecture: str, catalog: Catalog) -> Image:
    """Pick the image for an architecture.

    Args:
        name: Image name, or the number of a snapshot, or None for the newest Ubuntu LTS.
        architecture: ``x86`` or ``arm``.
        catalog: What can be rented.

    Raises:
        BadInput: There is none for this architecture.
    """
    fitting = [image for image in catalog.images if image.architecture == architecture]
    wanted = [image for image in fitting if _is_wanted(name, image)]
    if wanted:
        return max(wanted, key=lambda image: image.version or "")
    if name is None:
        raise BadInput(f"The cloud offers no Ubuntu LTS image for {architecture}; name another with --image.")
    names = [image.name or str(image.id) for image in fitting]
    raise BadInput(f"There is no image '{name}' for {architecture}{_hint(name, names)}")


def _is_wanted(name: str | None, image: Image) -> bool:
    return _is_lts(image) if name is None else name in {image.name, str(image.id)}


def _is_lts(image: Image) -> bool:
    lts = image.version is not None and _LTS.match(image.version)
    return bool(lts) and image.flavor == "ubuntu" and image.kind == "system" and not image.deprecated


def _hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says that a name is unknown."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    if not near:
        return f"; there are: {', '.join(names)}."
    # People mistype ends: of cx33 and cpx32, the first is what cx32 means.
    best = max(
        near, key=lambda one: len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, name, strict=False))))
    )
    return f"; did you mean '{best}'?"
