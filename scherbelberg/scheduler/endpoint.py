# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a cluster's scheduler is found on this computer, and who is not there; Dask itself is not needed to know."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from scherbelberg.environments.interpreter import PRELOAD


@frozen(kw_only=True)
class SchedulerEndpoint:
    """The near ends of the tunnels, and what opens them.

    Args:
        prefix: The cluster's name.
        port: Port on the loopback that leads to Dask's TLS port.
        dashboard_port: Port on the loopback that leads to the dashboard.
        authority: File with the cluster's CA certificate.
        certificate: File with the client's certificate.
        key: File with the client's key.
        shut: Set when the tunnels are closed on purpose, after which nobody need try them again.
    """

    prefix: str
    port: int
    dashboard_port: int
    authority: Path
    certificate: Path
    key: Path
    shut: threading.Event = field(factory=threading.Event, eq=False, repr=False)

    @property
    def address(self) -> str:
        """Dask's address of the scheduler."""
        return f"tls://127.0.0.1:{self.port}"

    @property
    def log_command(self) -> str:
        """The command line that shows the scheduler's log."""
        return f"scherbelberg logs -p {self.prefix} scheduler"

    @property
    def destroy_command(self) -> str:
        """The command line that gives all of the cluster back."""
        return f"scherbelberg destroy -p {self.prefix}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables by which Dask's ``Client()``, without arguments, finds the scheduler."""
        return {
            "DASK_SCHEDULER_ADDRESS": self.address,
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(self.authority),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(self.certificate),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(self.key),
            # Through a tunnel workers cannot be reached.
            "DASK_DISTRIBUTED__CLIENT__DIRECT_TO_WORKERS": "False",
            "DASK_DISTRIBUTED__CLIENT__PRELOAD": str(PRELOAD),
            # Dask fills in what stands in braces.
            "DASK_DISTRIBUTED__DASHBOARD__LINK": self.dashboard_link,
        }

    @property
    def python_lines(self) -> tuple[str, ...]:
        """The lines by which Python makes a client of Dask's."""
        security = (
            f"Security(require_encryption=True, tls_ca_file={str(self.authority)!r},"
            f" tls_client_cert={str(self.certificate)!r}, tls_client_key={str(self.key)!r})"
        )
        config = (
            f'{{"distributed.client.preload": {str(PRELOAD)!r}, "distributed.dashboard.link": "{self.dashboard_link}"}}'
        )
        return (
            "import dask",
            "from distributed import Client, Security",
            f"dask.config.set({config})",
            f'client = Client("{self.address}", security={security}, direct_to_workers=False)',
        )

    @property
    def dashboard_link(self) -> str:
        """The dashboard's URL."""
        return f"http://127.0.0.1:{self.dashboard_port}/status"


def difference(planned: Iterable[str], there: Iterable[str]) -> str:
    """Say which workers are missing, and which nobody has planned.

    Args:
        planned: Names of all that shall be there.
        there: Names of those that are.

    Returns:
        A few words, or nothing where all is well.
    """
    rows = {"missing": set(planned) - set(there), "unplanned": set(there) - set(planned)}
    return ", ".join(f"{word} {', '.join(sorted(names))}" for word, names in rows.items() if names)
