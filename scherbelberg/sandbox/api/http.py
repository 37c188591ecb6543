# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The API over HTTP: all its routes, tokens, rate limit and faults."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Callable, Iterable
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from scherbelberg.concurrency.waiting import pause
from scherbelberg.errors import BadInput
from scherbelberg.sandbox.api import (
    catalog,
    firewalls,
    images,
    networks,
    placement_groups,
    primary_ips,
    server_actions,
    servers,
    ssh_keys,
    unsupported,
)
from scherbelberg.sandbox.api.listing import Query
from scherbelberg.sandbox.api.rate_limit import Bucket
from scherbelberg.sandbox.api.routing import Answer, Context, Request, Route, Router
from scherbelberg.sandbox.cloud.clock import Clock
from scherbelberg.sandbox.cloud.errors import ApiError
from scherbelberg.sandbox.faults import FaultInjector, Faults, RequestFault
from scherbelberg.sandbox.options import read_ahead, read_faults, write_ahead, write_json

_log = logging.getLogger(__name__)
_PREFIX = "/v1"
#: Is given a request, and status and body of its answer.
Witness = Callable[[HTTPServerRequest, int, Any], None]
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
#: Modules, each with the routes of a kind of resource.
_KINDS = (
    catalog,
    images,
    ssh_keys,
    networks,
    firewalls,
    placement_groups,
    primary_ips,
    servers,
    server_actions,
    unsupported,
)


class ApiGateway:
    """What every request passes: token, rate limit, routes.

    Args:
        router: The API.
        token: The project's.
        read_token: Another one of it, which may only read.
        clock: The cloud's.
        injector: Returns the faults in force.
        witness: Sees every request that was understood and its answer.
    """

    def __init__(
        self,
        router: Router,
        *,
        token: str,
        read_token: str,
        clock: Clock,
        injector: Callable[[], FaultInjector],
        witness: Witness,
    ) -> None:
        self.requests: list[tuple[str, str]] = []
        self.bucket = Bucket()
        self.clock = clock
        self.injector = injector
        self.witness = witness
        self._router = router
        self._tokens = {token: True, read_token: False}

    def answer(self, request: HTTPServerRequest) -> Answer:
        """Do what a request asks for.

        Raises:
            ApiError: It is not done.
        """
        may_write = self.authenticate(request.headers.get("Authorization", ""))
        if not self.bucket.take():
            raise ApiError(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached")
        if request.method != "GET" and not may_write:
            raise ApiError(403, "token_readonly", "the token is only allowed to perform GET requests")
        act = self._router.find(str(request.method), path_of(request))
        query = Query(words=parse_qs(request.query, keep_blank_values=True))
        return act(Request(query=query, body=_read_body(request)))

    def authenticate(self, header: str) -> bool:
        """Check a request's token.

        Args:
            header: What it says of its authorization.

        Returns:
            Whether it may write.

        Raises:
            ApiError: There is none, or another.
        """
        scheme, _, token = header.partition(" ")
        for known, may_write in self._tokens.items():
            # Compared as bytes and in constant time: a header may hold anything.
            same = hmac.compare_digest(token.strip().encode(errors="replace"), known.encode())
            if same and scheme.lower() == "bearer":
                return may_write
        raise ApiError(401, "unauthorized", "unable to authenticate")


def path_of(request: HTTPServerRequest) -> str:
    """A request's path below the version's."""
    return request.path.removeprefix(_PREFIX) if request.path.startswith(_PREFIX + "/") else ""


def _read_body(request: HTTPServerRequest) -> object:
    if not request.body:
        return {} if request.method in ("POST", "PUT") else None
    try:
        return json.loads(request.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "json_error", "invalid JSON in request body") from None


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


class _Handler(RequestHandler):
    """Takes one request from tornado."""

    # tornado's own checks of arguments would raise before we can answer as Hetzner does
    SUPPORTED_METHODS = _METHODS

    def initialize(self, gateway: ApiGateway) -> None:
        """Take what `make_application` passes."""
        self._gateway = gateway

    async def _handle(self) -> None:
        gateway = self._gateway
        if self.request.path.startswith(_PREFIX):
            gateway.requests.append((str(self.request.method), self.request.path))
        fault = gateway.injector().next(str(self.request.method), path_of(self.request))
        slow_s = fault.slow_s if fault and fault.how == "slow" else 0.0
        await pause(gateway.injector().faults.slow_s + slow_s)
        if fault and fault.how == "drop_before":
            self._hang_up()
            return
        answer = _show_error(_told_to_fail(fault)) if fault and fault.how == "error" else self._work()
        if fault and fault.how == "drop_after":
            self._hang_up()
            return
        self._send(answer)
        if fault and fault.how == "trickle":
            await self._trickle(fault.slow_s)

    get = post = put = delete = patch = head = options = _handle

    def _work(self) -> Answer:
        try:
            answer = self._gateway.answer(self.request)
        except ApiError as error:
            answer = _show_error(error)
        except Exception:  # noqa: BLE001 - as at Hetzner: our fault is an answer, too
            _log.exception("%s %s failed", self.request.method, self.request.path)
            return _show_error(ApiError(500, "server_error", "the sandbox failed, see its log"))
        self._gateway.witness(self.request, answer.status, answer.body)
        return answer

    def _send(self, answer: Answer) -> None:
        self.set_status(answer.status)
        self.set_header("X-Correlation-Id", secrets.token_hex(8))
        now = self._gateway.clock.now()
        self.set_header("Date", format_datetime(now, usegmt=True))
        for name, value in self._gateway.bucket.headers(now.timestamp(), empty=answer.status == 429).items():
            self.set_header(name, value)
        if answer.body is None:
            self.clear_header("Content-Type")
        else:
            self.set_header("Content-Type", "application/json")
            self.write(json.dumps(answer.body))

    async def _trickle(self, within_s: float) -> None:
        """Send what is written byte by byte, as long as the client stays."""
        body = b"".join(self._write_buffer)
        self._write_buffer.clear()
        self.set_header("Content-Length", len(body))
        try:
            for byte in body:
                self.write(bytes([byte]))
                await self.flush()
                await pause(within_s / len(body))
        except StreamClosedError:
            self._hang_up()

    def _hang_up(self) -> None:
        self.detach().close()

    def compute_etag(self) -> None:
        """Hetzner sends none."""

    def data_received(self, chunk: bytes) -> None:
        """Bodies are never streamed."""


def _told_to_fail(fault: RequestFault) -> ApiError:
    return ApiError(fault.status, fault.code, f"the sandbox was told to fail this request with {fault.code}")


def _show_error(error: ApiError) -> Answer:
    body = {"code": error.code, "message": error.message, "details": error.details}
    return Answer(error.status, {"error": body})


class _NameHandler(RequestHandler):
    """``/sandbox``: says what this is, to everybody."""

    def get(self) -> None:
        """Tell."""
        self.finish({"sandbox": "scherbelberg"})


class _OwnHandler(RequestHandler):
    """What is no part of Hetzner's API."""

    def initialize(self, gateway: ApiGateway, replace: Callable[[Any], None]) -> None:
        """Take what `make_application` passes."""
        self._gateway = gateway
        self._replace = replace

    def prepare(self) -> None:
        """Let in who has the token."""
        try:
            self._gateway.authenticate(self.request.headers.get("Authorization", ""))
        except ApiError as error:
            self.set_status(error.status)
            self.finish(error.message)

    def put(self) -> None:
        """Take a document."""
        try:
            self._take(self.request.body.decode("utf-8", "replace"))
        except BadInput as error:
            self.set_status(422)
            self.finish(error.message)

    def _take(self, text: str) -> None:
        raise NotImplementedError


class _FaultsHandler(_OwnHandler):
    """``/sandbox/faults``: what goes wrong on purpose, to be read and replaced; requests are counted anew then."""

    def get(self) -> None:
        """Tell what goes wrong."""
        self.finish(write_json(self._gateway.injector().faults))

    def _take(self, text: str) -> None:
        self._replace(read_faults(text))


class _ClockHandler(_OwnHandler):
    """``/sandbox/clock``: by how much the cloud's clock is ahead of this computer's, to be read and replaced."""

    def get(self) -> None:
        """Tell by how much."""
        self.finish(write_ahead(self._gateway.clock.ahead_s))

    def _take(self, text: str) -> None:
        self._replace(read_ahead(text))


def make_application(gateway: ApiGateway, *, replace: Callable[[Faults], None]) -> Application:
    """Make tornado's side of the API.

    Args:
        gateway: What every request passes.
        replace: Replaces the faults.
    """
    rules: list[Any] = [
        (r"/sandbox", _NameHandler),
        (r"/sandbox/faults", _FaultsHandler, {"gateway": gateway, "replace": replace}),
        (r"/sandbox/clock", _ClockHandler, {"gateway": gateway, "replace": gateway.clock.set}),
        (r"/.*", _Handler, {"gateway": gateway}),
    ]
    return Application(rules, log_function=_log_request)


def _log_request(handler: Any) -> None:
    request = handler.request
    if isinstance(handler, _NameHandler):
        return  # which is no request to the cloud
    _log.info("%s %s %s", handler.get_status(), request.method, request.uri)


def all_routes(context: Context) -> Iterable[Route]:
    """List every route of every kind."""
    for kind in _KINDS:
        yield from kind.routes(context)
