# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Requests to Hetzner Cloud's API, and what their answers mean. The only module that knows hcloud.

hcloud is synchronous: its calls run on worker threads with a session each. Its own retries are switched off, since they
send a POST again whose answer was lost; whoever makes something follows such a request up instead.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import socket
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from attrs import frozen
from hcloud import APIException, Client

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.answers import ErrorClass, classify, foreign_answer
from scherbelberg.cloud.resources import Json
from scherbelberg.concurrency.threads import Threads
from scherbelberg.concurrency.waiting import Deadline, pause, until
from scherbelberg.errors import (
    CloudError,
    CloudUnreachable,
    NameTaken,
    NoCapacity,
    QuotaReached,
    ScherbelbergError,
    TokenRefused,
)

_LOG = logging.getLogger(__name__)
_THREADS = 16
_CONNECT_S = 5.0
_LOOK_EVERY_S = 1.0
#: An empty bucket of requests fills again by one a second; a hundred that wait for it need their time.
_LIMITED_S = 600.0
#: Repeating these changes nothing.
_FINAL = (
    requests.exceptions.SSLError,
    requests.exceptions.TooManyRedirects,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
)


class _Bearer(requests.auth.AuthBase):
    """Explicit authorization: without one, requests prefers what a ~/.netrc says and would send that out."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(requests.adapters.HTTPAdapter):
    """Knows the connections that it makes, so that they can be cut from outside, and are closed in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Any] = []

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Find the pool of connections to a host; see requests."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if not isinstance(pool.ConnectionCls, functools.partial):
            pool.ConnectionCls = functools.partial(self._make, pool.ConnectionCls)
        return pool

    def _make(self, kind: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        made = kind(*args, **kwargs)
        self._made = [one for one in self._made if one.sock is not None] + [made]
        return made

    def cut(self) -> None:
        """Break what is being received or sent, for any thread."""
        for connection in self._made:
            line = connection.sock  # its thread may take it away in the meantime
            if isinstance(line, socket.socket):
                with contextlib.suppress(OSError):
                    # TLS's own would take its state away from under the thread that reads.
                    socket.socket.shutdown(line, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all connections; what still receives finds its end."""
        self.cut()  # or else closing would wait for a thread that reads, and with it whoever closes
        super().close()
        for connection in self._made:
            connection.close()


class _Sending:
    """A request on its way through a thread.

    Args:
        within_s: Seconds from the moment at which a thread takes it on to the end of its answer.
    """

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self.is_cut = False
        self._adapter: _Adapter | None = None
        self._deadline: Deadline | None = None

    def begin(self, adapter: _Adapter) -> None:
        """Note what carries it from now on."""
        self._deadline = Deadline(self.within_s)
        self._adapter = adapter

    @property
    def left_s(self) -> float:
        """Seconds that it may take still."""
        return self._deadline.left_s if self._deadline else self.within_s

    def cut(self) -> None:
        """Break it; its thread ends soon."""
        self.is_cut = True
        if self._adapter is not None:
            self._adapter.cut()


class TransientError(Exception):
    """A fault that may pass.

    Args:
        message: What happened.
        maybe_done: Whether the cloud may have done the work all the same.
        refused: Whether there was no connection at all.
        limited: Whether there were too many requests.
        advice: What users can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        maybe_done: bool,
        refused: bool = False,
        limited: bool = False,
        advice: str = "check the network and the endpoint",
    ) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.refused = refused
        self.limited = limited
        self.advice = advice


class ResourceBusy(TransientError):
    """The resource is locked or in use."""


class NotFound(CloudError):
    """There is no such resource."""


@frozen(kw_only=True)
class ResponseInfo:
    """What an answer of the API says besides its content.

    Args:
        date_s: The API's clock, epoch seconds, or None if the answer does not tell.
        took_s: Seconds from the request to the answer's head.
        limit: Requests per hour that the project may send, or None.
        remaining: How many of them are left now, or None.
    """

    date_s: float | None
    took_s: float
    limit: int | None = None
    remaining: int | None = None


class Transport:
    """Connections to the API.

    Args:
        access: Endpoint and token.
        request_s: Deadline of one request in seconds.
        patience_s: Seconds for which a passing fault is met with another try.
    """

    def __init__(self, access: Access, *, request_s: float, patience_s: float) -> None:
        self.access = access
        self._request_s = request_s
        self._patience_s = patience_s
        self._pool = Threads(_THREADS, "scherbelberg-cloud")
        self._thread = threading.local()
        self._clients: list[Client] = []
        self._under_way: dict[concurrent.futures.Future[Json], _Sending] = {}
        self._look: asyncio.TimerHandle | None = None
        self._clock: tuple[float, float] | None = None
        #: Requests that were sent so far; pages, repetitions and those that nobody answered count.
        self.request_count = 0
        #: What the last answer said besides its content.
        self.last_response: ResponseInfo | None = None
        #: The shortest time in which it has answered so far, in seconds, or None.
        self.quickest_s: float | None = None

    @property
    def proxy(self) -> str | None:
        """Host and port of the proxy on the way to the API, or None; its password is nobody's business."""
        if self.access.is_local:
            return None
        proxies = requests.utils.get_environ_proxies(self.access.endpoint)
        found: str | None = requests.utils.select_proxy(self.access.endpoint, proxies)
        return found.rpartition("@")[2].rpartition("//")[2].rstrip("/") if found else None

    @property
    def now_s(self) -> float:
        """The API's clock, as epoch seconds; this computer's where the API has not told the time."""
        if self._clock is None:
            return time.time()
        date_s, at_s = self._clock
        return date_s + time.monotonic() - at_s

    @property
    def tells_time(self) -> bool:
        """Whether the API has told the time."""
        return self._clock is not None

    async def call(self, method: str, path: str, *, body: Json | None = None, params: Json | None = None) -> Json:
        """Send a request until it is answered; a POST whose work may be done is not sent again.

        Args:
            method: HTTP method.
            path: Below the endpoint.
            body: JSON.
            params: Query.

        Raises:
            TransientError: A POST may or may not have worked.
            ResourceBusy: What is to be deleted is locked or in use.
            NotFound: There is no such resource.
            CloudError: The API refuses; see also its subclasses.
            CloudUnreachable: The API did not answer in time.
        """
        deadline, limited = Deadline(self._patience_s), Deadline(_LIMITED_S)
        wait_s = 0.5
        while True:
            try:
                return await self._once(method, path, body, params)
            except TransientError as fault:
                if fault.refused and self._clock is None:
                    raise self.unreachable(fault) from fault
                if (method == "POST" and fault.maybe_done) or (method == "DELETE" and isinstance(fault, ResourceBusy)):
                    raise
                if (limited if fault.limited else deadline).left_s < wait_s:
                    raise self.unreachable(fault) from fault
                _LOG.info("%s %s is repeated in %.1f s: %s", method, path, wait_s, fault)
            await pause(wait_s)
            wait_s = min(wait_s * 2, 10.0)

    async def try_once(self, method: str, path: str, *, body: Json | None = None, params: Json | None = None) -> Json:
        """Send a request once, see `call`; whatever may pass is raised as `TransientError`."""
        return await self._once(method, path, body, params)

    async def _once(self, method: str, path: str, body: Json | None, params: Json | None) -> Json:
        self.request_count += 1
        sending = _Sending(_CONNECT_S + self._request_s)
        future = self._pool.submit(self._send, sending, method, path, body, params)
        self._under_way[future] = sending
        future.add_done_callback(lambda ended: self._under_way.pop(ended, None))
        if self._look is None:
            self._look_after()
        return await asyncio.wrap_future(future)

    def _look_after(self) -> None:
        """See to it that requests end, also those whose answers trickle in: requests bounds no whole one."""
        later = asyncio.get_running_loop().call_later
        self._look = later(_LOOK_EVERY_S, self._look_after) if self._under_way else None
        for sending in list(self._under_way.values()):
            if not sending.left_s:
                sending.cut()

    def _send(self, sending: _Sending, method: str, path: str, body: Json | None, params: Json | None) -> Json:
        """On a worker thread: one request, one answer or error of ours."""
        client = self._client()
        sending.begin(self._thread.adapter)
        try:
            return client.request(method, path, json=body, params=params)
        except APIException as error:
            raise self._error(method, path, error) from None
        except (OSError, ValueError, TypeError) as error:  # requests' own, and what it says of files and proxies
            if sending.is_cut:
                words = f"no whole answer within {sending.within_s:g} s"
                raise TransientError(words, maybe_done=True) from None
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> Exception:
        """Tell what it means that there is no answer."""
        if isinstance(error, _FINAL):
            return self._impossible(error)
        if isinstance(error, requests.ConnectTimeout):
            return TransientError(_words(error), maybe_done=False, refused=True)
        if isinstance(error, requests.exceptions.ProxyError):  # it is told where to lead before it is given the rest
            words = f"the proxy {self.proxy} does not lead there: {_words(error)}"
            return TransientError(words, maybe_done=False, refused=True, advice=_proxy_advice(words))
        if isinstance(error, requests.ConnectionError):
            refused = "NewConnectionError" in str(error) or "NameResolutionError" in str(error)
            return TransientError(_words(error), maybe_done=not refused, refused=refused)
        if isinstance(error, requests.RequestException):
            return TransientError(_words(error), maybe_done=True)
        return self._impossible(error)

    def _client(self) -> Client:
        client: Client | None = getattr(self._thread, "client", None)
        if client is None:
            client = Client(
                self.access.token,
                api_endpoint=self.access.endpoint,
                application_name="scherbelberg",
                timeout=(_CONNECT_S, self._request_s),
            )
            inner = client._client  # noqa: SLF001 - hcloud has no public way to its session and its retries
            inner._retry_max_retries = 0  # noqa: SLF001
            session = inner._session  # noqa: SLF001
            session.auth = _Bearer(self.access.token)
            session.max_redirects = 0
            session.trust_env = not self.access.is_local  # no proxy between us and our own loopback
            session.verify = self.access.authorities or True
            session.hooks["response"].append(self._note)
            self._thread.adapter = _Adapter()
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._thread.adapter)
            self._thread.client = client
            self._clients.append(client)
        return client

    def _note(self, response: requests.Response, *args: object, **kwargs: object) -> None:
        took_s = response.elapsed.total_seconds()
        request = response.request
        _LOG.info("%s %s: %d in %.0f ms", request.method, request.path_url, response.status_code, took_s * 1000)
        self._check(response)
        date_s = _time_in(response.headers.get("Date"))
        if date_s is not None:
            self._clock = (date_s, time.monotonic())
        limit, remaining = (_number(response.headers.get(f"RateLimit-{name}")) for name in ("Limit", "Remaining"))
        self.quickest_s = took_s if self.quickest_s is None else min(self.quickest_s, took_s)
        self.last_response = ResponseInfo(date_s=date_s, took_s=took_s, limit=limit, remaining=remaining)

    def _check(self, response: requests.Response) -> None:
        """Refuse what is not the API's answer before anything in it is believed."""
        request = response.request
        path = urlsplit(request.url or "").path.removeprefix(urlsplit(self.access.endpoint).path)
        stranger = foreign_answer(
            request.method or "",
            path,
            status=response.status_code,
            location=response.headers.get("Location"),
            content=response.content,
        )
        if stranger:
            words = f"what answers there is not Hetzner's API but gives {stranger}, as a network's login page does"
            advice = "log in to this network with a browser, or check the endpoint"
            raise TransientError(words, maybe_done=True, refused=True, advice=advice)

    def _error(self, method: str, path: str, error: APIException) -> Exception:
        verdict = classify(error.code, error.message)
        said = f"{error.message} ({error.code})"
        if verdict is ErrorClass.RETRY:
            limited = error.code in {"rate_limit_exceeded", 429}
            return TransientError(said, maybe_done=not limited, limited=limited)
        if verdict is ErrorClass.BUSY:
            return ResourceBusy(said, maybe_done=False)
        return self._final(verdict, f"{method} {path}", said, error)

    def _final(self, verdict: ErrorClass, request: str, said: str, error: APIException) -> ScherbelbergError:
        data: dict[str, Any] = {"api_code": str(error.code), "correlation_id": error.correlation_id, "said": said}
        place = f"{self.access.place} refused {request}: {said}"
        if verdict is ErrorClass.TOKEN:
            source = self.access.token_source
            return TokenRefused(f"{place}; check the token from {source} and that it may read and write.")
        if verdict is ErrorClass.QUOTA:
            limits = (error.details or {}).get("limits") or []
            names = ", ".join(str(limit.get("name")) for limit in limits) or "of something"
            return QuotaReached(f"{place}; the account's limit {names} is reached, ask Hetzner to raise it.", **data)
        if verdict is ErrorClass.CAPACITY:
            return NoCapacity(f"{place}; try another --location or server type.", **data)
        if verdict is ErrorClass.GONE:
            return NotFound(f"{place}.", **data)
        if verdict is ErrorClass.TAKEN:
            return NameTaken(f"{place}; choose another prefix with -p.", **data)
        return CloudError(f"{place}.", **data)

    def unreachable(self, fault: Exception) -> CloudUnreachable:
        """An error for a fault that did not pass."""
        advice = fault.advice if isinstance(fault, TransientError) else "check the network and the endpoint"
        return CloudUnreachable(f"{self._where} does not answer as it should: {fault}; {advice}, then try again.")

    def _impossible(self, error: Exception) -> CloudUnreachable:
        """An error for what no other try changes."""
        words, advice = _words(error).rstrip("."), "check the endpoint"
        if "SOCKS support" in words:
            words = f"the proxy {self.proxy} speaks SOCKS, for which a package is missing here"
            advice = "install it with 'pip install pysocks', or name an http proxy in HTTPS_PROXY"
        elif self.proxy is not None and isinstance(error, ValueError | TypeError):
            words = f"the proxy {self.proxy} cannot be used"  # the reason would show its password
            advice = "HTTPS_PROXY takes a proxy in the form http://HOST:PORT"
        elif "certificate" in words:
            trusted = self.access.authorities or "the usual certificate authorities"
            words = f"its certificate cannot be checked with {trusted} ({words})"
            advice = (
                "if this network has a certificate authority of its own, REQUESTS_CA_BUNDLE or SSL_CERT_FILE names the"
                " PEM file that holds it"
            )
        elif isinstance(error, requests.exceptions.SSLError):
            words = f"what answers there does not speak TLS as it should ({words}), as a network's login page or proxy"
            advice = "log in to this network with a browser, or check proxy and endpoint"
        return CloudUnreachable(f"{self._where} cannot be talked to: {words}; {advice}.")

    @property
    def _where(self) -> str:
        place = self.access.place
        return place if self.access.endpoint in place else f"{place} at {self.access.endpoint}"

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way, those of cancelled coroutines included."""
        return bool(self._under_way)

    async def wait_idle(self, within_s: float) -> None:
        """Wait until no request is under way any more, those of cancelled coroutines included.

        Args:
            within_s: Deadline in seconds.

        Raises:
            WaitTimeout: It passed.
        """

        async def none_left() -> bool | None:
            return None if self.is_busy else True

        await until(none_left, every_s=0.02, within_s=within_s, what="the end of all requests to the cloud")

    def close(self) -> None:
        """Give back threads and connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client._client._session.close()  # noqa: SLF001 - hcloud has no public way


def _time_in(date: str | None) -> float | None:
    """A header's time as epoch seconds, or None if it tells none."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _proxy_advice(words: str) -> str:
    if " 407 " in f"{words} ":
        return "give it your login as HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
    return "check the proxy, which HTTPS_PROXY or this computer's settings name"


def _words(error: BaseException) -> str:
    """The innermost reason: the outer layers repeat it with object addresses."""
    cause = error
    while (inner := cause.__context__ or cause.__cause__) is not None:
        cause = inner
    return str(cause) or type(cause).__name__
