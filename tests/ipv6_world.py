# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A computer that reaches the public addresses of a sandbox's hosts by IPv6 alone: a network namespace.

Run as a program, it makes a cluster there, works with it, gives it back, and prints one JSON document.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from distributed import Client, Security
from surroundings import settings_for

from scherbelberg import sync
from scherbelberg.cloud.access import Access
from scherbelberg.cloud.public_address import has_route, resolve_ranges
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.spec.model import ClusterSpec
from scherbelberg.spec.urls import HETZNER
from scherbelberg.state.manifest import AUTHORITY, CLIENT, CLIENT_KEY
from scherbelberg.state.store import Store

#: The prefix of the addresses is this computer's, and no packet finds a way to the hosts' public IPv4 addresses.
_SETUP = """
ip link set lo up
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
ip -6 route add local 2001:db8::/32 dev lo
ip rule add pref 10 lookup local
ip rule del pref 0
for number in $(seq 128 191); do ip rule add pref 5 to 127.$number.1.0/24 unreachable; done
exec "$@"
"""


def inside(*command: str) -> list[str]:
    """The command line that runs another one in such a namespace."""
    return ["unshare", "--user", "--map-root-user", "--net", "sh", "-e", "-c", _SETUP, "sh", *command]


def is_possible() -> bool:
    """Whether this computer lets us make one."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "ip", "seq"))):
        return False
    return subprocess.run(inside("true"), check=False, capture_output=True, timeout=60).returncode == 0


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"2a01:4f8:1:2:3:4:5:6\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


class _EchoServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def _own_range() -> str:
    """What ``here`` means in this place."""
    real = Access(endpoint=HETZNER, token="t", token_source="the test")
    with _EchoServer(("::1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            return resolve_ranges(("here",), real, address_url=f"http://[::1]:{server.server_address[1]}")[0]
        finally:
            server.shutdown()
            thread.join()


def _used(home: Path) -> dict[str, Any]:
    """What a cluster's life shows."""
    with SandboxThread(home / "sandbox") as sandbox:
        settings = settings_for(sandbox, home / "kept")
        spec = ClusterSpec(prefix="six", workers=1, direct=("::/0",))
        cluster = sync.Cluster.from_new(spec, settings=settings)
        with cluster.get_client() as client:
            power = client.submit(pow, 3, 2).result(60)
        with Client(cluster.direct_address, security=_security(home), direct_to_workers=False, timeout=60) as direct:
            address, again = direct.scheduler.address, direct.submit(pow, 3, 3).result(60)
        nodes = [
            {
                "ipv4": node.public_ip,
                "ipv6": node.public_ipv6,
                "has_ipv4_route": has_route(str(node.public_ip)),
                "ping": node.ping_ssh() >= 0,
            }
            for node in cluster.nodes
        ]
        cluster.destroy()
    return {"power": power, "direct": address, "direct_power": again, "nodes": nodes}


def _security(home: Path) -> Security:
    """What lets a client of Dask's own in."""
    (folder,) = Store(home / "kept").folders(prefix="six")
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder.path / AUTHORITY),
        tls_client_cert=str(folder.path / CLIENT),
        tls_client_key=str(folder.path / CLIENT_KEY),
    )


def main() -> None:
    """Print what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({**_used(Path(folder)), "here": _own_range()}))


if __name__ == "__main__":
    main()
