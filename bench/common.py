# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What several benchmarks need."""

from __future__ import annotations

from pathlib import Path

from scherbelberg.cloud.access import Access
from scherbelberg.sandbox.server import SandboxSettings
from scherbelberg.settings import Settings


def around(sandbox: SandboxSettings, home: Path) -> Settings:
    """Settings that lead to a sandbox."""
    return Settings(
        access=Access(endpoint=sandbox.endpoint, token=sandbox.token, token_source="the benchmark"),  # noqa: S106
        ssh_port=sandbox.ssh_port,
        network_range=sandbox.network_range,
        home=home,
        owner="bench",
    )
