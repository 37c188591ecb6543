# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arguments of scherbelberg 0.0.6 and what has taken their place; and a hint where a name is none at all."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

from attrs import evolve, fields, frozen

from scherbelberg.errors import BadInput
from scherbelberg.spec.model import DEFAULT_RANGE, ClusterSpec, Ports

_PORTS = {"dask_ipc": "scheduler", "dask_dash": "dashboard", "dask_nanny": "nanny"}
_SUCCESSORS = {
    "tokenvar": "token=",
    "wait": "timeouts=Timeouts(...), as deadlines in seconds; it has no effect any more",
    "datacenter": "location=, which is all that comes before the dash, such as 'fsn1' of 'fsn1-dc14'",
    **{old: f"ports=Ports({new}=...)" for old, new in _PORTS.items()},
}
#: What the arguments of the calls themselves are called, for hints.
_CALLED = (
    "environ",
    "secrets",
    "dask_config",
    "client",
    "keep",
    "agree",
    "listen",
    "log",
    "token",
    "endpoint",
    "settings",
)


@frozen(kw_only=True)
class ParsedArguments:
    """Arguments as they are called today.

    Args:
        spec: What was given as the spec.
        fields: Fields of `ClusterSpec` by name.
        token_variable: Name of the environment variable with the token, or None.
    """

    spec: ClusterSpec | None
    fields: Mapping[str, Any]
    token_variable: str | None

    def to_spec(self, network_range: str) -> ClusterSpec:
        """Spec and fields together.

        Args:
            network_range: The surroundings' own. Where they have one, as a sandbox does, no other one is of any use.
        """
        spec = self.spec or ClusterSpec()
        own = {"network_range": network_range} if spec.network_range == DEFAULT_RANGE else {}
        return evolve(spec, **own | dict(self.fields))


def parse_legacy_arguments(spec: ClusterSpec | str | None, given: Mapping[str, Any], *, call: str) -> ParsedArguments:
    """Turn what a caller gave by name into what it is called today, with a warning for each old name.

    Args:
        spec: The spec, or, as of old, the prefix.
        given: Arguments by name that the call itself does not know.
        call: The call's name, for errors.

    Raises:
        TypeError: There is no such argument; the nearest name is suggested.
        BadInput: An old argument contradicts its successor.
    """
    asked = {name: value for name, value in given.items() if name not in _SUCCESSORS}
    _check_names(asked, known=(*(one.name for one in fields(ClusterSpec)), *_CALLED), call=call)
    for name in given:
        if name in _SUCCESSORS:
            _warn(f"The argument '{name}' is of scherbelberg 0.0.6: use {_SUCCESSORS[name]}.")
    if isinstance(spec, str):
        _warn("A prefix without its name is of scherbelberg 0.0.6: use prefix=.")
        spec, asked = None, {"prefix": spec, **asked}
    if given.get("datacenter") is not None:
        _add(asked, "location", str(given["datacenter"]).partition("-")[0], "datacenter")
    ports = {new: given[old] for old, new in _PORTS.items() if old in given}
    if ports:
        _add(asked, "ports", evolve(spec.ports if spec else Ports(), **ports), ", ".join(_PORTS))
    return ParsedArguments(spec=spec, fields=asked, token_variable=given.get("tokenvar"))


def old_token_variable(given: Mapping[str, Any], *, call: str) -> str | None:
    """Take the old arguments of a call that makes nothing; all but ``tokenvar`` have no meaning there any more.

    Args:
        given: Arguments by name that the call itself does not know.
        call: The call's name, for errors.

    Returns:
        Name of the environment variable with the token, or None.

    Raises:
        TypeError: There is no such argument; the nearest name is suggested.
    """
    unknown = {name: value for name, value in given.items() if name not in _SUCCESSORS}
    _check_names(unknown, known=("prefix", "listen", "log", "token", "endpoint", "settings"), call=call)
    for name in given:
        use = "token=" if name == "tokenvar" else "nothing, since it is remembered since the cluster was made"
        _warn(f"The argument '{name}' is of scherbelberg 0.0.6: use {use}.")
    variable: str | None = given.get("tokenvar")
    return variable


def _check_names(given: Mapping[str, Any], *, known: tuple[str, ...], call: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}."
            raise TypeError(f"{call} has no argument '{name}': {hint}")


def _add(asked: dict[str, Any], name: str, value: Any, old: str) -> None:
    if asked.setdefault(name, value) != value:
        raise BadInput(f"The old argument {old} and '{name}' contradict each other. Remove the old one.")


def _warn(text: str) -> None:
    # At whom: this function, the one above, the call of either face, and then the caller's own line.
    warnings.warn(text, DeprecationWarning, stacklevel=4)
