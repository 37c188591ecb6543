# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the sandbox share: a plain HTTP client, orders, and machines to log into."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import requests
from attrs import frozen

from scherbelberg.concurrency.waiting import until
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.server import SandboxSettings, sandbox_id

Json = dict[str, Any]
WITHIN_S = 20.0
_numbers = itertools.count(1)


@frozen
class Reply:
    """An answer of the API."""

    status: int
    body: Json
    headers: Mapping[str, str]

    @property
    def error(self) -> Json:
        """The error in it."""
        return dict(self.body["error"])


class Api:
    """Requests without a client library."""

    def __init__(self, settings: SandboxSettings, token: str | None = None) -> None:
        self.settings = settings
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {settings.token if token is None else token}"

    def __call__(self, method: str, path: str, body: Any = None, **params: str | Sequence[str]) -> Reply:
        """Send a request."""
        url = self.settings.endpoint + path
        answer = self._session.request(method, url, json=body, params=params, timeout=WITHIN_S)
        return Reply(answer.status_code, answer.json() if answer.content else {}, answer.headers)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def done(self, *actions: Json) -> None:
        """Wait until actions have ended well."""
        ids = [str(action["id"]) for action in actions]
        Waiter().wait(lambda: self._all_done(ids), what="the end of actions")

    def _all_done(self, ids: list[str]) -> bool:
        rows = self("GET", "/actions", id=ids).body["actions"]
        assert not [row for row in rows if row["status"] == "error"], rows
        return len(rows) == len(ids) and all(row["status"] == "success" for row in rows)


class Waiter:
    """Waits in tests that have no event loop."""

    def wait(self, condition: Any, *, what: str, within_s: float = WITHIN_S) -> None:
        """Wait until a condition holds."""
        import asyncio

        async def probe() -> bool | None:
            return condition() or None

        asyncio.run(until(probe, every_s=0.01, within_s=within_s, what=what))


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}-{next(_numbers)}"


def new_key() -> asyncssh.SSHKey:
    """A key pair."""
    return asyncssh.generate_private_key("ssh-ed25519")


def public(key: asyncssh.SSHKey) -> str:
    """The public half of a key."""
    return key.export_public_key().decode().strip()


def order(**changes: object) -> Json:
    """The body of a good order, with changes; None takes a field out."""
    body: Json = {"name": unique("server"), "server_type": "cx23", "image": "ubuntu-24.04", "location": "fsn1"}
    body |= changes
    return {name: value for name, value in body.items() if value is not None}


def cloud_config(**keys: object) -> str:
    """A cloud-config."""
    return "#cloud-config\n" + json.dumps(keys)


@frozen(kw_only=True)
class Machine:
    """A host that answers."""

    api: Api
    row: Json
    key: asyncssh.SSHKey
    host_key: asyncssh.SSHKey
    root: Path

    @property
    def ip(self) -> str:
        """Its public address."""
        return str(self.row["public_net"]["ipv4"]["ip"])

    @property
    def port(self) -> int:
        """Where it takes SSH."""
        return self.api.settings.ssh_port

    def connect(self, **options: Any) -> Any:
        """Log in, accepting the host's own key alone."""
        defaults: dict[str, Any] = {
            "username": "root",
            "client_keys": [self.key],
            "known_hosts": ([self.host_key.convert_to_public()], [], []),
            "config": None,
            "agent_path": None,
            "connect_timeout": WITHIN_S,
        }
        return asyncssh.connect(self.ip, self.port, **(defaults | options))

    def remove(self) -> None:
        """Give it back."""
        self.api.done(self.api("DELETE", f"/servers/{self.row['id']}").body["action"])


def rent(api: Api, folder: Path, **changes: object) -> Machine:
    """Order a machine and wait until it answers."""
    key, host_key = new_key(), new_key()
    registered = api("POST", "/ssh_keys", {"name": unique("key"), "public_key": public(key)}).body["ssh_key"]
    planted = {
        "ed25519_private": host_key.export_private_key().decode(),
        "ed25519_public": public(host_key),
    }
    user_data = cloud_config(ssh_pwauth=False, ssh_deletekeys=True, ssh_keys=planted)
    body = order(ssh_keys=[registered["id"]], **({"user_data": user_data} | changes))
    answer = api("POST", "/servers", body)
    assert answer.status == 201, answer.body
    api.done(answer.body["action"], *answer.body["next_actions"])
    number = answer.body["server"]["id"]
    row = api("GET", f"/servers/{number}").body["server"]
    machine = Machine(api=api, row=row, key=key, host_key=host_key, root=folder / "hosts" / str(number))
    wait_for_ssh(machine)
    return machine


def wait_for_ssh(machine: Machine) -> None:
    """Wait until a machine's SSH server answers a login: connections that end before one count against us."""

    async def logs_in() -> bool | None:
        try:
            async with machine.connect():
                return True
        except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied):
            return True
        except (OSError, asyncssh.Error):
            return None

    asyncio.run(until(logs_in, every_s=0.05, within_s=WITHIN_S, what="SSH"))


async def run(machine: Machine, command: str, **options: object) -> asyncssh.SSHCompletedProcess:
    """Run one command over a connection of its own."""
    async with machine.connect() as connection:
        return await asyncio.wait_for(connection.run(command, **options), WITHIN_S)


def commands(machine: Machine) -> list[str]:
    """Names of all programs that run on a machine."""
    names = []
    for process in marked(f"{sandbox_id(machine.root.parents[1])}.{machine.row['id']}"):
        try:
            names.append(process.name())
        except psutil.Error:
            continue
    return names


async def running(machine: Machine, name: str) -> bool | None:
    """Probe for a program on a machine."""
    return True if name in commands(machine) else None


def make_network(api: Api, *, zone: str = "eu-central") -> Json:
    """A network over the whole range of the sandbox."""
    ip_range = api.settings.network_range
    body = {
        "name": unique("network"),
        "ip_range": ip_range,
        "subnets": [{"type": "cloud", "ip_range": ip_range, "network_zone": zone}],
    }
    return dict(api("POST", "/networks", body).body["network"])


def make_firewall(api: Api) -> Json:
    """A firewall that lets SSH in."""
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}
    return dict(api("POST", "/firewalls", {"name": unique("firewall"), "rules": [rule]}).body["firewall"])
