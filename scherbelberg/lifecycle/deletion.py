# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gives back what was rented: one deletion by label, for whole and broken clusters alike, proven by listing again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial

from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.cloud.resources import KINDS, Firewall, Kind, Resource, Server, Shared
from scherbelberg.concurrency.waiting import Deadline, gather_or_cancel, pause, shield_to_end, timeout_after, until
from scherbelberg.errors import CloudError, CloudUnreachable, LeftOver, ScherbelbergError, TokenRefused, WaitTimeout
from scherbelberg.events import Event, Listener, Phase
from scherbelberg.inventory.clusters import is_ours, network_warning, selection_warning, selector
from scherbelberg.inventory.listing import list_resources
from scherbelberg.planning.plan import Identity
from scherbelberg.spec.model import Timeouts

#: Is given what is about to be deleted and the API's clock, and raises if it must not be.
Check = Callable[[tuple[Resource, ...], float], object]
#: A deletion that the cloud took on is not asked for again before so many seconds.
_ASK_AGAIN_S = 20.0
#: Seconds for the cloud to say why a deletion failed: what may still go does not wait for that.
_REASON_S = 5.0
#: Seconds before the first look at servers that go.
_FIRST_S = 0.3
#: If none goes for so many seconds, the cloud is asked whether it failed, and then less and less often.
_SOON_S = 2.0
_LONGEST_DOUBT_S = 20.0
#: Is awaited with what is about to be deleted.
Before = Callable[[tuple[Resource, ...]], Awaitable[None]]
#: Is awaited when all is gone that carries the labels, and returns what to tell of that, or raises `LeftOver`.
Proof = Callable[[], Awaitable[str]]
#: Is given what is gone.
Note = Callable[[tuple[Resource, ...]], None]
#: What servers use.
_SHARED = tuple(kind for kind in KINDS if kind != "servers")


def no_check(_found: tuple[Resource, ...], _now_s: float) -> None:
    """Check nothing."""


async def no_preparation(_found: tuple[Resource, ...]) -> None:
    """Do nothing before a deletion."""


async def by_labels() -> str:
    """Take the lists by label for proof enough."""
    return "nothing is left"


async def delete_all(
    hetzner: Hetzner,
    wanted: Mapping[str, str],
    *,
    listener: Listener,
    timeouts: Timeouts,
    note: Note,
    check: Check = no_check,
    before: Before = no_preparation,
    proof: Proof = by_labels,
) -> None:
    """Delete everything that carries certain labels, and prove that nothing is left.

    The first deletions go out at once. Requests that are still under way then, for example of an interrupted create,
    are waited for, since what they make has to go too. One resource that cannot go does not keep the others.

    Args:
        hetzner: The project.
        wanted: The labels.
        listener: Is told how much is left; what it raises is ignored.
        timeouts: Deadlines in seconds.
        note: Is given what is gone, also when something else is not.
        check: Looks at what is there before the first deletion; what it raises is raised, and nothing was deleted.
        before: Is awaited after that, before the first deletion.
        proof: Is awaited when nothing is listed any more.

    Raises:
        LeftOver: Something is still there, at the deadline or because the cloud refuses to delete it.
    """
    tell = _guard_interrupts(listener)
    # What is under way may still make something that this list does not show.
    unsure = hetzner.is_busy
    found, unseen = await _look_at_all(hetzner, wanted)
    check(found, hetzner.now_s)
    await before(found)
    deletion = _Deletion(hetzner, wanted, found, unsure=unsure or bool(unseen))
    total = len(deletion.left)
    tell(Event(phase=Phase.DELETE, state="start", done=0, total=total))

    async def ended() -> bool | None:
        if not await _quiet(hetzner, timeouts.request):
            return None
        with contextlib.suppress(CloudUnreachable, CloudError):  # looked at again until the deadline
            await deletion.look()
            await deletion.ask()
            if deletion.is_clear and deletion.left:
                await deletion.look()
        tell(Event(phase=Phase.DELETE, state="progress", done=max(0, total - deletion.count), total=total))
        return True if deletion.is_over else None

    try:
        await deletion.ask()
        if not deletion.is_clear:
            await pause(_FIRST_S)  # no server is gone at once
        # A token that is no longer taken may have done half of it: what was seen so far is named.
        with contextlib.suppress(WaitTimeout, TokenRefused):
            await until(ended, every_s=0.6, growth=2.2, longest_s=5, within_s=timeouts.delete, what="The deletion")
        if deletion.left or deletion.is_unsure:
            await deletion.look_again()
    finally:
        note(deletion.gone)
    if deletion.left or deletion.is_unsure:
        raise deletion.left_over()
    tell(Event(phase=Phase.DELETE, state="done", done=total, total=total))
    tell(Event(phase=Phase.EMPTY, state="done", detail=await proof()))


async def _look_at_all(hetzner: Hetzner, wanted: Mapping[str, str]) -> tuple[tuple[Resource, ...], str]:
    """List everything that carries certain labels; a refused list of what is free keeps no server from being found.

    Returns:
        What was found, servers first, and why a list could not be had, if one could not.
    """
    reasons: list[str] = []

    async def listed(kind: Kind) -> tuple[Resource, ...]:
        try:
            return await hetzner.find(kind, wanted)
        except CloudError as error:
            reasons.append(error.message)
            return ()

    found = await gather_or_cancel(hetzner.find("servers", wanted), *(listed(kind) for kind in _SHARED))
    return tuple(resource for rows in found for resource in rows), " ".join(reasons)


async def delete_servers(
    hetzner: Hetzner, wanted: Mapping[str, str], *, note: Note, within_s: float, before: Before = no_preparation
) -> None:
    """Delete the servers that carry certain labels, and prove that they are gone; what they used stays.

    Args:
        hetzner: The project.
        wanted: The labels.
        note: Is given what is gone, also when something else is not.
        within_s: Deadline in seconds.
        before: Is awaited before the first deletion.

    Raises:
        LeftOver: One is still there, at the deadline or because the cloud refuses to delete it.
    """
    found = await list_resources(hetzner, wanted, kinds=("servers",))
    await before(found)
    deletion = _Deletion(hetzner, wanted, found, unsure=False)

    async def ended() -> bool | None:
        await deletion.ask()
        if not deletion.is_over:
            await deletion.look()
        return True if deletion.is_over else None

    try:
        with contextlib.suppress(WaitTimeout):
            await until(ended, every_s=_FIRST_S, growth=1.5, longest_s=5, within_s=within_s, what="The deletion")
    finally:
        note(deletion.gone)
    if deletion.left:
        raise deletion.left_over()


async def _quiet(hetzner: Hetzner, within_s: float) -> bool:
    try:
        await hetzner.wait_idle(within_s)
    except WaitTimeout:
        return False
    return True


class _Deletion:
    """What is left of some resources, what was asked of the cloud, and what it refused.

    While servers go, only their number is asked for, in one request however many there are: the list as last seen
    says which to ask for again, and is made anew when it must be wrong, or old.
    """

    def __init__(
        self, hetzner: Hetzner, wanted: Mapping[str, str], left: tuple[Resource, ...], *, unsure: bool
    ) -> None:
        self.left = left
        self.count = len(left)
        self._seen = {(resource.kind, resource.id): resource for resource in left}
        self._hetzner = hetzner
        self._wanted = wanted
        self.is_unsure = unsure
        self._fresh = Deadline(_ASK_AGAIN_S)
        self._asked: dict[tuple[str, int], Deadline] = {}
        self._actions: dict[tuple[str, int], int] = {}
        self._failed: dict[tuple[str, int], str] = {}
        self._doubt = Deadline(_SOON_S)
        self._refused: dict[tuple[str, int], str] = {}
        self._unseen = ""
        self._others: dict[int, Server | None] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing is left, or nothing that may still go: what servers use stays as long as they do."""
        return not self.is_unsure and all((resource.kind, resource.id) in self._refused for resource in self._due())

    @property
    def is_clear(self) -> bool:
        """Whether there are no servers any more."""
        return not any(resource.kind == "servers" for resource in self.left)

    @property
    def gone(self) -> tuple[Resource, ...]:
        """What was there and is not any more, as it was when it was last seen."""
        left = {(resource.kind, resource.id) for resource in self.left}
        return tuple(resource for key, resource in self._seen.items() if key not in left)

    def _due(self) -> tuple[Resource, ...]:
        """The servers, or, when there are none any more, what they used."""
        return tuple(resource for resource in self.left if resource.kind == "servers") or self.left

    async def ask(self) -> None:
        """Ask for the end of what may go and was not asked for in the last seconds."""
        if self.is_clear and not await self._hold_back():
            return
        await gather_or_cancel(*(self._ask_for(resource) for resource in self._due()))

    async def _ask_for(self, resource: Resource) -> None:
        key = (resource.kind, resource.id)
        if key in self._refused or (key in self._asked and self._asked[key].left_s):
            return
        try:
            ending = await self._hetzner.delete(resource)
            if ending is not None:
                self._asked[key] = Deadline(_ASK_AGAIN_S)
                if ending.action is not None:
                    self._actions[key] = ending.action
        except (CloudError, TokenRefused) as error:
            self._refused[key] = error.message
        except CloudUnreachable:
            return  # asked again until the deadline

    async def _hold_back(self) -> bool:
        """Refuse to delete what servers use that are not found by the labels: it is all that leads to them.

        Returns:
            Whether it is known who uses what is left.
        """
        shared = [one for one in self.left if isinstance(one, Shared)]
        ours = {number for kind, number in self._seen if kind == "servers"}
        unknown = {number for one in shared for number in one.used_by} - ours - self._others.keys()
        if unknown:
            try:
                servers = {one.id: one for one in await self._hetzner.every("servers") if isinstance(one, Server)}
            except CloudUnreachable:
                return False  # asked again until the deadline
            except (CloudError, TokenRefused):
                return True
            for number in unknown:
                found = servers.get(number)
                if found is None or found.status == "deleting":
                    self._others[number] = None
                elif self._wanted.items() <= found.labels.items():
                    self.is_unsure = True  # it was made after the list: another one shows it
                else:
                    self._others[number] = found
        for one in shared:
            if isinstance(one, Firewall) and one.selectors:
                self._refused.setdefault((one.kind, one.id), selection_warning(one))
            if any(self._others.get(number) for number in one.used_by):
                self._refused.setdefault((one.kind, one.id), "")
        return True

    async def look(self) -> None:
        """Look what is left; what servers use cannot go before them and is not looked at while there are any."""
        before = self.count
        await self._look()
        if self.count < before:
            self._doubt = Deadline(_SOON_S)
        elif not self._doubt.left_s:
            self._doubt = Deadline(min(2 * self._doubt.within_s, _LONGEST_DOUBT_S))
            with contextlib.suppress(Exception):  # whatever keeps the cloud from telling why keeps nothing from going
                await self._find_failures()

    async def _find_failures(self) -> None:
        """Have servers asked for again at once whose deletion the cloud began and failed to do."""
        left = {(resource.kind, resource.id) for resource in self.left}
        owners = {number: key for key, number in self._actions.items() if key in left}
        async with timeout_after(_REASON_S):
            failed = await self._hetzner.failed_actions(tuple(owners))
        for number, reason in failed.items():
            if (key := owners.get(number)) is not None:
                self._failed[key] = f"The cloud failed to delete {self._seen[key].description} ({reason})."
                del self._actions[key]
                self._asked.pop(key, None)

    async def _look(self) -> None:
        servers = [resource for resource in self.left if resource.kind == "servers"]
        others = tuple(resource for resource in self.left if resource.kind != "servers")
        if self.is_unsure:
            await self._list()
        elif not servers:
            self.left = await list_resources(self._hetzner, self._wanted, kinds=_SHARED)
            self.count = len(self.left)
        else:
            count = await self._hetzner.count("servers", self._wanted)
            self.count = count + len(others)
            if count == 0:
                self.left = others
            elif not self._refused_of(servers) < count <= len(servers) or not self._fresh.left_s:
                await self._list()

    async def _list(self) -> None:
        self.left, self._unseen = await _look_at_all(self._hetzner, self._wanted)
        self.count = len(self.left)
        self._seen |= {(resource.kind, resource.id): resource for resource in self.left}
        self.is_unsure = bool(self._unseen)
        self._fresh = Deadline(_ASK_AGAIN_S)

    def _refused_of(self, servers: Iterable[Resource]) -> int:
        return sum((server.kind, server.id) in self._refused for server in servers)

    async def look_again(self) -> None:
        """Look at everything, as far as the cloud answers."""
        try:
            await self._list()
            with contextlib.suppress(Exception):  # why it is there is told if the cloud says so
                await self._find_failures()
        except (CloudError, CloudUnreachable, TokenRefused) as error:
            self._unseen = error.message

    def left_over(self) -> LeftOver:
        """The error that names what is left, and why as far as the cloud said."""
        names = tuple(resource.description for resource in self.left)
        found = [(one, [used for used in self.left if _uses(one, used)]) for one in self._others.values() if one]
        others = [(one, used) for one, used in found if used or is_ours(one, self._wanted)]
        users = [network_warning(one, used, self._wanted) for one, used in others]
        failed = [self._failed[key] for one in self.left if (key := (one.kind, one.id)) in self._failed]
        reasons = " ".join(
            dict.fromkeys(one for one in (*self._refused.values(), *failed, *users, self._unseen) if one)
        )
        why = f" {reasons}" if reasons else ""
        what = ", ".join(names)
        names += tuple(one.description for one, _ in others if is_ours(one, self._wanted))
        if not names:
            seen, names = "It cannot be seen whether something is left", (f"cluster {self._wanted['prefix']}",)
        elif self._unseen:
            seen = f"What was last seen cannot be looked at now: {what}"
        else:
            seen = f"The cloud still lists {what}"
        return LeftOver(f"{seen}.{why} To try again: {_how_to_nuke(self._wanted)}.", left_over=names)


def _uses(server: Server, one: Resource) -> bool:
    return isinstance(one, Shared) and server.id in one.used_by


def unproven_deletion(error: BaseException, wanted: Mapping[str, str]) -> LeftOver:
    """The error that says of a deletion that broke off, for whatever reason, that something may be left.

    Args:
        error: Why it broke off.
        wanted: The labels of what was to be deleted.
    """
    reason = error.message if isinstance(error, ScherbelbergError) else f"{type(error).__name__}: {error}."
    return LeftOver(
        f"The clean-up failed: {reason} Something may be left; to try again: {_how_to_nuke(wanted)}.",
        left_over=(f"cluster {wanted['prefix']}",),
    )


async def require_no_unlabelled(hetzner: Hetzner, wanted: Mapping[str, str]) -> None:
    """Look for servers that have lost a cluster's labels, among all of the project's.

    Args:
        hetzner: The project.
        wanted: The labels.

    Raises:
        LeftOver: There are some.
    """
    found = await hetzner.every("servers")
    lost = [one for one in found if is_ours(one, wanted) and not wanted.items() <= one.labels.items()]
    if lost:
        sentences = " ".join(network_warning(one, (), wanted) for one in lost)
        raise LeftOver(sentences, left_over=tuple(one.description for one in lost))


def _how_to_nuke(wanted: Mapping[str, str]) -> str:
    return f"'scherbelberg nuke -p {wanted['prefix']}'"


@contextlib.asynccontextmanager
async def undo_on_failure(
    hetzner: Hetzner,
    identity: Identity,
    *,
    listener: Listener,
    timeouts: Timeouts,
    note: Note,
    keep: bool = False,
    before: Before = no_preparation,
    proof: Proof = by_labels,
) -> AsyncIterator[None]:
    """Give everything back that carries a cluster's uid when what stands inside fails or is interrupted in any way.

    Args:
        hetzner: The project.
        identity: Whose resources.
        listener: Is told of the deletion.
        timeouts: Deadlines in seconds.
        note: Is given what was given back.
        keep: Whether an error leaves them as they are; an interrupt never does.
        before: Is awaited before the first deletion.
        proof: Is awaited when nothing is listed any more.

    Raises:
        LeftOver: Something was still there at the deadline, or the deletion broke off; the first error is its cause.
    """
    try:
        yield
    except BaseException as cause:
        if keep and isinstance(cause, Exception):
            raise
        wanted = selector(prefix=identity.prefix, uid=identity.uid)
        undo = partial(
            delete_all, hetzner, wanted, listener=listener, timeouts=timeouts, note=note, before=before, proof=proof
        )
        is_proven = False

        async def undone() -> None:
            nonlocal is_proven
            await _insist(undo, within_s=timeouts.delete)
            is_proven = True

        try:
            await shield_to_end(undone())
        except BaseException as error:
            if is_proven:
                raise  # who was cancelled meanwhile hears of that
            left_over = error if isinstance(error, LeftOver) else unproven_deletion(error, wanted)
            raise (left_over.after(cause) if isinstance(cause, ScherbelbergError) else left_over) from cause
        raise


async def _insist(undo: Callable[[], Awaitable[None]], *, within_s: float) -> None:
    """Undo something, with more patience for a cloud that does not answer than for other works."""
    deadline = Deadline(within_s)
    while True:
        try:
            return await undo()
        except CloudUnreachable:
            if not deadline.left_s:
                raise
            await pause(min(_FIRST_S, deadline.left_s))


def _guard_interrupts(listener: Listener) -> Listener:
    """A listener whose own errors do not stop a deletion."""

    def tell(event: Event) -> None:
        with contextlib.suppress(BaseException):  # also SystemExit: what was rented is given back first
            listener(event)

    return tell
