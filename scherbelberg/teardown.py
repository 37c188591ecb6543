# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gives back what was rented: one deletion by label, for whole and broken clusters alike, proven by listing again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from scherbelberg.catalog import KINDS, Kind, Resource
from scherbelberg.cloud import Hetzner
from scherbelberg.errors import LeftOver, ScherbelbergError, WaitTimeout
from scherbelberg.events import Event, Listener, Phase
from scherbelberg.holdings import selector
from scherbelberg.plan import Identity
from scherbelberg.spec import Timeouts
from scherbelberg.waiting import finish, together, until


async def inventory(hetzner: Hetzner, wanted: Mapping[str, str]) -> tuple[Resource, ...]:
    """List everything that carries certain labels, servers first.

    Args:
        hetzner: The project.
        wanted: The labels.
    """
    found = await together(*(hetzner.find(kind, wanted) for kind in KINDS))
    return tuple(resource for rows in found for resource in rows)


async def delete_all(hetzner: Hetzner, wanted: Mapping[str, str], *, listener: Listener, timeouts: Timeouts) -> None:
    """Delete everything that carries certain labels, and prove that nothing is left.

    The first deletions go out at once. Requests that are still under way then, for example of an interrupted create,
    are waited for, since what they make has to go too.

    Args:
        hetzner: The project.
        wanted: The labels.
        listener: Is told how much is left.
        timeouts: Deadlines in seconds.

    Raises:
        LeftOver: Something was still there at the deadline.
    """
    left = await inventory(hetzner, wanted)
    total = len(left)
    listener(Event(phase=Phase.DELETE, state="start", done=0, total=total))

    async def empty() -> bool | None:
        nonlocal left
        await _delete_what_may_go(hetzner, left)
        await hetzner.settled(timeouts.request * 2)
        left = await _still_there(hetzner, wanted, left)
        gone = max(0, total - len(left))
        listener(Event(phase=Phase.DELETE, state="progress", done=gone, total=total))
        return None if left else True

    try:
        await until(
            empty, every_s=0.2, growth=1.5, longest_s=3, within_s=timeouts.delete, what="The end of all resources"
        )
    except WaitTimeout:
        names = tuple(f"{resource.kind[:-1]} {resource.name}" for resource in left)
        raise LeftOver(
            f"After {timeouts.delete:g} s the cloud still lists {', '.join(names)}; {_how_to_nuke(wanted)}.",
            left_over=names,
        ) from None
    listener(Event(phase=Phase.DELETE, state="done", done=total, total=total))
    listener(Event(phase=Phase.EMPTY, state="done", detail="nothing is left"))


async def _delete_what_may_go(hetzner: Hetzner, left: tuple[Resource, ...]) -> None:
    """Ask for the end of the servers, or, when there are none any more, of what they used."""
    servers = tuple(resource for resource in left if resource.kind == "servers")
    await together(*(hetzner.delete(resource) for resource in servers or left))


async def _still_there(hetzner: Hetzner, wanted: Mapping[str, str], left: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """List again: servers alone while there are any, since nothing else can go before them."""
    if any(resource.kind == "servers" for resource in left):
        only: Kind = "servers"
        servers = await hetzner.find(only, wanted)
        if servers:
            return servers + tuple(resource for resource in left if resource.kind != only)
    return await inventory(hetzner, wanted)


def _how_to_nuke(wanted: Mapping[str, str]) -> str:
    prefix = wanted.get("prefix")
    return f"run 'scherbelberg nuke -p {prefix}' to try again" if prefix else "run 'scherbelberg nuke' to try again"


@contextlib.asynccontextmanager
async def undone_on_failure(
    hetzner: Hetzner, identity: Identity, *, listener: Listener, timeouts: Timeouts
) -> AsyncIterator[None]:
    """Give everything back that carries a cluster's uid when what stands inside fails or is interrupted in any way.

    Args:
        hetzner: The project.
        identity: Whose resources.
        listener: Is told of the deletion.
        timeouts: Deadlines in seconds.

    Raises:
        LeftOver: Something was still there at the deadline; the first error is its cause.
    """
    try:
        yield
    except BaseException as cause:
        wanted = selector(prefix=identity.prefix, uid=identity.uid)
        try:
            await finish(delete_all(hetzner, wanted, listener=_deaf(listener), timeouts=timeouts))
        except LeftOver as error:
            raise error from cause
        except ScherbelbergError as error:
            raise LeftOver(
                f"The clean-up after a failure ({cause}) failed itself: {error.message} Something may be left;"
                f" {_how_to_nuke(wanted)}.",
                left_over=(),
            ) from cause
        raise


def _deaf(listener: Listener) -> Listener:
    """A listener whose own errors do not stop a deletion."""

    def tell(event: Event) -> None:
        with contextlib.suppress(BaseException):  # also SystemExit: what was rented is given back first
            listener(event)

    return tell
