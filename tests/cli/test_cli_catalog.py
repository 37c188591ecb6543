# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg catalog``: what can be rented, for people and for programs."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from catalogues import CATALOG, NOW_S, offer, server_type
from rich.console import Console
from shells import Shell

from scherbelberg.cli.documents import catalog_document
from scherbelberg.cli.tables import print_catalog
from scherbelberg.cloud.resources import Catalog


def _printed(catalog: Catalog, location: str | None, *, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_catalog(catalog_document(catalog, location), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_live(shell: Shell) -> None:
    """The cloud is asked, and what it says of types, prices, stock and locations is shown."""
    code, output, _ = shell("catalog", "--json")
    document = json.loads(output)
    types = {row["name"]: row for row in document["server_types"]}
    assert (code, document["schema"], document["currency"]) == (0, 1, "EUR")
    cx53 = types["cx53"]
    assert (cx53["cores"], cx53["memory_bytes"], cx53["disk_gb"]) == (16, 32 * 2**30, 320)
    assert (cx53["architecture"], cx53["dedicated"]) == ("x86", False)
    assert {row["location"]: row["available"] for row in cx53["offers"]} == {"fsn1": True, "hel1": True, "nbg1": False}
    assert Decimal(cx53["offers"][0]["hourly"]["net"]) == Decimal("0.0473")
    assert Decimal(cx53["offers"][0]["monthly"]["gross"]) == Decimal("29.49") * Decimal("1.19")
    assert "cx22" not in types
    assert [row["name"] for row in document["locations"]] == ["fsn1", "nbg1", "hel1", "ash", "hil", "sin"]
    assert Decimal(document["locations"][0]["ipv4"]["hourly"]["net"]) == Decimal("0.0008")


def test_one_location(shell: Shell) -> None:
    """With a location, only what is sold there is shown; an unknown one is an error that suggests another."""
    document = json.loads(shell("catalog", "ash", "--json")[1])
    assert {offer["location"] for row in document["server_types"] for offer in row["offers"]} == {"ash"}
    assert [row["name"] for row in document["locations"]] == ["ash"]
    assert "\ncx23" not in shell("catalog", "ash")[1]
    code, output, complaints = shell("catalog", "fsn")
    assert (code, output) == (2, "")
    assert "There is no location 'fsn'; did you mean 'fsn1'?" in complaints


def test_rows() -> None:
    """Places of one price share a row, the cheapest type comes first, and what is out of stock or ends is marked."""
    lines = _printed(CATALOG, None, width=120).splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows[2:10]] == ["cpx12", "cx23", "cax11", "cpx11", "cpx11", "cx33", "cx33", "cx52"]
    (cx23,) = (line for line in lines if line.startswith("cx23"))
    assert " ".join(cx23.split()) == "cx23 2 shared 4 40 x86 0.0088 0.0106 5.49 6.59 fsn1 nbg1 hel1"
    assert cx23.index("hel1") >= lines[0].index("not in") > cx23.index("nbg1")
    assert "nbg1 (until 2026-11-18)" in _printed(CATALOG, "nbg1", width=120)
    assert not [row for row in rows if row and row[0] == "cx22"]


@pytest.mark.parametrize("width", [80, 200])
def test_widths(width: int) -> None:
    """On a narrow terminal, too, no number is cut off."""
    many = server_type("ccx63", *(offer(name, "1.3678") for name in CATALOG.zones), cores=48, gb=192)
    catalog = Catalog(
        locations=CATALOG.locations,
        server_types=(many,),
        images=(),
        ipv4=CATALOG.ipv4,
        currency="EUR",
        now_s=NOW_S,
    )
    printed = _printed(catalog, None, width=width)
    for word in ("ccx63", "dedicated", "192", "1.3678", "1.6414", "853.51", "1024.21", *CATALOG.zones):
        assert word in printed
    assert "…" not in printed
