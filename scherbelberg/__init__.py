# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dask clusters on Hetzner Cloud: one command rents, secures and starts one, one command gives it back.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scherbelberg.cluster import Cluster
    from scherbelberg.errors import ScherbelbergError
    from scherbelberg.events import Event, Phase
    from scherbelberg.lifecycle.share import import_cluster
    from scherbelberg.node import Node
    from scherbelberg.spec.model import ClusterSpec, Ports, Timeouts

_HOMES = {
    "Cluster": "cluster",
    "Node": "node",
    "ScherbelbergError": "errors",
    "Event": "events",
    "Phase": "events",
    "ClusterSpec": "spec",
    "Ports": "spec",
    "Timeouts": "spec",
    "import_cluster": "lifecycle.share",
}
__all__ = [
    "Cluster",
    "ClusterSpec",
    "Event",
    "Node",
    "Phase",
    "Ports",
    "ScherbelbergError",
    "Timeouts",
    "import_cluster",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - takes longer to load than all else here

        return version("scherbelberg")
    if name not in _HOMES:
        raise AttributeError(f"module 'scherbelberg' has no attribute '{name}'")
    return getattr(import_module(f"scherbelberg.{_HOMES[name]}"), name)
