# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The values that the sandbox shares with those who use it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from attrs import field, frozen, validators

from scherbelberg.errors import BadInput

#: Hetzner says "no stock" in these ways: 412 ``resource_unavailable`` for an error during placement or a disabled
#: location, and 422 ``invalid_input`` for an unsupported location or a deprecated type that are neither.
Disguise = Literal["placement", "location_disabled", "unsupported_location", "deprecated_type"]
_Trouble = Literal["error", "drop_before", "drop_after", "slow", "trickle"]
_Ending = Literal["error", "endless"]
_Hosts = Literal["process", "scripted", "machine"]
#: Releases of Debian, from the one that is like Ubuntu 22.04 to the one that is like 26.04.
BaseRelease = Literal["bookworm", "trixie", "sid"]
#: Phases of the script that runs on a node.
Part = Literal["hostkey", "download", "miniforge", "environment", "tls", "service"]
#: ``silent`` does not even refuse connections until it has booted, ``mute`` takes them and never says a word,
#: ``wrong_key`` proves itself with a host key that nobody planted. In a phase of the script, ``fails`` ends it,
#: ``dies`` is a machine that is gone all at once, ``hangs`` says no more. ``no_interface`` never gets its private
#: address, ``never_joins`` never finds its scheduler, ``no_logs`` is asked for its logs in vain, and the image of
#: ``no_program`` lacks one that nodes need.
Ailment = Literal[
    "silent", "mute", "wrong_key", "fails", "dies", "hangs", "no_interface", "never_joins", "no_logs", "no_program"
]
#: What hosts can do wrong: others have no part to play, or a kernel of their own.
_ABLE: dict[_Hosts, tuple[Ailment, ...]] = {
    "scripted": get_args(Ailment),
    "process": ("silent", "mute", "wrong_key", "fails", "dies", "hangs"),
    "machine": ("silent", "no_interface"),
}

_text = validators.instance_of(str)
_count: Any = validators.and_(validators.instance_of(int), validators.ge(0))
_ordinal: Any = validators.and_(validators.instance_of(int), validators.ge(1))
_ordinal_or_none: Any = validators.optional(_ordinal)
_seconds: Any = validators.and_(validators.instance_of((int, float)), validators.ge(0))


def _words(choice: object) -> Any:
    return validators.in_(get_args(choice))


@frozen(kw_only=True)
class SandboxSettings:
    """What a client needs in order to use a sandbox.

    Args:
        endpoint: URL of the API, without a slash at its end.
        token: The project's API token.
        read_token: Another one, which may only read.
        ssh_port: TCP port on which every host's SSH server listens.
        network_range: Range in which private networks must lie.
    """

    endpoint: str
    token: str = field(repr=False)
    read_token: str = field(repr=False)
    ssh_port: int
    network_range: str


@frozen(kw_only=True)
class Delays:
    """How long things take, in seconds at time scale 1.

    Args:
        create_s: From a request until the server exists.
        start_s: Until the server counts as running.
        boot_s: From there until SSH answers, at least.
        boot_spread_s: What the slowest host takes longer.
        attach_s: Until a running server is in its network, or out of it.
        firewall_s: Until a firewall's change is in force on a server.
        stop_s: Until a server is off.
        delete_s: Until a server is gone.
        image_s: Until a snapshot is made, or a server has another type.
    """

    create_s: float = 2.0
    start_s: float = 1.0
    boot_s: float = 2.0
    boot_spread_s: float = 2.0
    attach_s: float = 1.0
    firewall_s: float = 0.2
    stop_s: float = 0.5
    delete_s: float = 1.0
    image_s: float = 2.0


#: As slow as the cloud itself, where a new server takes 20 to 40 seconds to answer.
REALISTIC = Delays(create_s=4.0, start_s=2.0, boot_s=20.0, boot_spread_s=20.0, image_s=60.0)


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
    how: _Trouble = field(default="error", validator=_words(_Trouble))
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
    disguise: Disguise = field(default="placement", validator=_words(Disguise))


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
    how: _Ending = field(default="error", validator=_words(_Ending))
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
    how: Ailment = field(validator=_words(Ailment))
    phase: Part = field(default="environment", validator=_words(Part))


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


@frozen(kw_only=True)
class Options:
    """How a sandbox is.

    Args:
        hosts: What its servers are: ``process``, real SSH servers with real shells and real Dask on loopback addresses;
            ``scripted``, SSH servers that play the node's part of a bootstrap, for hundreds of nodes; or ``machine``,
            a booted systemd each in a network namespace of its own, which needs root.
        time_scale: Factor of all delays.
        realistic: Whether delays are as long as the cloud's own.
        faults: What goes wrong on purpose in the beginning.
        node_python: Path of the Python that the image of ``process`` hosts has; None for the one that runs the sandbox.
        base: The release of Debian that ``machine`` hosts boot; None for that of this computer.
    """

    hosts: _Hosts = field(default="process", validator=_words(_Hosts))
    time_scale: float = field(default=1.0, validator=_seconds)
    realistic: bool = field(default=False, validator=validators.instance_of(bool))
    faults: Faults = NO_FAULTS
    node_python: str | None = field(default=None, validator=validators.optional(_text))
    base: BaseRelease | None = field(default=None, validator=validators.optional(_words(BaseRelease)))

    def __attrs_post_init__(self) -> None:
        """Refuse what the hosts have no use for.

        Raises:
            BadInput: They have no Python of their own to choose, or no system.
        """
        if self.node_python is not None and self.hosts != "process":
            raise BadInput(f"Hosts of the kind '{self.hosts}' cannot have another Python; 'process' ones can.")
        if self.base is not None and self.hosts != "machine":
            raise BadInput(f"Hosts of the kind '{self.hosts}' boot no system; those of the kind 'machine' do.")

    @property
    def delays(self) -> Delays:
        """How long things take at time scale 1."""
        return REALISTIC if self.realistic else Delays()

    def check(self, faults: Faults) -> Faults:
        """See that the hosts can do what they are told to.

        Args:
            faults: What goes wrong on purpose.

        Raises:
            BadInput: They cannot.
        """
        for fault in faults.hosts:
            if fault.how not in _ABLE[self.hosts]:
                raise BadInput(f"Hosts of the kind '{self.hosts}' cannot be told to go wrong by '{fault.how}'.")
        return faults


USUAL = Options()
