# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors that are folders behind Python's own server, which answers by time what was asked for by content."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_channel import channels, client

from scherbelberg.environments.solver import solve_for


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


@pytest.fixture
def plain(fake_root: Path) -> Iterator[str]:
    """The address of a channel's folder behind http.server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(fake_root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(timeout=30)


async def test_asked_again(plain: str, tmp_path: Path) -> None:
    """What was solved once is solved again, though the server says of what is in the cache that it is not modified."""
    for _ in range(3):
        lock = await solve_for(client(), channels(plain, tmp_path / "cache"), platform="linux-64")
        assert lock.versions == client().versions
