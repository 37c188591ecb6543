# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""``scherbelberg catalog --watch``: what changes in the catalogue is told while it is watched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from catalogues import CATALOG, CX23, CX33, offer
from drift import Drift, drifting
from surroundings import environment_for, settings_for

from scherbelberg.cli.documents import catalog_document
from scherbelberg.cli.list import catalog_changes
from scherbelberg.cloud.resources import Catalog
from scherbelberg.inventory.listing import watch_offers
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

WITHIN_S = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxThread, Drift]]:
    """An emulated cloud whose answers change."""
    with drifting(tmp_path_factory.mktemp("watching")) as found:
        yield found


@pytest.fixture
def around(world: tuple[SandboxThread, Drift], tmp_path: Path) -> Iterator[Settings]:
    """Settings that lead there."""
    world[1].forget()
    yield settings_for(world[0], tmp_path)
    world[1].forget()


def _sold_out(kind: str, row: Any) -> None:
    if kind == "server_types" and row["name"] == "cx23":
        for place in row["locations"]:
            place["available"] = False


def test_words() -> None:
    """Stock, prices, and what is sold from now on or no more, are told with their places, and nothing else."""

    def document(*kinds: Any) -> dict[str, Any]:
        return catalog_document(evolve(CATALOG, server_types=kinds), None)

    before = document(CX23, CX33)
    assert catalog_changes(before, before) == []
    offers = (offer("fsn1", "0.0100"), offer("nbg1", "0.0088", available=False), offer("hel1", "0.0088"))
    assert catalog_changes(before, document(evolve(CX23, offers=offers))) == [
        "cx23 in nbg1 is not in stock any more.",
        "cx23 in hel1 is in stock.",
        "cx23 in fsn1 costs 0.0120 EUR an hour gross now.",
        "cx33 in fsn1 is not sold any more.",
        "cx33 in nbg1 is not sold any more.",
        "cx33 in ash is not sold any more.",
    ]
    assert catalog_changes(document(CX33), before)[0] == (
        "cx23 in fsn1 is sold now, for 0.0106 EUR an hour gross, and is in stock."
    )


async def test_looks_again(world: tuple[SandboxThread, Drift], around: Settings) -> None:
    """The cloud is asked again and again, also when it does not answer for a while."""
    found: list[Catalog] = []
    lost: list[str] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def show(catalog: Catalog) -> None:
        found.append(catalog)
        world[1].change = _sold_out
        if len(found) == 3:
            loop.call_soon_threadsafe(enough.set)

    watching = asyncio.create_task(watch_offers(around, show, lost=lost.append, every_s=0.01))
    await asyncio.wait_for(enough.wait(), WITHIN_S)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert catalog_changes(catalog_document(found[0], "hel1"), catalog_document(found[1], "hel1")) == [
        "cx23 in hel1 is not in stock any more."
    ]
    assert lost == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("word", [None, "--json"])
def test_until_ctrl_c(around: Settings, word: str | None) -> None:
    """The catalogue is shown at once, for programs as a document on one line, and Ctrl-C is the good end."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "scherbelberg", "catalog", "fsn1", "--watch", *filter(None, [word])],
        env=environment_for(around),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while word is None and "Falkenstein" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0
    if word:
        assert json.loads(lines[0])["server_types"]
        assert rest == ""
    else:
        assert any(line.startswith("cx23") for line in lines)
