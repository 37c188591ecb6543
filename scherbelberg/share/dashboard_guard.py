# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Has a scheduler's web server answer nobody but pages of its own and those that were named. Loaded by Dask itself.

A tunnel ends at the loopback of the user's computer, where every page in a browser may send requests to. What such a
page is called stands in Origin, and a name that its owner lets lead to the loopback (DNS rebinding) in Host.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from distributed import SchedulerPlugin
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter

#: Where tunnels end.
_OWN = ("127.0.0.1:*", "localhost:*")
_USUAL_PORTS = {"http": 80, "https": 443}
_REFUSAL = b"This dashboard answers pages of 127.0.0.1 and localhost, and those that --dashboard-origin has named.\n"


async def dask_setup(scheduler: Any) -> None:
    """Begin.

    Args:
        scheduler: Dask's.
    """
    welcome = (*_OWN, *os.environ.get("SCHERBELBERG_ORIGINS", "").split())
    server = scheduler.http_server
    server.request_callback = RuleRouter(
        [Rule(_Welcome(welcome), server.request_callback), Rule(AnyMatches(), _refuse)]
    )
    scheduler.add_plugin(_NoPages())


class _Welcome(Matcher):
    def __init__(self, welcome: tuple[str, ...]) -> None:
        self._welcome = welcome

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Nothing to remember, or None for who is not."""
        return {} if is_welcome(request.headers, self._welcome) else None


def _refuse(request: HTTPServerRequest) -> None:
    headers = HTTPHeaders({"Content-Type": "text/plain", "Content-Length": str(len(_REFUSAL))})
    assert request.connection is not None  # noqa: S101 - a request that came over one
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 403, "Forbidden"), headers, _REFUSAL)
    request.connection.finish()


def is_welcome(headers: Mapping[str, str], welcome: Iterable[str]) -> bool:
    """Whether a request was sent by who may.

    Args:
        headers: The request's. Only pages that are not the dashboard's own, and scripts, send an Origin.
        welcome: ``HOST:PORT`` or ``HOST:*``.
    """
    known = tuple(welcome)
    origin = headers.get("Origin", headers.get("Sec-WebSocket-Origin"))
    host = headers.get("Host", "")
    if not any(_fits(f"{scheme}://{host}", known) for scheme in _USUAL_PORTS):  # a browser leaves usual ports out
        return False
    return origin is None or _fits(origin, known)


def _fits(url: str, welcome: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port or _USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.scheme not in _USUAL_PORTS:
        return False
    return not {f"{parts.hostname}:*", f"{parts.hostname}:{port}"}.isdisjoint(welcome)


class _NoPages(SchedulerPlugin):  # type: ignore[misc] # distributed is typed in part only
    """Forgets where workers have web servers: from outside nobody gets there, and links would be dead."""

    name = "scherbelberg-no-pages"

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Forget one's."""
        scheduler.workers[worker].services.pop("dashboard", None)
