# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Finds by name what the live catalogue has, and an image; no name of any is written down here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import takewhile

from scherbelberg.cloud.resources import Catalog, Image, Location, ServerType
from scherbelberg.errors import BadInput

#: What the cloud calls those whose services have other names.
_OTHER_SYSTEMS = {"alma", "centos", "fedora", "opensuse", "rocky"}
_LTS = re.compile(r"(\d[02468])\.04\Z")


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
    raise _missing_error(f"location '{name}'", catalog, name, catalog.zones)


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
    raise _missing_error(f"server type '{name}'", catalog, name, [kind.name for kind in catalog.server_types])


def pick_image(name: str | None, architecture: str, catalog: Catalog) -> Image:
    """Pick the image for an architecture.

    Args:
        name: Image name, or the number of a snapshot, or None for the newest Ubuntu LTS.
        architecture: ``x86`` or ``arm``.
        catalog: What can be rented.

    Raises:
        BadInput: There is none for this architecture.
    """
    if found := find_image(name, architecture, catalog):
        return found
    if name is None:
        raise BadInput(f"The cloud offers no Ubuntu LTS image for {architecture}; name another with --image.")
    names = [image.name or str(image.id) for image in catalog.images if image.architecture == architecture]
    raise _missing_error(f"image '{name}'", catalog, name, names, where=f" for {architecture}")


def find_image(name: str | None, architecture: str, catalog: Catalog) -> Image | None:
    """Find what `pick_image` picks, or None."""
    wanted = (image for image in catalog.images if image.architecture == architecture and is_wanted(name, image))
    return max(wanted, key=lambda image: image.version or "", default=None)


def check_system(image: Image) -> None:
    """Refuse an image that is known to be of another family of systems than Ubuntu, on which nothing would start.

    Args:
        image: The image.

    Raises:
        BadInput: It is one.
    """
    if image.flavor in _OTHER_SYSTEMS:
        raise BadInput(
            f"Image {image.name or image.id} is {image.flavor}, and nodes need Ubuntu: name one of Ubuntu's."
        )


def is_wanted(name: str | None, image: Image) -> bool:
    """Whether an image does where one of a name is asked for, or any."""
    return _is_lts(image) if name is None else name in {image.name, str(image.id)}


def _is_lts(image: Image) -> bool:
    lts = image.version is not None and _LTS.match(image.version)
    return bool(lts) and image.flavor == "ubuntu" and image.kind == "system" and not image.deprecated


def _missing_error(what: str, catalog: Catalog, name: str, known: Iterable[str], *, where: str = "") -> BadInput:
    """The error for what there is not, or what the cloud lists in a way that is not understood."""
    if what in catalog.unread:
        return BadInput(
            f"The cloud lists {what} in a way that this scherbelberg does not understand: name another one, or use a"
            " newer scherbelberg."
        )
    return BadInput(f"There is no {what}{where}{_hint(name, known)}")


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
