# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Inside a real Jupyter kernel, whose event loop runs while cells block it."""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from surroundings import environment_for, held

from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

WITHIN_S = 60

WAITING_FACE = """
import requests
from dask import bag
from scherbelberg import Cluster
cluster = await Cluster.from_new(prefix="note", workers=1)
client = await cluster.get_client()
print("sum", bag.range(10, npartitions=2).sum().compute())
print("page", requests.get(client.dashboard_link.replace("/status", "/health"), timeout=20).text)
"""
SYNC_FACE = """
from scherbelberg.sync import Cluster
with Cluster.from_existing("note") as again, again.get_client() as other:
    print("sync", other.submit(sum, [1, 2, 3]).result(timeout=20))
"""
END = """
client.close()
await cluster.destroy()
print("gone")
"""


@pytest.fixture
def kernel(settings: Settings) -> Iterator[BlockingKernelClient]:
    """A running kernel."""
    manager = KernelManager()
    manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(env=environment_for(settings))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=WITHIN_S)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(kernel: BlockingKernelClient, cell: str) -> str:
    """Run a cell and return what it printed."""
    lines: list[str] = []

    def collect(message: dict[str, dict[str, str]]) -> None:
        content = message["content"]
        if content.get("name") == "stdout":
            lines.append(content["text"])

    try:
        reply = kernel.execute_interactive(cell, timeout=WITHIN_S, output_hook=collect)
    except (TimeoutError, queue.Empty):
        pytest.fail(f"the cell did not end: {cell}")
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
    return "".join(lines)


def test_cells_that_block(kernel: BlockingKernelClient, settings: Settings) -> None:
    """A cell awaits a cluster, then blocks for a result and the dashboard; the sync face works as well."""
    said = printed(kernel, WAITING_FACE)
    assert "sum 45" in said
    assert "page ok" in said
    assert "sync 6" in printed(kernel, SYNC_FACE)
    assert "gone" in printed(kernel, END)
    assert held(settings) == []
