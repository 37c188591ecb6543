# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the tests share in which clients that nobody here wrote use the sandbox."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import hcloud
import pytest
from attrs import frozen
from hcloud.images.domain import Image
from hcloud.locations.domain import Location
from hcloud.networks.domain import NetworkSubnet
from hcloud.server_types.domain import ServerType
from sandbox_helpers import WITHIN_S, unique

UBUNTU, CX23, FSN1 = Image(name="ubuntu-24.04"), ServerType(name="cx23"), Location(name="fsn1")


@contextmanager
def official_client(endpoint: str, token: str) -> Iterator[hcloud.Client]:
    """Hetzner's own Python package.

    Args:
        endpoint: URL of the API.
        token: The project's.
    """
    client = hcloud.Client(token, api_endpoint=endpoint, poll_interval=0.005, timeout=WITHIN_S)
    yield client
    client._client._session.close()


def refusal(request: Callable[[], object]) -> hcloud.APIException:
    """The package's error when a request is refused.

    Args:
        request: It.
    """
    with pytest.raises(hcloud.APIException) as refused:
        request()
    return refused.value


def rent(hetzner: Any, **changes: Any) -> Any:
    """Rent a server, which waits to be started unless told otherwise."""
    wanted = {"name": unique("srv"), "server_type": CX23, "image": UBUNTU, "location": FSN1}
    made = hetzner.servers.create(**(wanted | {"start_after_create": False} | changes))
    finish(made.action, *made.next_actions)
    made.server.reload()
    return made.server


def finish(*actions: Any) -> None:
    """Wait until actions have ended well, as the package does it."""
    for action in actions:
        action.wait_until_finished()


def make_network(hetzner: Any, ip_range: str) -> Any:
    """A network with one subnet."""
    subnet = NetworkSubnet(type="cloud", ip_range=ip_range, network_zone="eu-central")
    return hetzner.networks.create(unique("net"), ip_range, subnets=[subnet])


@frozen(kw_only=True)
class Cli:
    """The hcloud command line in surroundings of its own.

    Args:
        path: Where it is.
        environment: All of its environment variables.
    """

    path: str
    environment: Mapping[str, str]

    def try_(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        line = [self.path, *words]
        return subprocess.run(
            line,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_S,
            check=False,
        )

    def __call__(self, *words: str) -> str:
        """Run it, which must work, for what it prints."""
        done = self.try_(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def rows(self, kind: str, columns: str, *words: str) -> list[list[str]]:
        """The rows of a list, by columns."""
        lines = self(kind, "list", "-o", "noheader", "-o", f"columns={columns}", *words).splitlines()
        return [line.split() for line in lines]

    def show(self, *words: str) -> Any:
        """What it describes, as JSON."""
        return json.loads(self(*words, "-o", "json"))

    def refused(self, *words: str) -> str:
        """Run it, which must not work, for what it complains of."""
        done = self.try_(*words)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr
