# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Creates that stand still where a test looks at them, however slow the test's own computer is."""

from __future__ import annotations

from scherbelberg.sandbox.faults import Faults, HostFault, HostFaultKind, ScriptPhase


def _hosts(how: HostFaultKind, phase: ScriptPhase = "environment") -> Faults:
    return Faults(hosts=(HostFault(how=how, phase=phase),))


#: By the moment of which a create tells last: what keeps scripted hosts from going on.
STANDSTILL = {
    "network start": _hosts("mute"),
    "rent start": _hosts("mute"),
    "reach start": _hosts("mute"),
    "reach done": _hosts("hangs", "hostkey"),
    "environment start": _hosts("hangs", "environment"),
    "tls start": _hosts("hangs", "tls"),
    "service start": _hosts("hangs", "service"),
    "proof start": _hosts("never_joins"),
}
