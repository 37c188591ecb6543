# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a scheduler is found on this computer."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.scheduler.endpoint import SchedulerEndpoint, difference


def test_door() -> None:
    """Scheduler and dashboard are on this computer's loopback: the client never leaves it by itself."""
    door = SchedulerEndpoint(
        prefix="east",
        port=4001,
        dashboard_port=4002,
        authority=Path("ca.pem"),
        certificate=Path("c.pem"),
        key=Path("key.pem"),
    )
    assert door.log_command == "scherbelberg logs -p east scheduler"
    assert door.destroy_command == "scherbelberg destroy -p east"
    assert door.address == "tls://127.0.0.1:4001"
    assert door.dashboard_link == "http://127.0.0.1:4002/status"


def test_difference() -> None:
    """Of workers that are there and planned ones, only what is wrong is told."""
    assert difference(["b", "a"], []) == "missing a, b"
    assert difference(["a"], ["a", "c"]) == "unplanned c"
    assert difference(["a"], ["c"]) == "missing a, unplanned c"
    assert difference(["a"], ["a"]) == ""
