# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whatever breaks around a client while it makes a cluster, nothing that is rented is abandoned."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from campaign_surroundings import draw_trouble, go_through
from campaign_trials import Place, place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux'")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cloud of scripted hosts."""
    with place(tmp_path_factory.mktemp("around"), "scripted") as found:
        yield found
    assert found.counter.description.complaints == []


@pytest.mark.parametrize("seed", range(200))
def test_surroundings(cloud: Place, seed: int) -> None:
    """Nothing is left, or the exit code is 8 and the folder with the keys is kept."""
    trouble = draw_trouble(seed)
    broken, ended = go_through(cloud, trouble)
    assert broken == (), (trouble, ended, ended.text)
