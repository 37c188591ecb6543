# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Firewalls: rules, and what they apply to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from ipaddress import ip_network
from typing import Any

from scherbelberg.sandbox.api import checks
from scherbelberg.sandbox.api.listing import read_selector
from scherbelberg.sandbox.api.routing import Answer, Context, Request, Route, require_unlocked, shared_routes
from scherbelberg.sandbox.api.views import Json, head, show_action
from scherbelberg.sandbox.cloud.errors import ApiError, in_use, over_limit
from scherbelberg.sandbox.cloud.model import Firewall, Server
from scherbelberg.sandbox.cloud.networking import FIREWALLS_PER_SERVER

_RULES = 50
_PORTS = 65_535


def routes(context: Context) -> Iterable[Route]:
    """List what answers."""
    project = context.project
    firewalls = _Firewalls(context)
    yield from shared_routes(project, "firewalls", firewalls.show)
    yield "POST", "/firewalls", firewalls.make
    yield "DELETE", r"/firewalls/(\d+)", firewalls.remove
    yield "POST", r"/firewalls/(\d+)/actions/set_rules", firewalls.set_rules
    yield "POST", r"/firewalls/(\d+)/actions/apply_to_resources", firewalls.apply
    yield "POST", r"/firewalls/(\d+)/actions/remove_from_resources", firewalls.take_off


class _Firewalls:
    """Requests about firewalls.

    Args:
        project: The state.
        networking: Puts them in force.
    """

    def __init__(self, context: Context) -> None:
        self._project = context.project
        self._runner = context.runner
        self._networking = context.networking

    def show(self, firewall: Firewall) -> Json:
        """Show one."""
        servers = self._project.servers
        direct = [one for one in servers.values() if firewall.id in one.firewalls]
        return {
            **head(firewall),
            "rules": [_show_rule(rule) for rule in firewall.rules],
            "applied_to": [_show_server(server) for server in direct]
            + [_show_selector(words, firewall, servers.values()) for words in firewall.selectors],
        }

    def make(self, request: Request) -> Answer:
        """Add a firewall, and apply it."""
        known = {"name": checks.name, "labels": checks.labels, "rules": _RULE_LIST, "apply_to": _TARGETS}
        values = checks.read_fields(request.body, known, required=("name",))
        self._project.require_unique("firewalls", values["name"])
        targets = values.get("apply_to", [])
        servers = self._servers(targets, missing_status=422)
        firewall = Firewall(
            id=self._project.next_number(),
            created=self._project.clock.now(),
            name=values["name"],
            labels=values.get("labels", {}),
            rules=[],
        )
        _require_applicable(firewall, servers)
        self._project.firewalls[firewall.id] = firewall
        actions = [self._rules_action(firewall, values.get("rules", [])), *self._apply(firewall, servers, targets)]
        return Answer(201, {"firewall": self.show(firewall), "actions": actions})

    def remove(self, _request: Request, number: int) -> Answer:
        """Delete a firewall that nothing has any more."""
        firewall = self._find(number)
        if firewall.selectors or self._project.servers_behind(firewall):
            raise in_use("firewall", number)
        self._networking.forget_firewall(firewall)
        del self._project.firewalls[number]
        return Answer(204)

    def set_rules(self, request: Request, number: int) -> Answer:
        """Replace all rules."""
        firewall = self._find(number)
        values = checks.read_fields(request.body, {"rules": _RULE_LIST}, required=("rules",))
        return Answer(201, {"actions": [self._rules_action(firewall, values["rules"])]})

    def _rules_action(self, firewall: Firewall, rules: list[Json]) -> Json:
        replace = partial(setattr, firewall, "rules", rules)
        return show_action(self._runner.instant("set_firewall_rules", ("firewall", firewall), do=replace))

    def apply(self, request: Request, number: int) -> Answer:
        """Apply a firewall to servers and labels."""
        firewall = self._find(number)
        values = checks.read_fields(request.body, {"apply_to": _TARGETS}, required=("apply_to",))
        targets = values["apply_to"]
        servers = self._servers(targets)
        if any(firewall.id in server.firewalls for server in servers) or set(_selectors(targets)) & set(
            firewall.selectors
        ):
            raise ApiError(422, "firewall_already_applied", "firewall is already applied to this resource")
        _require_applicable(firewall, servers)
        return Answer(201, {"actions": self._apply(firewall, servers, targets)})

    def take_off(self, request: Request, number: int) -> Answer:
        """Remove a firewall from servers and labels."""
        firewall = self._find(number)
        values = checks.read_fields(request.body, {"remove_from": _TARGETS}, required=("remove_from",))
        targets = values["remove_from"]
        servers = self._servers(targets)
        for server in servers:
            if firewall.id in server.firewalls:
                require_unlocked(server)
            elif firewall.id in server.selected:
                raise ApiError(422, "firewall_managed_by_label_selector", "firewall is applied by a label selector")
            else:
                raise _absent(server.id)
        if not set(_selectors(targets)) <= set(firewall.selectors):
            raise _absent(", ".join(_selectors(targets)))
        for words in _selectors(targets):
            firewall.selectors.remove(words)
        self._networking.select(firewall, read_selectors(firewall))
        actions = [show_action(self._networking.remove_firewall(firewall, server)) for server in servers]
        return Answer(201, {"actions": actions or [self._rules_action(firewall, firewall.rules)]})

    def _apply(self, firewall: Firewall, servers: list[Server], targets: list[Json]) -> list[Json]:
        firewall.selectors += _selectors(targets)
        self._networking.select(firewall, read_selectors(firewall))
        return [show_action(self._networking.apply_firewall(firewall, server)) for server in servers]

    def _servers(self, targets: list[Json], *, missing_status: int = 404) -> list[Server]:
        numbers = [row["server"]["id"] for row in targets if row["type"] == "server"]
        for number in numbers:
            if number not in self._project.servers:
                raise ApiError(missing_status, "firewall_resource_not_found", f"server with ID '{number}' not found")
        if len(set(numbers)) < len(numbers):
            raise ApiError(422, "server_already_added", "a server is named more than once")
        return [self._project.servers[number] for number in numbers]

    def _find(self, number: int) -> Firewall:
        self._project.get("firewalls", number)
        return self._project.firewalls[number]


def _require_applicable(firewall: Firewall, servers: list[Server]) -> None:
    for server in servers:
        if server.ipv4 is None and server.ipv6 is None:
            raise ApiError(422, "private_net_only_server", "server has no public interface")
        require_unlocked(server)
        if len({*server.firewalls, *server.selected, firewall.id}) > FIREWALLS_PER_SERVER:
            raise over_limit("firewalls_per_server", f"a server has at most {FIREWALLS_PER_SERVER} firewalls")


def _absent(what: object) -> ApiError:
    return ApiError(404, "firewall_resource_not_found", f"firewall is not applied to {what}")


def read_selectors(firewall: Firewall) -> Any:
    """Make a test for the labels that a firewall selects."""
    tests = [read_selector(words) for words in firewall.selectors]
    return lambda labels: any(test(labels) for test in tests)


def _selectors(targets: list[Json]) -> list[str]:
    words = (row["label_selector"]["selector"] for row in targets if row["type"] == "label_selector")
    return list(dict.fromkeys(words))


def _show_server(server: Server) -> Json:
    return {"type": "server", "server": {"id": server.id}}


def _show_selector(words: str, firewall: Firewall, servers: Iterable[Server]) -> Json:
    matches = read_selector(words)
    chosen = [server for server in servers if firewall.id in server.selected and matches(server.labels)]
    return {
        "type": "label_selector",
        "label_selector": {"selector": words},
        "applied_to_resources": [_show_server(server) for server in chosen],
    }


def _show_rule(rule: Json) -> Json:
    return {
        "description": rule.get("description"),
        "direction": rule["direction"],
        "protocol": rule["protocol"],
        "port": rule.get("port"),
        "source_ips": rule.get("source_ips", []),
        "destination_ips": rule.get("destination_ips", []),
    }


def _target(value: Any) -> Json:
    known = {
        "type": checks.one_of("server", "label_selector"),
        "server": checks.fields_of({"id": checks.number}, required=("id",)),
        "label_selector": checks.fields_of({"selector": _selector}, required=("selector",)),
    }
    row = checks.read_fields(value, known, required=("type",))
    if row["type"] not in row:
        raise ValueError(f"{row['type']} is missing")
    return row


def _selector(value: Any) -> str:
    if not checks.text(value).strip():
        raise ValueError("Must not be empty.")
    read_selector(value)
    return str(value)


def _networks(value: Any) -> list[str]:
    for word in checks.list_of(checks.text)(value):
        ip_network(word)  # refuses host bits as Hetzner does
    return list(value)


def _port(value: Any) -> str | None:
    if value is None or value == "any":
        return value  # type: ignore[no-any-return]  # one of two constants
    ends = checks.text(value).split("-")
    if not 1 <= len(ends) <= 2 or not all(end.isascii() and end.isdigit() for end in ends):
        raise ValueError("Must be a port, a range such as 80-85, or any.")
    numbers = [int(end) for end in ends]
    if not 1 <= numbers[0] <= numbers[-1] <= _PORTS:
        raise ValueError(f"Must be between 1 and {_PORTS}.")
    return str(value)


def _description(value: Any) -> str | None:
    if value is not None and len(checks.text(value)) > 255:
        raise ValueError("Longer than maximum length 255.")
    return value  # type: ignore[no-any-return]  # a string or None


def _rule(value: Any) -> Json:
    known = {
        "direction": checks.one_of("in", "out"),
        "protocol": checks.one_of("tcp", "udp", "icmp", "esp", "gre"),
        "port": _port,
        "source_ips": _networks,
        "destination_ips": _networks,
        "description": _description,
    }
    rule = checks.read_fields(value, known, required=("direction", "protocol"))
    if (rule["protocol"] in ("tcp", "udp")) is not bool(rule.get("port")):
        raise ValueError("port is required for tcp and udp, and for these only")
    far, near = ("source_ips", "destination_ips") if rule["direction"] == "in" else ("destination_ips", "source_ips")
    if not rule.get(far) or rule.get(near):
        raise ValueError(f"{far} is required for direction {rule['direction']}, and {near} is not allowed")
    return rule


_RULE_LIST = checks.list_of(_rule, at_most=_RULES)
_TARGETS = checks.list_of(_target)
