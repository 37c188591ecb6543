# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A catalogue that has changed: a row that is not understood is left out, and what remains is rented."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drift import ABSENT, NONSENSE, Drift, drifting, with_nonsense
from surroundings import settings_for

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.offers import read_catalog
from scherbelberg.cloud.resources import Catalog
from scherbelberg.errors import BadInput, CloudError, ScherbelbergError
from scherbelberg.planning.candidates import candidates
from scherbelberg.planning.lookup import find_location, find_type, pick_image
from scherbelberg.sandbox.cloud.catalog import make_catalog
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.spec.model import ClusterSpec

Json = dict[str, Any]
NOW_S = 1_795_000_000.0
_IMAGE: Json = {
    "id": 1,
    "type": "system",
    "status": "available",
    "name": "ubuntu-24.04",
    "os_flavor": "ubuntu",
    "os_version": "24.04",
    "architecture": "x86",
    "disk_size": 5,
    "deprecation": None,
}
#: What is read of a type, of a place where it is sold, of its price there, of an image and of a location.
_TYPE = ("name", "cores", "memory", "disk", "architecture", "cpu_type", "prices", "locations")
_FIELDS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "server_types": (
        *((name,) for name in _TYPE),
        *(("locations", 0, name) for name in ("name", "available", "deprecation")),
        *(("prices", 0, name) for name in ("location", "price_hourly", "price_monthly")),
        *(("prices", 0, "price_hourly", name) for name in ("net", "gross")),
    ),
    "images": tuple((name,) for name in _IMAGE if name != "status"),
    "locations": tuple((name,) for name in ("name", "city", "country", "network_zone")),
    "primary_ips": (("type",), ("prices",), ("prices", 0, "location"), ("prices", 0, "price_hourly")),
}


def _answers() -> dict[str, Any]:
    """What the cloud lists, as it should be."""
    known = make_catalog()
    return {
        "server_types": [copy.deepcopy(kind.row) for kind in known.server_types if not kind.retired],
        "images": [copy.deepcopy(_IMAGE), {**_IMAGE, "id": 2, "architecture": "arm"}],
        "locations": [copy.deepcopy(place.row) for place in known.locations],
        "pricing": copy.deepcopy(known.pricing),
    }


def _read(answers: Json) -> Catalog:
    return read_catalog(**answers, now_s=NOW_S)


def _rows(answers: Json, kind: str) -> list[Any]:
    rows: list[Any] = answers["pricing"][kind] if kind == "primary_ips" else answers[kind]
    return rows


def _broken(row: Json, path: tuple[Any, ...], value: Any) -> Json:
    """The row with a field that makes no sense."""
    row = copy.deepcopy(row)
    inner: Any = row
    for name in path[:-1]:
        inner = inner[name]
    with_nonsense(inner, path[-1], value=value)
    return row


@pytest.mark.parametrize("kind", _FIELDS)
def test_every_field(kind: str) -> None:
    """Whatever any field of a row is, the catalogue is read without exception, and a cluster can be planned of it."""
    for path in _FIELDS[kind]:
        for value in (*NONSENSE, "NaN", "-1", float("nan"), float("inf"), 10**400):
            answers = _answers()
            rows = _rows(answers, kind)
            rows.insert(0, _broken(rows[0], path, value))
            found = _read(answers)
            assert candidates(ClusterSpec(), found).worker, (path, value)


@pytest.mark.parametrize("kind", ["server_types", "images", "locations", "primary_ips"])
@pytest.mark.parametrize("row", [None, 7, "x", [], {}])
def test_no_rows_at_all(kind: str, row: Any) -> None:
    """What is not even a row is left out."""
    answers = _answers()
    expected = _read(answers)
    _rows(answers, kind).insert(0, row)
    found = _read(answers)
    assert (found.server_types, found.images, found.locations) == (
        expected.server_types,
        expected.images,
        expected.locations,
    )


_STRANGE: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("architecture",), "riscv"),
    (("architecture",), None),
    (("cpu_type",), "burstable"),
    (("cores",), None),
    (("cores",), True),
    (("memory",), None),
    (("memory",), "lots"),
    (("memory",), -4),
    (("disk",), None),
    (("prices",), None),
    (("prices",), []),
    (("prices", 0, "price_hourly"), None),
    (("prices", 0, "price_monthly"), ABSENT),
    (("prices", 0, "price_hourly", "net"), "-0.5"),
    (("prices", 0, "price_hourly", "gross"), None),
    (("locations", 0, "available"), "soon"),
    (("locations", 0, "deprecation"), "yesterday"),
    (("locations", 0, "deprecation"), {"unavailable_after": None}),
)


@pytest.mark.parametrize(("path", "value"), _STRANGE)
def test_strange_cheap_type(path: tuple[Any, ...], value: Any) -> None:
    """The cheapest type of all is not taken, and ends nothing, if there is anything in it that is not understood."""
    answers = _answers()
    cheap = copy.deepcopy(next(row for row in answers["server_types"] if row["name"] == "cx23"))
    cheap["name"], cheap["prices"], cheap["locations"] = "new1", cheap["prices"][:1], cheap["locations"][:1]
    cheap["prices"][0]["price_hourly"] = {"net": "0.0001", "gross": "0.0001"}
    answers["server_types"].insert(0, cheap)
    assert candidates(ClusterSpec(), _read(answers)).worker[0].server_type.name == "new1"  # as it would be otherwise
    answers["server_types"][0] = _broken(cheap, path, value)
    found = _read(answers)
    best = candidates(ClusterSpec(), found)
    assert (best.scheduler[0].server_type.name, best.worker[0].server_type.name) == ("cx23", "cx23")
    with pytest.raises(BadInput, match="server type 'new1' in a way that this scherbelberg does not understand"):
        find_type("new1", found)


def test_other_places_remain() -> None:
    """A type whose price in one place is not understood is sold in the others."""
    answers = _answers()
    (row,) = (row for row in answers["server_types"] if row["name"] == "cx23")
    lost = row["prices"][0]["location"]
    row["prices"][0]["price_hourly"] = None
    kind = find_type("cx23", _read(answers))
    assert {one.location for one in kind.offers} == {price["location"] for price in row["prices"]} - {lost}


def test_named_location_and_image() -> None:
    """Who names what is not understood is told that, and not that there is none."""
    answers = _answers()
    answers["locations"][0]["network_zone"] = None
    answers["images"].append({**_IMAGE, "id": 9, "name": "ubuntu-30.04", "architecture": "riscv"})
    found = _read(answers)
    with pytest.raises(BadInput, match=f"location '{answers['locations'][0]['name']}' in a way"):
        find_location(answers["locations"][0]["name"], found)
    for name in ("ubuntu-30.04", "9"):
        with pytest.raises(BadInput, match=f"image '{name}' in a way"):
            pick_image(name, "x86", found)


@pytest.mark.parametrize("kind", ["server_types", "images", "locations"])
def test_nothing_remains(kind: str) -> None:
    """Where no row of a kind is understood, one sentence says so, and what to do."""
    answers = _answers()
    answers[kind] = [{"name": f"new{number}"} for number in range(3)]
    with pytest.raises(CloudError, match=rf"None of the 3 {kind.replace('_', ' ')} that the cloud lists") as caught:
        _read(answers)
    assert caught.value.message.count(".") == 1


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, {"currency": None, "primary_ips": []}])
def test_prices_that_are_none(value: Any) -> None:
    """Prices without a currency are one sentence."""
    with pytest.raises(CloudError, match="in which currency"):
        _read({**_answers(), "pricing": value})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """An emulated cloud whose answers change."""
    with drifting(tmp_path_factory.mktemp("offers")) as found:
        yield found


async def test_lists_over_the_wire(world: tuple[SandboxThread, Drift], tmp_path: Path) -> None:
    """The same holds of what comes over HTTP: a row in any list is left out, and the catalogue is there."""

    def riscv(kind: str, row: Any) -> None:
        if kind in {"server_types", "images"} and row.get("name") in {"cx23", "ubuntu-24.04"}:
            row["architecture"] = "riscv"

    world[1].forget()
    hetzner = Hetzner(settings_for(world[0], tmp_path).access, request_s=5, patience_s=5)
    try:
        world[1].change = riscv
        found = await hetzner.catalog()
        assert "cx23" not in {kind.name for kind in found.server_types}
        assert "cx33" in {kind.name for kind in found.server_types}
        world[1].change = lambda kind, row: row.clear() if kind == "server_types" else None
        with pytest.raises(ScherbelbergError, match="server types that the cloud lists"):
            await hetzner.catalog()
    finally:
        hetzner.close()
        world[1].forget()
