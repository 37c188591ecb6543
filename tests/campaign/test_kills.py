# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A create that is killed at every single request: it goes on where its keys are, and nothing of it stays anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from campaign_requests import Side
from campaign_trials import Place, killed, nuked, place, resumed

#: More requests than the smallest create sends.
FAR = 60
#: Tests that share the requests among them, to run side by side.
SHARES = 4


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cloud of scripted hosts."""
    with place(tmp_path_factory.mktemp("kills"), "scripted") as cloud:
        yield cloud
    assert cloud.counter.description.complaints == []


def at_each(where: Place, side: Side, share: int, check: Callable[[str], tuple[str, ...]]) -> None:
    """Kill creates at each request of a share, and see that nothing is broken afterwards."""
    for number in range(1 + share, FAR, SHARES):
        home = f"home-{side}-{number}"
        ended = killed(where, side, number, home=home)
        broken = check(home)
        where.sweep()
        shutil.rmtree(where.folder / home)
        assert broken == (), f"{side} request {number}: {ended}"
        if ended.code == 0:
            assert number > 15
            return
    raise AssertionError(f"a create sends more than {FAR} requests")


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("side", ["before", "after"])
def test_resumed(scripted: Place, side: Side, share: int) -> None:
    """Killed before or after the work of any request, a create goes on where its keys are."""
    at_each(scripted, side, share, lambda home: resumed(scripted, 1, home=home))


@pytest.mark.parametrize("share", range(SHARES))
def test_nuked(scripted: Place, share: int) -> None:
    """Killed after the work of any request, what there is of it is found and deleted from another computer."""
    at_each(scripted, "after", share, lambda home: nuked(scripted))
