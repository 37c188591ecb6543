# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How a sandbox is; and options, faults and clock as JSON documents, whose keys are the fields of the values."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar, get_args

from attrs import asdict, field, frozen, validators

from scherbelberg.errors import BadInput
from scherbelberg.sandbox.faults import (
    NO_FAULTS,
    ActionFault,
    Faults,
    HostFault,
    HostFaultKind,
    RequestFault,
    SoldOut,
)

_Hosts = Literal["process", "scripted", "machine"]
#: Releases of Debian, from the one that is like Ubuntu 22.04 to the one that is like 26.04.
BaseRelease = Literal["bookworm", "trixie", "sid"]
#: What hosts can do wrong: others have no part to play, or a kernel of their own.
_POSSIBLE_FAULTS: dict[_Hosts, tuple[HostFaultKind, ...]] = {
    "scripted": get_args(HostFaultKind),
    "process": ("silent", "mute", "wrong_key", "fails", "dies", "hangs"),
    "machine": ("silent", "no_interface"),
}
_factor: Any = validators.and_(validators.instance_of((int, float)), validators.ge(0))
#: A century: dates stay dates.
_MAX_AHEAD_S = 100 * 365.0 * 86400
_NESTED: dict[str, Any] = {"requests": RequestFault, "sold_out": SoldOut, "actions": ActionFault, "hosts": HostFault}


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

    hosts: _Hosts = field(default="process", validator=validators.in_(get_args(_Hosts)))
    time_scale: float = field(default=1.0, validator=_factor)
    realistic: bool = field(default=False, validator=validators.instance_of(bool))
    faults: Faults = NO_FAULTS
    node_python: str | None = field(default=None, validator=validators.optional(validators.instance_of(str)))
    base: BaseRelease | None = field(default=None, validator=validators.optional(validators.in_(get_args(BaseRelease))))

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
            if fault.how not in _POSSIBLE_FAULTS[self.hosts]:
                raise BadInput(f"Hosts of the kind '{self.hosts}' cannot be told to go wrong by '{fault.how}'.")
        return faults


USUAL = Options()
Value = TypeVar("Value", Faults, Options, RequestFault, SoldOut, ActionFault, HostFault)


def read_faults(text: str) -> Faults:
    """Read what goes wrong on purpose.

    Args:
        text: A JSON object.

    Raises:
        BadInput: It is none, or has keys or values that there are not.
    """
    return _faults(_object(text))


def read_options(text: str) -> Options:
    """Read how a sandbox is.

    Args:
        text: A JSON object.

    Raises:
        BadInput: It is none, or has keys or values that there are not.
    """
    row = _object(text)
    return _make(Options, row | {"faults": _faults(row.get("faults", {}))})


def write_json(value: Faults | Options) -> str:
    """Write options or faults."""
    return json.dumps(asdict(value))


def read_ahead(text: str) -> float:
    """Read by how much the clock is to be ahead of this computer's.

    Args:
        text: A JSON object with ``ahead_s``, in seconds.

    Raises:
        BadInput: It is none, or says no such number.
    """
    row = _object(text)
    ahead_s = row.get("ahead_s")
    fits = isinstance(ahead_s, int | float) and not isinstance(ahead_s, bool) and 0 <= ahead_s <= _MAX_AHEAD_S
    if set(row) != {"ahead_s"} or ahead_s is None or not fits:
        raise BadInput('The clock of the sandbox: {"ahead_s": 3600} is needed here, in seconds.')
    return float(ahead_s)


def write_ahead(ahead_s: float) -> str:
    """Write by how much the clock is ahead.

    Args:
        ahead_s: In seconds.
    """
    return json.dumps({"ahead_s": ahead_s})


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise BadInput(f"This is no JSON: {error}.") from None
    if not isinstance(row, dict):
        raise BadInput("A JSON object is needed here.")
    return row


def _faults(row: dict[str, Any]) -> Faults:
    values = dict(row)
    for name, kind in _NESTED.items():
        values[name] = tuple(_make(kind, one) for one in _rows(values, name))
    values["dead"] = tuple(_rows(values, "dead"))
    return _make(Faults, values)


def _rows(values: dict[str, Any], name: str) -> list[Any]:
    rows = values.get(name, [])
    if not isinstance(rows, list):
        raise BadInput(f"Faults of the sandbox: '{name}' must be a list.")
    return rows


def _make(kind: type[Value], row: dict[str, Any]) -> Value:
    if not isinstance(row, dict):
        raise BadInput(f"{kind.__name__} of the sandbox: {row!r} must be an object.")
    try:
        return kind(**row)
    except (TypeError, ValueError) as error:
        # attrs names the class's method: what went wrong comes last.
        raise BadInput(f"{kind.__name__} of the sandbox: {str(error.args[0]).split('() ')[-1]}.") from None
