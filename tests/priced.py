# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster of two servers, and what they cost."""

from __future__ import annotations

from catalogues import identity, server, tariff

from scherbelberg.cloud.resources import PriceList

PRICES = PriceList(servers={("cx23", "fsn1"): tariff("0.0088")}, ipv4={"fsn1": tariff("0.0008")}, currency="EUR")


SCHEDULER = server("cluster-scheduler", identity().labels("scheduler") | {"node": "scheduler"}, 1)


WORKER = server("cluster-worker000", identity().labels("worker") | {"node": "worker000"}, 2)
