# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong with hosts on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scherbelberg.sandbox.words import Ailment, HostFault

#: Tells by a server's name what is wrong with its host at the time of asking.
Diagnose = Callable[[str], Sequence[HostFault]]
#: What happens to a host in the middle of the script.
_IN_A_PHASE: tuple[Ailment, ...] = ("fails", "dies", "hangs")


def all_well(_name: str) -> Sequence[HostFault]:
    """Find nothing wrong."""
    return ()


class Health:
    """One host's, which may change at any time.

    Args:
        name: Its server's name.
        diagnose: Tells what is wrong with it.
    """

    def __init__(self, name: str, diagnose: Diagnose) -> None:
        self._name = name
        self._diagnose = diagnose

    def ails(self, how: Ailment) -> bool:
        """Whether something is wrong with it at present.

        Args:
            how: What.
        """
        return any(fault.how == how for fault in self._diagnose(self._name))

    def trouble(self, phase: str) -> Ailment | None:
        """What happens to it in a phase of the script that begins now: it fails, dies, hangs, or none of these.

        Args:
            phase: Which.
        """
        found = (one.how for one in self._diagnose(self._name) if one.how in _IN_A_PHASE and one.phase == phase)
        return next(found, None)


HEALTHY = Health("", all_well)
