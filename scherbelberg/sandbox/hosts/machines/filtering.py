# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A server's firewalls as nftables has them: pure text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, collapse_addresses, ip_network
from typing import Any

#: The interface to which firewalls apply; private ones are not filtered, as on Hetzner.
PUBLIC = "eth0"
_TABLE = "inet sandbox"
#: Beside the firewalls, which change while it is in force.
_SILENCE = "inet silence"


def ruleset(rules: Sequence[Mapping[str, Any]] | None) -> str:
    """Write a script for nft that replaces all rules.

    Args:
        rules: Those of all firewalls of a server, as the API has them; None if it has no firewall and all is open.
    """
    lines = [f"add table {_TABLE}", f"delete table {_TABLE}"]
    if rules is not None:
        lines.append(f"table {_TABLE} {{")
        lines += _chain("input", "iifname", [_line(rule, "source_ips", "saddr") for rule in rules if _is(rule, "in")])
        outgoing = [_line(rule, "destination_ips", "daddr") for rule in rules if _is(rule, "out")]
        if outgoing:  # without a rule for it, everything may go out
            lines += _chain("output", "oifname", outgoing)
        lines.append("}")
    return "\n".join(lines) + "\n"


def silence(*, port: int) -> str:
    """Write a script for nft by which a port answers nothing from outside; firewalls hold as before.

    Args:
        port: Which.
    """
    rules = (f'iifname "{PUBLIC}" tcp dport {port} drop',)
    chain = ["chain input {", "type filter hook input priority -20; policy accept;", *rules, "}"]
    return "\n".join([f"{end_of_silence()}table {_SILENCE} {{", *chain, "}"]) + "\n"


def end_of_silence() -> str:
    """Write a script for nft that ends it, or does nothing."""
    return f"add table {_SILENCE}\ndelete table {_SILENCE}\n"


def _is(rule: Mapping[str, Any], direction: str) -> bool:
    return bool(rule["direction"] == direction)


def _chain(hook: str, interface: str, accepted: Iterable[str | None]) -> list[str]:
    return [
        f"chain {hook} {{",
        f"type filter hook {hook} priority -10; policy accept;",
        f'{interface} != "{PUBLIC}" accept',
        "ct state established,related accept",
        *(line for line in accepted if line is not None),
        "drop",
        "}",
    ]


def _line(rule: Mapping[str, Any], field: str, side: str) -> str | None:
    """What a rule lets through; None for a rule about IPv6 alone, which machines do not have."""
    networks = [network for word in rule[field] if isinstance(network := ip_network(word), IPv4Network)]
    if not networks:
        return None
    merged = list(collapse_addresses(networks))
    words = [] if merged[0].prefixlen == 0 else [f"ip {side} {{ {', '.join(map(str, merged))} }}"]
    protocol, port = rule["protocol"], rule.get("port")
    with_port = protocol in ("tcp", "udp") and port != "any"
    words.append(f"{protocol} dport {port}" if with_port else f"meta l4proto {protocol}")
    return " ".join((*words, "accept"))
