# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What clients hear of workers: full disks."""

from __future__ import annotations

import pytest

from scherbelberg.scheduler.client import disk_event


@pytest.mark.parametrize("worker", ["worker007", "worker007-3"])
def test_disk_event(worker: str) -> None:
    """A full disk is a failure of its node, and room again is its end."""
    words = {"name": worker, "full": True, "free": 2**29, "total": 40 * 2**30}
    event = disk_event(words)
    assert (event.node, event.phase, event.state) == ("worker007", "disk", "failed")
    assert event.detail == "the disk is full, 0.5 of 40.0 GiB are free; what memory has no room for cannot go there"
    event = disk_event(words | {"full": False, "free": 2**35})
    assert (event.node, event.state, event.detail) == (
        "worker007",
        "done",
        "the disk has room again, 32.0 of 40.0 GiB are free",
    )
