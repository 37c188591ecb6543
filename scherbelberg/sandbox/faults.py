# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong on purpose: the faults, and how requests and hosts learn of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from attrs import field, frozen, validators

#: Hetzner says "no stock" in these ways: 412 ``resource_unavailable`` for an error during placement or a disabled
#: location, and 422 ``invalid_input`` for an unsupported location or a deprecated type that are neither.
Disguise = Literal["placement", "location_disabled", "unsupported_location", "deprecated_type"]
_Trouble = Literal["error", "drop_before", "drop_after", "slow", "trickle"]
_Ending = Literal["error", "endless"]
#: Phases of the script that runs on a node.
ScriptPhase = Literal["hostkey", "download", "miniforge", "environment", "tls", "service"]
#: ``silent`` does not even refuse connections until it has booted, ``mute`` takes them and never says a word,
#: ``wrong_key`` proves itself with a host key that nobody planted. In a phase of the script, ``fails`` ends it,
#: ``dies`` is a machine that is gone all at once, ``hangs`` says no more. ``no_interface`` never gets its private
#: address, ``never_joins`` never finds its scheduler, ``no_logs`` is asked for its logs in vain, and the image of
#: ``no_program`` lacks one that nodes need.
HostFaultKind = Literal[
    "silent", "mute", "wrong_key", "fails", "dies", "hangs", "no_interface", "never_joins", "no_logs", "no_program"
]

_text = validators.instance_of(str)
_count: Any = validators.and_(validators.instance_of(int), validators.ge(0))
_ordinal: Any = validators.and_(validators.instance_of(int), validators.ge(1))
_ordinal_or_none: Any = validators.optional(_ordinal)
_seconds: Any = validators.and_(validators.instance_of((int, float)), validators.ge(0))

#: What happens to a host in the middle of the script.
_IN_PHASE: tuple[HostFaultKind, ...] = ("fails", "dies", "hangs")


def _one_of(choice: object) -> Any:
    return validators.in_(get_args(choice))


@frozen(kw_only=True)
class RequestFault:
    """A request that goes wrong.

    Args:
        number: Which, counted from 1 since the faults were set, among those that match.
        method: HTTP method that matches, or ``*``.
        path: Pattern of the paths below ``/v1`` that match, such as ``/servers/*``.
        how: ``error`` answers status and code and leaves the work undone; ``drop_before`` closes the connection and
            leaves the work undone; ``drop_after`` does the work and then closes the connection without an answer;
            ``slow`` waits and then does the work; ``trickle`` does the work and then answers byte by byte.
        status: HTTP status of an ``error``.
        code: The API's code of an ``error``.
        slow_s: Seconds that a ``slow`` one waits, and that the answer of a ``trickle`` takes.
        times: How many in a row go wrong, beginning with that one; None for all from then on.
    """

    number: int = field(default=1, validator=_ordinal)
    method: str = field(default="*", validator=_text)
    path: str = field(default="*", validator=_text)
    how: _Trouble = field(default="error", validator=_one_of(_Trouble))
    status: int = field(default=403, validator=_count)
    code: str = field(default="forbidden", validator=_text)
    slow_s: float = field(default=0.0, validator=_seconds)
    times: int | None = field(default=1, validator=_ordinal_or_none)

    def hits(self, count: int) -> bool:
        """Whether the request of this number among those that match goes wrong."""
        return self.number <= count and (self.times is None or count < self.number + self.times)


@frozen(kw_only=True)
class SoldOut:
    """No stock of a server type in a location.

    Args:
        server_type: Pattern of the types' names.
        location: Pattern of the locations' names.
        disguise: How the cloud says so.
    """

    server_type: str = field(default="*", validator=_text)
    location: str = field(default="*", validator=_text)
    disguise: Disguise = field(default="placement", validator=_one_of(Disguise))


@frozen(kw_only=True)
class ActionFault:
    """Actions that go wrong.

    Args:
        command: Pattern of their commands, such as ``start_server``.
        server: Pattern of the names of the servers that they concern.
        how: ``error`` ends them in an error after their usual time, with their work undone; ``endless`` never ends
            them. A server whose action never ends can still be deleted.
        code: The code of an ``error``.
    """

    command: str = field(default="*", validator=_text)
    server: str = field(default="*", validator=_text)
    how: _Ending = field(default="error", validator=_one_of(_Ending))
    code: str = field(default="action_failed", validator=_text)


@frozen(kw_only=True)
class HostFault:
    """Hosts that go wrong.

    Args:
        server: Pattern of the names of their servers.
        how: What is wrong with them.
        phase: In which phase of the script a host ``fails``, ``dies`` or ``hangs``, right after its start was told.
    """

    server: str = field(default="*", validator=_text)
    how: HostFaultKind = field(validator=_one_of(HostFaultKind))
    phase: ScriptPhase = field(default="environment", validator=_one_of(ScriptPhase))


@frozen(kw_only=True)
class Faults:
    """What goes wrong on purpose.

    Args:
        requests: Requests.
        sold_out: Stock.
        actions: Actions.
        hosts: Hosts.
        dead: Patterns of the names of servers that never boot: they count as running, and SSH does not answer.
        slow_s: Seconds that every request waits before it is worked on.
        servers: Most servers that the account may have, or None for any number.
        primary_ips: Most primary IPs that it may have, or None for any number.
    """

    requests: tuple[RequestFault, ...] = ()
    sold_out: tuple[SoldOut, ...] = ()
    actions: tuple[ActionFault, ...] = ()
    hosts: tuple[HostFault, ...] = ()
    dead: tuple[str, ...] = field(default=(), validator=validators.deep_iterable(_text))
    slow_s: float = field(default=0.0, validator=_seconds)
    servers: int | None = field(default=None, validator=validators.optional(_count))
    primary_ips: int | None = field(default=None, validator=validators.optional(_count))

    def of_host(self, name: str) -> tuple[HostFault, ...]:
        """What is wrong with the host of a server.

        Args:
            name: The server's name.
        """
        return tuple(fault for fault in self.hosts if fnmatchcase(name, fault.server))


NO_FAULTS = Faults()


class FaultInjector:
    """Counts requests and tells which of them fails.

    Args:
        faults: What goes wrong.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._counts = [0] * len(faults.requests)

    def next(self, method: str, path: str) -> RequestFault | None:
        """Count a request.

        Args:
            method: HTTP method.
            path: Below ``/v1``.

        Returns:
            What goes wrong with it, or None.
        """
        found = None
        for index, fault in enumerate(self.faults.requests):
            if fault.method in ("*", method) and fnmatchcase(path, fault.path):
                self._counts[index] += 1
                if fault.hits(self._counts[index]):
                    found = found or fault
        return found


#: Tells by a server's name what is wrong with its host at the time of asking.
FindHostFaults = Callable[[str], Sequence[HostFault]]


def no_host_faults(_name: str) -> Sequence[HostFault]:
    """Find nothing wrong."""
    return ()


class HostFaults:
    """One host's, which may change at any time.

    Args:
        name: Its server's name.
        find_faults: Tells what is wrong with it.
    """

    def __init__(self, name: str, find_faults: FindHostFaults) -> None:
        self._name = name
        self._find_faults = find_faults

    def has(self, how: HostFaultKind) -> bool:
        """Whether something is wrong with it at present.

        Args:
            how: What.
        """
        return any(fault.how == how for fault in self._find_faults(self._name))

    def in_phase(self, phase: str) -> HostFaultKind | None:
        """What happens to it in a phase of the script that begins now: it fails, dies, hangs, or none of these.

        Args:
            phase: Which.
        """
        found = (one.how for one in self._find_faults(self._name) if one.how in _IN_PHASE and one.phase == phase)
        return next(found, None)


NO_HOST_FAULTS = HostFaults("", no_host_faults)
