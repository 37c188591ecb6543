# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The API over HTTP."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from scherbelberg.sandbox.listing import Query
from scherbelberg.sandbox.refusals import Refused
from scherbelberg.sandbox.routes import Answer, Request, Routes
from scherbelberg.sandbox.traffic import Bucket, Mishaps, refusal
from scherbelberg.waiting import pause

_log = logging.getLogger(__name__)
_PREFIX = "/v1"
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


class Door:
    """What all requests share.

    Args:
        routes: The API.
        token: The project's.
        mishaps: Returns the faults in force.
    """

    def __init__(self, routes: Routes, *, token: str, mishaps: Callable[[], Mishaps]) -> None:
        self.requests: list[tuple[str, str]] = []
        self.bucket = Bucket()
        self.mishaps = mishaps
        self._routes = routes
        self._token = token

    def answer(self, request: HTTPServerRequest) -> Answer:
        """Do what a request asks for.

        Raises:
            Refused: It is not done.
        """
        self._authenticate(request.headers.get("Authorization", ""))
        if not self.bucket.take():
            raise Refused(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached")
        act = self._routes.find(str(request.method), request.path.removeprefix(_PREFIX))
        query = Query(words=parse_qs(request.query, keep_blank_values=True))
        return act(Request(query=query, body=_read_body(request)))

    def _authenticate(self, header: str) -> None:
        scheme, _, token = header.partition(" ")
        # Compared as bytes and in constant time: a header may hold anything.
        good = hmac.compare_digest(token.strip().encode(errors="replace"), self._token.encode())
        if scheme.lower() != "bearer" or not good:
            raise Refused(401, "unauthorized", "unable to authenticate")


def _read_body(request: HTTPServerRequest) -> object:
    if not request.body:
        return {} if request.method in ("POST", "PUT") else None
    try:
        return json.loads(request.body)
    except ValueError:
        raise Refused(400, "json_error", "invalid JSON in request body") from None


class _Handler(RequestHandler):
    """Takes one request from tornado."""

    # tornado's own checks of arguments would raise before we can answer as Hetzner does
    SUPPORTED_METHODS = _METHODS

    def initialize(self, door: Door) -> None:
        """Take what `make_application` passes."""
        self._door = door

    async def _handle(self) -> None:
        door = self._door
        if self.request.path.startswith(_PREFIX):
            door.requests.append((str(self.request.method), self.request.path))
        fault = door.mishaps().next()
        await pause(door.mishaps().faults.slow_s)
        if fault and fault.how == "drop_before":
            self._hang_up()
            return
        answer = _show_error(refusal(fault)) if fault and fault.how == "error" else self._work()
        if fault and fault.how == "drop_after":
            self._hang_up()
            return
        self._send(answer)

    get = post = put = delete = patch = head = options = _handle

    def _work(self) -> Answer:
        try:
            return self._door.answer(self.request)
        except Refused as error:
            return _show_error(error)
        except Exception:  # noqa: BLE001 - as at Hetzner: our fault is an answer, too
            _log.exception("%s %s failed", self.request.method, self.request.path)
            return _show_error(Refused(500, "server_error", "the sandbox failed, see its log"))

    def _send(self, answer: Answer) -> None:
        self.set_status(answer.status)
        self.set_header("X-Correlation-Id", secrets.token_hex(8))
        for name, value in self._door.bucket.headers().items():
            self.set_header(name, value)
        if answer.body is None:
            self.clear_header("Content-Type")
        else:
            self.set_header("Content-Type", "application/json")
            self.write(json.dumps(answer.body))

    def _hang_up(self) -> None:
        self.detach().close()

    def compute_etag(self) -> None:
        """Hetzner sends none."""

    def data_received(self, chunk: bytes) -> None:
        """Bodies are never streamed."""


def _show_error(error: Refused) -> Answer:
    body = {"code": error.code, "message": error.message, "details": error.details}
    return Answer(error.status, {"error": body})


def make_application(door: Door) -> Application:
    """Make tornado's side of the API.

    Args:
        door: What all requests share.
    """
    return Application([(r"/.*", _Handler, {"door": door})], log_function=_log_request)


def _log_request(handler: Any) -> None:
    request = handler.request
    _log.info("%s %s %s", handler.get_status(), request.method, request.uri)
