# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What several tests need around a cluster: settings, environment variables, the sandbox's own view."""

from __future__ import annotations

import os
from pathlib import Path

import requests

from scherbelberg.cloud.access import Access
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings
from scherbelberg.spec.model import Timeouts

#: Deadlines of a few seconds, for tests in which something does not come.
SHORT = Timeouts(request=5, cloud=5, rent=20, reach=8, bootstrap=60, node_wait=20, join=30, delete=30)
KINDS = ("servers", "networks", "firewalls", "ssh_keys")


#: Another Python with Dask, for nodes in tests that want one; `.ci/run` names one with a newer OpenSSL.
NODE_PYTHON = os.environ.get("SCHERBELBERG_TEST_NODE_PYTHON")


def settings_for(sandbox: SandboxThread, home: Path, *, owner: str = "anna_at_laptop") -> Settings:
    """Settings that lead to a sandbox."""
    inner = sandbox.settings
    return Settings(
        access=Access(endpoint=inner.endpoint, token=inner.token, token_source="the test"),
        ssh_port=inner.ssh_port,
        network_range=inner.network_range,
        home=home,
        owner=owner,
    )


def environment_for(settings: Settings) -> dict[str, str]:
    """Environment variables that lead the command line to the same place, and to nothing of the user's own."""
    foreign = ("HCLOUD", "HETZNER", "SCHERBEL", "VIRTUAL_ENV", "CONDA_PREFIX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "HOME": str(settings.home),
        "HCLOUD_TOKEN": settings.access.token,
        "HCLOUD_ENDPOINT": settings.access.endpoint,
        "SCHERBELBERG_SSH_PORT": str(settings.ssh_port),
        "SCHERBELBERG_NETWORK": settings.network_range,
        "SCHERBELBERG_HOME": str(settings.home),
    }


def held(settings: Settings) -> list[str]:
    """Ask the cloud, without any code of ours, what it holds: kind and name of each resource."""
    found, headers = [], {"Authorization": f"Bearer {settings.access.token}"}
    for kind in KINDS:
        page: int | None = 1
        while page is not None:  # other tests may have left more than a page of them
            address = f"{settings.access.endpoint}/{kind}?page={page}&per_page=50"
            answer = requests.get(address, headers=headers, timeout=10)
            answer.raise_for_status()
            found += [f"{kind}/{row['name']}" for row in answer.json()[kind]]
            page = answer.json()["meta"]["pagination"]["next_page"]
    return found


def folders(settings: Settings) -> list[str]:
    """Names of the clusters' folders on this computer."""
    clusters = settings.home / "clusters"
    return sorted(path.name for path in clusters.iterdir()) if clusters.exists() else []
