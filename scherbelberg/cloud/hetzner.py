# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hetzner Cloud as values: what can be rented, what is there, make, delete."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

from scherbelberg.cloud.access import Access
from scherbelberg.cloud.offers import read_catalog, read_images, read_price_list
from scherbelberg.cloud.resources import (
    Catalog,
    Image,
    Json,
    Kind,
    PriceList,
    Resource,
    read_resource,
)
from scherbelberg.cloud.transport import NotFound, ResourceBusy, TransientError, Transport
from scherbelberg.concurrency.waiting import Deadline, gather_or_cancel, pause, until
from scherbelberg.errors import (
    CloudError,
    NameTaken,
)
from scherbelberg.spec.model import Timeouts

#: No project holds as much as this many of them.
_MOST_PAGES = 400
#: The API's largest page, and the most ids it takes in one question for actions.
_PAGE = 50
IDS_AT_ONCE = 25
_IMAGES: Json = {"type": ["system", "snapshot"], "status": "available"}
_SINGULAR: dict[Kind, str] = {
    "servers": "server",
    "networks": "network",
    "firewalls": "firewall",
    "ssh_keys": "ssh_key",
}


@frozen(kw_only=True)
class Created:
    """A resource that was just made, or one of ours that was found in its place.

    Args:
        resource: As the cloud shows it.
        actions: Numbers of the actions that still run; none for one that was found.
    """

    resource: Resource
    actions: tuple[int, ...]


@frozen(kw_only=True)
class Ending:
    """A deletion that the cloud took on, or had done already.

    Args:
        action: Number of the action that does it, or None if there is nothing to wait for.
    """

    action: int | None = None


class Hetzner(Transport):
    """What can be asked of one project's API; see `Transport` for the arguments."""

    async def catalog(self) -> Catalog:
        """Read what can be rented.

        Raises:
            CloudError: Nothing of it is understood.
            CloudUnreachable: The API did not answer in time.
        """
        types, images, locations, pricing = await asyncio.gather(
            self._list("server_types"),
            self._list("images", _IMAGES),
            self._list("locations"),
            self.call("GET", "/pricing"),
        )
        return read_catalog(
            server_types=types, images=images, locations=locations, pricing=pricing.get("pricing"), now_s=self.now_s
        )

    async def images(self) -> tuple[Image, ...]:
        """Read what servers' disks can begin with.

        Raises:
            CloudError: Nothing of it is understood.
        """
        return read_images(await self._list("images", _IMAGES))

    async def prices(self) -> PriceList:
        """Read what is charged for what exists."""
        return read_price_list((await self.call("GET", "/pricing"))["pricing"])

    async def find(self, kind: Kind, selector: Mapping[str, str]) -> tuple[Resource, ...]:
        """List all resources of a kind that carry certain labels.

        Args:
            kind: Which.
            selector: The labels.
        """
        rows = await self._list(kind, {"label_selector": _label_selector(selector)})
        return tuple(read_resource(kind, row) for row in rows)

    async def every(self, kind: Kind) -> tuple[Resource, ...]:
        """List all resources of a kind in the project, whosever they are.

        Args:
            kind: Which.
        """
        return tuple(read_resource(kind, row) for row in await self._list(kind))

    async def rows(self, collection: str, params: Json) -> list[Json]:
        """List what is read in places of its own, as the API shows it.

        Args:
            collection: Where, such as ``primary_ips``.
            params: Query.
        """
        return await self._list(collection, params)

    async def count(self, kind: Kind, selector: Mapping[str, str]) -> int:
        """Count the resources of a kind that carry certain labels, in one request if the cloud tells their number.

        Args:
            kind: Which.
            selector: The labels.
        """
        params = {"label_selector": _label_selector(selector)}
        _, pagination = await self._page(kind, {**params, "per_page": 1})
        total = pagination.get("total_entries")
        return total if type(total) is int else len(await self._list(kind, params))

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
                answer = await self.call("POST", f"/{kind}", body=body)
            except TransientError as fault:
                if ours := await self._adopt(kind, body):
                    return ours
                if not deadline.left_s:
                    raise self.unreachable(fault) from fault
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

    async def delete(self, resource: Resource) -> Ending | None:
        """Ask for the end of a resource.

        Args:
            resource: Which.

        Returns:
            What the cloud does, also where it was gone already; None if it is busy.
        """
        try:
            answer = await self.call("DELETE", f"/{resource.kind}/{resource.id}")
        except NotFound:
            return Ending()
        except ResourceBusy:
            return None
        number = _part(answer, "action", "id")
        return Ending(action=number if type(number) is int else None)

    async def set_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Replace the labels of a resource."""
        await self.call("PUT", f"/{resource.kind}/{resource.id}", body={"labels": dict(labels)})

    async def change_labels(self, resources: Iterable[Resource], changed: Mapping[str, str]) -> None:
        """Change some labels of resources, and leave the others; what is gone meanwhile needs none.

        Args:
            resources: As they were when they were read just now.
            changed: The new ones.
        """

        async def change(resource: Resource) -> None:
            with contextlib.suppress(NotFound):
                await self.set_labels(resource, {**resource.labels, **changed})

        await gather_or_cancel(*(change(resource) for resource in resources))

    async def protect(self, resource: Resource, *, wanted: bool) -> None:
        """Let the cloud refuse to delete a server or network, or allow it again; the same twice changes nothing.

        Args:
            resource: Which.
            wanted: Whether it is to be protected.

        Raises:
            CloudError: The API refuses, or it failed.
            CloudUnreachable: The API did not answer in time.
            WaitTimeout: It did not end in time.
        """
        deadline = Deadline(self._patience_s)
        # Of servers, the cloud wants both to be equal.
        body = {"delete": wanted} | ({"rebuild": wanted} if resource.kind == "servers" else {})
        path = f"/{resource.kind}/{resource.id}/actions/change_protection"
        while True:
            try:
                answer = await self.call("POST", path, body=body)
                break
            except TransientError as fault:
                if not deadline.left_s:
                    raise self.unreachable(fault) from fault
                await pause(1.0)
        what = f"The change of the protection of {resource.description}"
        for reason in await self._wait_for_actions([answer["action"]["id"]], what=what, within_s=self._patience_s):
            raise CloudError(f"{what} failed: {reason}.", api_code="action_failed")

    async def reboot(self, server: Resource) -> int:
        """Ask a server's system to go down and to start again.

        Args:
            server: Which.

        Returns:
            Number of the action, which ends when the system was asked.

        Raises:
            CloudError: The API refuses.
            CloudUnreachable: The API did not answer in time; the system may have been asked.
        """
        try:
            answer = await self.call("POST", f"/servers/{server.id}/actions/reboot")
        except TransientError as fault:
            raise self.unreachable(fault) from fault
        return int(answer["action"]["id"])

    async def set_rules(self, firewall: Resource, rules: list[dict[str, Any]], *, within_s: float) -> None:
        """Replace the rules of a firewall, and wait until they are in force on all that it guards.

        Args:
            firewall: Which.
            rules: The new ones.
            within_s: Deadline in seconds.

        Raises:
            CloudError: They could not be put in force everywhere.
            WaitTimeout: The deadline passed.
        """
        answer = await self.call("POST", f"/{firewall.kind}/{firewall.id}/actions/set_rules", body={"rules": rules})
        ids = [action["id"] for action in answer["actions"]]

        what = f"The change of firewall {firewall.name}"
        for reason in await self._wait_for_actions(ids, what=what, within_s=within_s):
            raise CloudError(f"{what} is not in force everywhere: {reason}.", api_code="action_failed")

    async def _wait_for_actions(self, ids: list[int], *, what: str, within_s: float) -> list[str]:
        """Wait for the end of actions; returns what went wrong with those that failed."""

        async def ended() -> list[Json] | None:
            parts = [
                await self._list("actions", {"id": ids[at : at + IDS_AT_ONCE]})
                for at in range(0, len(ids), IDS_AT_ONCE)
            ]
            rows = [row for part in parts for row in part]
            return None if any(row["status"] == "running" for row in rows) else rows

        rows = await until(ended, every_s=0.2, growth=1.5, longest_s=3, within_s=within_s, what=what)
        return [row["error"]["message"] for row in rows if row["status"] == "error"]

    async def failed_actions(self, ids: tuple[int, ...]) -> dict[int, str]:
        """Tell what went wrong with any of some actions.

        Args:
            ids: Their numbers.

        Returns:
            Number to text, of those that ended in error.
        """
        texts: dict[int, str] = {}
        for start in range(0, len(ids), IDS_AT_ONCE):
            rows = await self._list("actions", {"id": list(ids[start : start + IDS_AT_ONCE])})
            for row in rows:
                if _part(row, "status") == "error" and type(number := _part(row, "id")) is int:
                    texts[number] = f"{_part(row, 'command')}: {_part(row, 'error', 'message')}"
        return texts

    async def _list(self, path: str, params: Mapping[str, Any] | None = None) -> list[Json]:
        rows: list[Json] = []
        page: int | None = 1
        while page is not None:
            if page > _MOST_PAGES:
                raise self._stranger()
            found, pagination = await self._page(path, {**(params or {}), "page": page, "per_page": _PAGE})
            rows += found
            page = _next_page(page, len(found), pagination)
        return rows

    async def _page(self, path: str, params: Mapping[str, Any]) -> tuple[list[Json], Json]:
        answer = await self.call("GET", f"/{path}", params=params)
        try:
            return [*answer[path]], dict(_part(answer, "meta", "pagination") or {})
        except (KeyError, TypeError, ValueError):
            raise self._stranger() from None

    def _stranger(self) -> CloudError:
        return CloudError(
            f"What answers at {self.access.endpoint} is not Hetzner's API; check the endpoint.", api_code="not_the_api"
        )


def _next_page(page: int, count: int, pagination: Json) -> int | None:
    """The number of the page after one, or None; where an answer does not say so, a full page has another one after it.

    What is not listed is not given back, so no list ends early since the API's words for its pages have changed.
    """
    said = pagination.get("next_page", "nothing")
    if said is None:
        return None
    if type(said) is int and said > page:
        return said
    return page + 1 if count >= _PAGE else None


def _part(document: object, *names: str) -> Any:
    """What stands in a document of the cloud's below some names, or None: of actions nothing is needed for certain."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _label_selector(selector: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in selector.items())


@asynccontextmanager
async def open_api(access: Access, timeouts: Timeouts) -> AsyncIterator[Hetzner]:
    """The project's API while it is needed."""
    hetzner = Hetzner(access, request_s=timeouts.request, patience_s=timeouts.cloud)
    try:
        yield hetzner
    finally:
        hetzner.close()
