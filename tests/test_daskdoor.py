# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a scheduler is found on this computer."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.daskdoor import Door


def test_door() -> None:
    """Scheduler and dashboard are on this computer's loopback: the client never leaves it by itself."""
    door = Door(
        port=4001, dashboard_port=4002, authority=Path("ca.pem"), certificate=Path("c.pem"), key=Path("key.pem")
    )
    assert door.address == "tls://127.0.0.1:4001"
    assert door.dashboard_link == "http://127.0.0.1:4002/status"
