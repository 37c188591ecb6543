# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a cluster's scheduler is found on this computer, as a value; Dask itself is not needed to know."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen(kw_only=True)
class Door:
    """The near ends of the tunnels, and what opens them.

    Args:
        port: Port on the loopback that leads to Dask's TLS port.
        dashboard_port: Port on the loopback that leads to the dashboard.
        authority: File with the cluster's CA certificate.
        certificate: File with the client's certificate.
        key: File with the client's key.
    """

    port: int
    dashboard_port: int
    authority: Path
    certificate: Path
    key: Path

    @property
    def address(self) -> str:
        """Dask's address of the scheduler."""
        return f"tls://127.0.0.1:{self.port}"

    @property
    def dashboard_link(self) -> str:
        """The dashboard's URL."""
        return f"http://127.0.0.1:{self.dashboard_port}/status"
