# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""As many scripted hosts as there can be in a cluster."""

from __future__ import annotations

import pytest
from surroundings import held

from scherbelberg import sync
from scherbelberg.settings import Settings


@pytest.mark.hosts("scripted")
def test_largest_cluster(settings: Settings) -> None:
    """The largest cluster that there can be is made, proven, used and given back on one small computer."""
    cluster = sync.Cluster.from_new(prefix="play", workers=99, settings=settings)
    with cluster.get_client() as client:
        names = [node.name for node in cluster.nodes[1:]]
        futures = [client.submit(pow, 3, 2, workers=[name], pure=False) for name in names]
        assert client.gather(futures) == [9] * 99
    cluster.destroy()
    assert held(settings) == []
