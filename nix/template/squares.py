# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Sums a million squares on a cluster that 'scherbelberg create' made."""

from dask import bag

from scherbelberg.sync import Cluster

with Cluster.from_existing() as cluster, cluster.get_client() as client:
    print(client.dashboard_link)
    print(bag.range(1_000_000, npartitions=8).map(lambda n: n * n).sum().compute())
