# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The campaign: whatever goes wrong, whenever, and however a create is interrupted, nothing is left unsaid."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campaign_draws import draw
from campaign_trials import Place, attempt, place


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cloud of scripted hosts."""
    with place(tmp_path_factory.mktemp("campaign"), "scripted") as cloud:
        yield cloud
    assert cloud.counter.description.complaints == []


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cloud of hosts with real shells."""
    with place(tmp_path_factory.mktemp("campaign"), "process") as cloud:
        yield cloud
    assert cloud.counter.description.complaints == []


@pytest.mark.parametrize("seed", range(60))
def test_on_scripted_hosts(scripted: Place, seed: int) -> None:
    """A create ends in time, says what happened, and leaves nothing, or what it said."""
    outcome = attempt(scripted, draw(seed))
    assert (outcome.broken, outcome.leaked) == ((), ()), outcome


@pytest.mark.parametrize("seed", range(6))
def test_on_process_hosts(process: Place, seed: int) -> None:
    """The same with real shells and real Dask."""
    outcome = attempt(process, draw(seed, hosts="process"))
    assert (outcome.broken, outcome.leaked) == ((), ()), outcome
