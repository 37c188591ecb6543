# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated API without its HTTP server and its hosts: a request is a call, and time passes when a test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from attrs import frozen
from description import Witness
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from scherbelberg.concurrency.waiting import pause
from scherbelberg.sandbox.addresses import claim
from scherbelberg.sandbox.api.http import ApiGateway, all_routes
from scherbelberg.sandbox.api.rate_limit import Bucket
from scherbelberg.sandbox.api.routing import Context, Router
from scherbelberg.sandbox.cloud.actions import ActionRunner
from scherbelberg.sandbox.cloud.errors import ApiError
from scherbelberg.sandbox.cloud.model import Kind
from scherbelberg.sandbox.cloud.networking import Networking
from scherbelberg.sandbox.cloud.project import Project
from scherbelberg.sandbox.cloud.servers import Servers
from scherbelberg.sandbox.faults import NO_FAULTS, FaultInjector, Faults
from scherbelberg.sandbox.hosts.driver import HostPlan
from scherbelberg.sandbox.options import Delays

Json = dict[str, Any]
KINDS: tuple[Kind, ...] = ("ssh_keys", "networks", "firewalls", "servers", "placement_groups", "primary_ips", "images")
#: More pauses than any chain of actions makes.
ENOUGH = 20
#: More turns of the event loop than lie between two pauses.
_TURNS = 8


class NoHosts:
    """A driver that only keeps books about hosts, and fails where it is asked for one that is not there.

    Attributes:
        up: Number and address of each host that is on, or None while it is off.
        snapshots: Numbers of the snapshots.
    """

    def __init__(self) -> None:
        self.up: dict[int, tuple[str | None] | None] = {}
        self.snapshots: set[int] = set()
        self._powered: dict[int, tuple[str | None]] = {}

    async def prepare(self, plan: HostPlan) -> None:
        """Make a host."""
        assert plan.number not in self.up
        assert plan.snapshot is None or plan.snapshot in self.snapshots
        self.up[plan.number] = None

    async def power_on(self, number: int, address: str | None, address_ipv6: str | None = None) -> None:
        """Give a host power."""
        assert self.up[number] is None
        self._powered[number] = (address,)

    async def boot(self, number: int) -> None:
        """Boot a host."""
        assert self.up[number] is None
        self.up[number] = self._powered.pop(number)

    async def halt(self, number: int) -> None:
        """Switch a host off."""
        assert number in self.up
        self.up[number] = None
        self._powered.pop(number, None)

    async def remove(self, number: int) -> None:
        """Delete a host."""
        del self.up[number]

    async def save(self, number: int, snapshot: int) -> None:
        """Copy a host."""
        assert number in self.up
        self.snapshots.add(snapshot)

    async def forget(self, snapshot: int) -> None:
        """Forget a copy."""
        self.snapshots.discard(snapshot)

    async def close(self) -> None:
        """End nothing."""


@frozen
class Reply:
    """An answer, and whether the request changed anything."""

    status: int
    body: Json
    changed: bool

    @property
    def error(self) -> Json:
        """The error in it."""
        return dict(self.body["error"])


class PausedRunner(ActionRunner):
    """Work whose pauses end when a test says so."""

    def __init__(self, project: Project, faults: Callable[[], Faults]) -> None:
        super().__init__(project, time_scale=0.0, delays=Delays(), faults=faults)
        self.pauses: list[asyncio.Future[None]] = []

    async def pause(self, seconds: float) -> None:
        """Wait to be released."""
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pauses.append(release)
        await release


class World:
    """A project and its API, whose actions go on only in `tick`.

    Attributes:
        watched: Whether answers to GET are held against the API's description, which takes longer than all the rest.
    """

    watched = True

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._addresses = claim()
        self.project = Project()
        self.witness = Witness()
        self.faults: Faults = NO_FAULTS
        self._runner = runner = PausedRunner(self.project, lambda: self.faults)
        networking = Networking(runner, self._addresses)
        self.hosts = NoHosts()
        self._servers = Servers(runner, self.hosts, networking)
        context = Context(
            project=self.project,
            runner=runner,
            servers=self._servers,
            networking=networking,
            addresses=self._addresses,
            faults=lambda: self.faults,
        )
        injector = FaultInjector(NO_FAULTS)
        self._gateway = ApiGateway(
            Router(all_routes(context)),
            token="w",
            read_token="r",
            clock=self.project.clock,
            injector=lambda: injector,
            witness=self.witness,
        )

    def send(self, method: str, path: str, body: object = None, **params: str | Sequence[str]) -> Reply:
        """Send a request."""
        uri = "/v1" + path + ("?" + urlencode(params, doseq=True) if params else "")
        request = HTTPServerRequest(
            start_line=RequestStartLine(method, uri, "HTTP/1.1"),
            headers=HTTPHeaders({"Authorization": "Bearer w", "Host": "sandbox"}),
            body=b"" if body is None else json.dumps(body).encode(),
        )
        return self._loop.run_until_complete(self._answer(request))

    async def _answer(self, request: HTTPServerRequest) -> Reply:
        self._gateway.bucket = Bucket()
        reads = request.method == "GET"
        before = "" if reads else self.state()
        try:
            answer = self._gateway.answer(request)
            status, body = answer.status, answer.body
        except ApiError as refused:
            error = {"code": refused.code, "message": refused.message, "details": refused.details}
            status, body = refused.status, {"error": error}
        text = json.dumps(body or {})
        if self.watched or not reads:
            self.witness(request, status, body)
        return Reply(status, json.loads(text), not reads and self.state() != before)

    def state(self) -> str:
        """All that there is, as a text to compare."""
        project = self.project
        running = [action for action in project.actions.values() if action.status == "running"]
        own = [image for image in project.images.values() if image.kind != "system"]
        tables = [project.table(kind) for kind in KINDS if kind != "images"]
        return repr([len(project.actions), running, len(project.images), own, *tables])

    def tick(self, pauses: int = ENOUGH) -> None:
        """Let time pass: all that waits goes on to its next pause, as often as said."""
        self._loop.run_until_complete(self._turn())
        for _ in range(pauses):
            self.release(*range(len(self._runner.pauses)))

    def release(self, *picks: int) -> None:
        """Let some of what waits go on, in the order given, to its next pause."""
        waiting = self._runner.pauses
        chosen = [waiting[pick % len(waiting)] for pick in picks if waiting]
        for pause_ in dict.fromkeys(chosen):
            waiting.remove(pause_)
            if not pause_.done():
                pause_.set_result(None)
            self._loop.run_until_complete(self._turn())

    async def _turn(self) -> None:
        for _ in range(_TURNS):
            await pause(0)

    def every(self, kind: str) -> dict[int, Json]:
        """List all resources of a kind, page by page."""
        rows: list[Json] = []
        page: int | None = 1
        while page is not None:
            body = self.send("GET", f"/{kind}", page=str(page), per_page="50").body
            rows += body[kind]
            page = body["meta"]["pagination"]["next_page"]
        assert body["meta"]["pagination"]["total_entries"] == len(rows)
        return {row["id"]: row for row in rows}

    def close(self) -> None:
        """Drop all that is under way."""
        self._loop.run_until_complete(self._servers.close())
        self._loop.close()
        self._addresses.close()
