# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hetzner Cloud's API. The only module that knows hcloud; it hands out our values.

hcloud is synchronous: its calls run on worker threads with a session each. Its own retries are switched off, since they
send a POST again whose answer was lost; here such a request is followed up by name and labels instead.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from attrs import frozen
from hcloud import APIException, Client

from scherbelberg.access import Access
from scherbelberg.catalog import (
    Catalog,
    Json,
    Kind,
    Resource,
    read_image,
    read_ipv4_prices,
    read_resource,
    read_server_type,
)
from scherbelberg.errors import (
    CloudError,
    CloudUnreachable,
    NameTaken,
    NoCapacity,
    QuotaReached,
    ScherbelbergError,
    TokenRefused,
)
from scherbelberg.triage import Verdict, triage
from scherbelberg.waiting import Deadline, pause, until

_THREADS = 16
#: The API's largest page, and the most ids it takes in one question for actions.
_PAGE = 50
_IDS = 25
_CONNECT_S = 5.0
_SINGULAR: dict[Kind, str] = {
    "servers": "server",
    "networks": "network",
    "firewalls": "firewall",
    "ssh_keys": "ssh_key",
}


class _Bearer(requests.auth.AuthBase):
    """Explicit authorization: without one, requests prefers what a ~/.netrc says and would send that out."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Passing(Exception):
    """A fault that may pass.

    Args:
        message: What happened.
        maybe_done: Whether the cloud may have done the work all the same.
        refused: Whether there was no connection at all.
    """

    def __init__(self, message: str, *, maybe_done: bool, refused: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.refused = refused


class _Busy(_Passing):
    """The resource is locked or in use."""


class _Gone(CloudError):
    """There is no such resource."""


@frozen(kw_only=True)
class Created:
    """A resource that was just made, or one of ours that was found in its place.

    Args:
        resource: As the cloud shows it.
        actions: Numbers of the actions that still run; none for one that was found.
    """

    resource: Resource
    actions: tuple[int, ...]


class Hetzner:
    """The API of one project.

    Args:
        access: Endpoint and token.
        request_s: Deadline of one request in seconds.
        patience_s: Seconds for which a passing fault is met with another try.
    """

    def __init__(self, access: Access, *, request_s: float, patience_s: float) -> None:
        self._access = access
        self._request_s = request_s
        self._patience_s = patience_s
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="scherbelberg-cloud")
        self._thread = threading.local()
        self._clients: list[Client] = []
        self._under_way: set[concurrent.futures.Future[Json]] = set()
        self._clock: tuple[float, float] | None = None
        self.requests = 0

    @property
    def now_s(self) -> float:
        """The API's clock, as epoch seconds; it was asked at least once by then."""
        if self._clock is None:
            raise ValueError("the API's clock is known after its first answer")
        date_s, at_s = self._clock
        return date_s + time.monotonic() - at_s

    async def catalog(self) -> Catalog:
        """Read what can be rented."""
        types, images, locations, pricing = await asyncio.gather(
            self._list("server_types"),
            self._list("images", {"type": ["system", "snapshot"], "status": "available"}),
            self._list("locations"),
            self._call("GET", "/pricing"),
        )
        return Catalog(
            zones={row["name"]: row["network_zone"] for row in locations},
            server_types=tuple(read_server_type(row) for row in types),
            images=tuple(read_image(row) for row in images),
            ipv4=read_ipv4_prices(pricing["pricing"]),
            currency=pricing["pricing"]["currency"],
            now_s=self.now_s,
        )

    async def find(self, kind: Kind, selector: Mapping[str, str]) -> tuple[Resource, ...]:
        """List all resources of a kind that carry certain labels.

        Args:
            kind: Which.
            selector: The labels.
        """
        words = ",".join(f"{key}={value}" for key, value in selector.items())
        rows = await self._list(kind, {"label_selector": words})
        return tuple(read_resource(kind, row) for row in rows)

    async def create(self, kind: Kind, body: Json) -> Created:
        """Make a resource, once, whatever the network does.

        When it is not sure whether a request worked, or its name is taken, the resource is looked up by name; if its
        uid is the one in the body, it is ours.

        Args:
            kind: Which.
            body: The request's body, with name and labels.

        Raises:
            NameTaken: The name belongs to something else.
            CloudError: The API refuses; see also its subclasses.
            CloudUnreachable: The API did not answer in time.
        """
        deadline = Deadline(self._patience_s)
        while True:
            try:
                answer = await self._call("POST", f"/{kind}", body=body)
            except _Passing as fault:
                if ours := await self._adopt(kind, body):
                    return ours
                if not deadline.left_s:
                    raise self._unreachable(fault) from fault
                await pause(1.0)
            except NameTaken:
                if ours := await self._adopt(kind, body):
                    return ours
                raise
            else:
                actions = [answer["action"], *answer["next_actions"]] if kind == "servers" else []
                resource = read_resource(kind, answer[_SINGULAR[kind]])
                return Created(resource=resource, actions=tuple(action["id"] for action in actions))

    async def _adopt(self, kind: Kind, body: Json) -> Created | None:
        rows = await self._list(kind, {"name": body["name"]})
        if not rows:
            return None
        found = read_resource(kind, rows[0])
        if found.labels.get("uid") != body["labels"]["uid"]:
            owner = found.labels.get("owner", "somebody who left no label")
            raise NameTaken(
                f"The name '{found.name}' among the project's {kind} belongs to {owner};"
                " choose another prefix with -p, or ask them.",
                api_code="uniqueness_error",
            )
        return Created(resource=found, actions=())

    async def delete(self, resource: Resource) -> bool:
        """Ask for the end of a resource.

        Args:
            resource: Which.

        Returns:
            Whether the cloud took it on, or had it gone already; False if it is busy.
        """
        try:
            await self._call("DELETE", f"/{resource.kind}/{resource.id}")
        except _Gone:
            return True
        except _Busy:
            return False
        return True

    async def set_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Replace the labels of a resource."""
        await self._call("PUT", f"/{resource.kind}/{resource.id}", body={"labels": dict(labels)})

    async def failed_actions(self, ids: tuple[int, ...]) -> tuple[str, ...]:
        """Tell what went wrong with any of some actions.

        Args:
            ids: Their numbers.

        Returns:
            One text for each that ended in error.
        """
        texts = []
        for start in range(0, len(ids), _IDS):
            rows = await self._list("actions", {"id": list(ids[start : start + _IDS])})
            texts += [f"{row['command']}: {row['error']['message']}" for row in rows if row["status"] == "error"]
        return tuple(texts)

    async def settled(self, within_s: float) -> None:
        """Wait until no request is under way any more, those of cancelled coroutines included.

        Args:
            within_s: Deadline in seconds.

        Raises:
            WaitTimeout: It passed.
        """

        async def none_left() -> bool | None:
            return True if not self._under_way else None

        await until(none_left, every_s=0.02, within_s=within_s, what="the end of all requests to the cloud")

    def close(self) -> None:
        """Give back threads and connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client._client._session.close()  # noqa: SLF001 - hcloud has no public way

    async def _list(self, path: str, params: Mapping[str, Any] | None = None) -> list[Json]:
        rows: list[Json] = []
        page: int | None = 1
        while page is not None:
            answer = await self._call("GET", f"/{path}", params={**(params or {}), "page": page, "per_page": _PAGE})
            try:
                rows += answer[path]
                page = answer["meta"]["pagination"]["next_page"]
            except (KeyError, TypeError):
                raise CloudError(
                    f"What answers at {self._access.endpoint} is not Hetzner Cloud's API; check the endpoint.",
                    api_code="not_the_api",
                ) from None
        return rows

    async def _call(self, method: str, path: str, *, body: Json | None = None, params: Json | None = None) -> Json:
        """Send a request until it is answered; a POST whose work may be done is not sent again."""
        deadline = Deadline(self._patience_s)
        wait_s = 0.5
        while True:
            try:
                return await self._once(method, path, body, params)
            except _Passing as fault:
                if fault.refused and self._clock is None:
                    raise self._unreachable(fault) from fault
                if (method == "POST" and fault.maybe_done) or (method == "DELETE" and isinstance(fault, _Busy)):
                    raise
                if deadline.left_s < wait_s:
                    raise self._unreachable(fault) from fault
            await pause(wait_s)
            wait_s = min(wait_s * 2, 10.0)

    async def _once(self, method: str, path: str, body: Json | None, params: Json | None) -> Json:
        future = self._pool.submit(self._send, method, path, body, params)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await asyncio.wrap_future(future)

    def _send(self, method: str, path: str, body: Json | None, params: Json | None) -> Json:
        """On a worker thread: one request, one answer or error of ours."""
        self.requests += 1
        try:
            return self._client().request(method, path, json=body, params=params)
        except APIException as error:
            raise self._error(method, path, error) from None
        except requests.ConnectTimeout as error:
            raise _Passing(_words(error), maybe_done=False, refused=True) from None
        except requests.ConnectionError as error:
            refused = "NewConnectionError" in str(error) or "NameResolutionError" in str(error)
            raise _Passing(_words(error), maybe_done=not refused, refused=refused) from None
        except requests.RequestException as error:
            raise _Passing(_words(error), maybe_done=True) from None

    def _client(self) -> Client:
        client: Client | None = getattr(self._thread, "client", None)
        if client is None:
            client = Client(
                self._access.token,
                api_endpoint=self._access.endpoint,
                application_name="scherbelberg",
                timeout=(_CONNECT_S, self._request_s),
            )
            inner = client._client  # noqa: SLF001 - hcloud has no public way to its session and its retries
            inner._retry_max_retries = 0  # noqa: SLF001
            session = inner._session  # noqa: SLF001
            session.auth = _Bearer(self._access.token)
            session.max_redirects = 0
            session.trust_env = not self._access.is_sandbox  # no proxy between us and our own loopback
            session.hooks["response"].append(self._note_clock)
            self._thread.client = client
            self._clients.append(client)
        return client

    def _note_clock(self, response: requests.Response, *args: object, **kwargs: object) -> None:
        date = response.headers.get("Date")
        if date:
            self._clock = (parsedate_to_datetime(date).timestamp(), time.monotonic())

    def _error(self, method: str, path: str, error: APIException) -> Exception:
        verdict = triage(error.code, error.message)
        said = f"{error.message} ({error.code})"
        if verdict is Verdict.RETRY:
            return _Passing(said, maybe_done=error.code != "rate_limit_exceeded")
        if verdict is Verdict.BUSY:
            return _Busy(said, maybe_done=False)
        return self._final(verdict, f"{method} {path}", said, error)

    def _final(self, verdict: Verdict, request: str, said: str, error: APIException) -> ScherbelbergError:
        data: dict[str, Any] = {"api_code": str(error.code), "correlation_id": error.correlation_id}
        place = f"{self._access.place} refused {request}: {said}"
        if verdict is Verdict.TOKEN:
            source = self._access.token_source
            return TokenRefused(f"{place}; check the token from {source} and that it may read and write.")
        if verdict is Verdict.QUOTA:
            limits = (error.details or {}).get("limits") or []
            names = ", ".join(str(limit.get("name")) for limit in limits)
            return QuotaReached(f"{place}; the account's limit {names} is reached, ask Hetzner to raise it.", **data)
        if verdict is Verdict.CAPACITY:
            return NoCapacity(f"{place}; try another --location or server type.", **data)
        if verdict is Verdict.GONE:
            return _Gone(f"{place}.", **data)
        if verdict is Verdict.TAKEN:
            return NameTaken(f"{place}; choose another prefix with -p.", **data)
        return CloudError(f"{place}.", **data)

    def _unreachable(self, fault: Exception) -> CloudUnreachable:
        return CloudUnreachable(
            f"{self._access.place} at {self._access.endpoint} does not answer as it should: {fault};"
            " check the network and the endpoint, then try again."
        )


def _words(error: requests.RequestException) -> str:
    """The innermost reason: the outer layers repeat it with object addresses."""
    cause: BaseException = error
    while (inner := cause.__context__ or cause.__cause__) is not None:
        cause = inner
    return str(cause) or type(cause).__name__
