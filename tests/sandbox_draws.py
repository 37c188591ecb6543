# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Random requests to the emulated API: mostly good ones, and some with something wrong.

They are drawn by a plain random generator from a seed that hypothesis draws. Its own strategies prefer small and equal
values, and a few thousand steps of those hardly meet the rare combinations that break something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from sandbox_helpers import new_key, public
from sandbox_world import KINDS, Json, World

from scherbelberg.sandbox.faults import NO_FAULTS, ActionFault, Faults, SoldOut

#: Method, path and body.
Request = tuple[str, str, Json | None]

_COMMANDS = (
    "create_server",
    "start_server",
    "attach_to_network",
    "apply_firewall",
    "delete_server",
    "create_image",
    "*",
)
_KEYS = [public(new_key()) for _ in range(3)]
_PLAIN = ("poweron", "poweroff", "shutdown", "reboot", "reset", "remove_from_placement_group", "rebuild")


class Draws:
    """Draws requests.

    Args:
        world: What they are about.
        seed: Where the randomness comes from.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._project = world.project
        self._random = Random(seed)

    def any(self, *values: Any) -> Any:
        """Draw a value."""
        return self._random.choice(values)

    def mostly(self, *good: Any, bad: tuple[Any, ...]) -> Any:
        """Draw a bad value now and then: a request dies of one of its many."""
        return self.any(*good) if self._random.randrange(25) else self.any(*bad)

    def maybe(self, **fields: Any) -> Json:
        """Draw which of some fields are there."""
        return {name: value for name, value in fields.items() if self._random.randrange(2)}

    def number(self, kind: str) -> int:
        """Draw a resource, or now and then one that is not there, or is not the client's own."""
        table: Any = getattr(self._project, kind)
        own = [number for number, one in table.items() if getattr(one, "kind", "") != "system"]
        return int(self.mostly(*(own or [7]), bad=(7, 103908130)))

    def those(self, kind: str, *, most: int = 1) -> list[int]:
        """Draw some resources, or none where there are none."""
        count = self._random.randint(0, most if getattr(self._project, kind) else 0)
        return [self.number(kind) for _ in range(count)]

    def name(self) -> str:
        """Draw a name."""
        new = f"n{self._random.getrandbits(40)}"
        return str(self.mostly(new, new, new, "a", "b", bad=("under_score", "")))

    def labels(self) -> Json:
        """Draw labels."""
        return dict(self.mostly({}, {"x": "1"}, {"x": "2", "y": "1"}, bad=({"bad key": "1"}, {"x": ":"})))

    def rule(self) -> Json:
        """Draw a rule of a firewall."""
        port, source = self.mostly("22", "any", bad=("0", None)), self.mostly("0.0.0.0/0", bad=("1.2.3.4/8",))
        return {"direction": "in", "protocol": self.mostly("tcp", bad=("icmp",)), "port": port, "source_ips": [source]}

    def targets(self) -> list[Json]:
        """Draw what a firewall applies to."""
        numbers = [self.number("servers") for _ in range(self.any(0, 1, 1, 2))]
        selectors = [self.mostly("x", "x=1", "!y", "x in (1,2)", bad=("=", "")) for _ in range(self.any(0, 0, 1, 2))]
        return [{"type": "server", "server": {"id": number}} for number in numbers] + [
            {"type": "label_selector", "label_selector": {"selector": words}} for words in selectors
        ]

    def subnet(self, start: str) -> Json:
        """Draw a subnet of a network whose addresses begin in some way."""
        parts = [f"{start}.0.0/24", f"{start}.1.0/24", f"{start}.2.0/30"]
        ip_range = self.mostly(*parts, bad=(f"{start}.0.0/16", "10.99.0.0/24", f"{start}.0.0/31"))
        zone = self.mostly("eu-central", "eu-central", "us-east", bad=("mars",))
        return {"type": "cloud", "network_zone": zone} | self.maybe(ip_range=ip_range)

    def route(self, start: str) -> Json:
        """Draw a route."""
        return {
            "destination": self.mostly("172.20.0.0/24", "0.0.0.0/0", bad=(f"{start}.0.0/24", "8.8.8.0/24")),
            "gateway": self.mostly(f"{start}.0.9", bad=(f"{start}.0.1", "9.9.9.9")),
        }

    def networks_of(self, number: int) -> list[int]:
        """The networks that a server is in."""
        server = self._project.servers.get(number)
        return [] if server is None else [place.network for place in server.private]

    def start_of(self, number: int) -> str:
        """The first two bytes of a network."""
        network = self._project.networks.get(number)
        return "10.0" if network is None else str(network.ip_range).rsplit(".", 2)[0]

    def faults(self) -> Faults:
        """Draw what goes wrong on purpose: nothing, or one thing."""
        action = ActionFault(command=self.any(*_COMMANDS, "*", "*"), how=self.any("error", "endless", "endless"))
        return self.any(  # type: ignore[no-any-return]  # one of these
            NO_FAULTS,
            NO_FAULTS,
            Faults(actions=(action,)),
            Faults(actions=(action,)),
            Faults(sold_out=(SoldOut(server_type="cx*", disguise=self.any("placement", "deprecated_type")),)),
            Faults(dead=("a",)),
            Faults(servers=2),
            Faults(primary_ips=2),
        )


def make(draws: Draws) -> Request:
    """Make something simple."""
    kind = draws.any("ssh_keys", "firewalls", "placement_groups")
    own: dict[str, Json] = {
        "ssh_keys": {"public_key": draws.any(*_KEYS)},
        "firewalls": {"rules": [draws.rule()]} | draws.maybe(apply_to=draws.targets()),
        "placement_groups": {"type": "spread"},
    }
    return "POST", f"/{kind}", {"name": draws.name()} | own[kind] | draws.maybe(labels=draws.labels())


def make_network(draws: Draws) -> Request:
    """Make a network."""
    start = f"10.{draws.any(*range(20))}"
    whole = draws.mostly(f"{start}.0.0/16", f"{start}.0.0/20", bad=("8.0.0.0/16", "10.0.0.0/25", "10.0.0.1/24"))
    body = {"name": draws.name(), "ip_range": whole, "subnets": [draws.subnet(start)]}
    return "POST", "/networks", body | draws.maybe(routes=[draws.route(start)])


def make_primary_ip(draws: Draws) -> Request:
    """Make a primary IP."""
    owner = draws.mostly({"location": "fsn1"}, {"assignee_id": draws.number("servers")}, bad=({}, {"location": "mars"}))
    body = {"name": draws.name(), "type": draws.any("ipv4", "ipv6"), "assignee_type": "server"}
    return "POST", "/primary_ips", body | owner | draws.maybe(auto_delete=draws.any(True, False))


def order(draws: Draws) -> Request:
    """Order a server."""
    image = draws.mostly("ubuntu-24.04", *draws.those("images"), bad=("103908130", "nothing"))
    enabled = draws.mostly((True, True), (False, True), bad=((False, False),))
    public_net = dict(zip(("enable_ipv4", "enable_ipv6"), enabled, strict=True))
    extra = draws.maybe(
        ssh_keys=draws.those("ssh_keys"),
        networks=draws.those("networks", most=2),
        firewalls=[{"firewall": number} for number in draws.those("firewalls", most=2)],
        labels=draws.labels(),
        start_after_create=draws.any(True, False),
        location=draws.mostly("fsn1", bad=("ash",)),
    )
    address = {draws.mostly("ipv4", bad=("ipv6",)): number for number in draws.those("primary_ips")}
    server_type = draws.mostly("cx23", "cx33", bad=("cx22", "cax11"))
    body: Json = {"name": draws.name(), "server_type": server_type, "image": image, "public_net": public_net | address}
    for number in draws.those("placement_groups"):
        body["placement_group"] = number
    return "POST", "/servers", body | extra


def change(draws: Draws) -> Request:
    """Change a name or labels."""
    kind = draws.any(*KINDS, "servers", "servers")
    return "PUT", f"/{kind}/{draws.number(kind)}", draws.maybe(name=draws.name(), labels=draws.labels())


def delete(draws: Draws) -> Request:
    """Delete something."""
    kind = draws.any(*KINDS, "servers", "firewalls")
    return "DELETE", f"/{kind}/{draws.number(kind)}", None


def protect(draws: Draws) -> Request:
    """Protect something, or no longer."""
    kind, on = draws.any("servers", "networks", "primary_ips", "images"), draws.any(True, False)
    body = {"delete": on} | ({"rebuild": on} if kind == "servers" else {})
    return "POST", f"/{kind}/{draws.number(kind)}/actions/change_protection", body


def switch(draws: Draws) -> Request:
    """Do with a server what needs no body."""
    return "POST", f"/servers/{draws.number('servers')}/actions/{draws.any(*_PLAIN)}", None


def connect(draws: Draws) -> Request:
    """Attach a server to a network, or detach it."""
    word, server = draws.any("attach_to_network", "detach_from_network"), draws.number("servers")
    network = draws.mostly(*draws.networks_of(server), draws.number("networks"), bad=(7,))
    start = draws.start_of(network)
    ip = draws.mostly(f"{start}.0.7", f"{start}.1.7", bad=(f"{start}.0.1", "9.9.9.9"))
    body = {"network": network} | (draws.maybe(ip=ip) if word == "attach_to_network" else {})
    return "POST", f"/servers/{server}/actions/{word}", body


def transform(draws: Draws) -> Request:
    """Copy a server, or make it another, or put it into a group."""
    word, body = draws.any(
        ("create_image", {"type": "snapshot"}),
        ("change_type", {"server_type": draws.any("cx33", "cx43", "cax21"), "upgrade_disk": draws.any(True, False)}),
        ("add_to_placement_group", {"placement_group": draws.number("placement_groups")}),
    )
    return "POST", f"/servers/{draws.number('servers')}/actions/{word}", body


def move_address(draws: Draws) -> Request:
    """Give a primary IP to a server, take it, name it."""
    word, body = draws.any(
        ("assign", {"assignee_id": draws.number("servers"), "assignee_type": "server"}),
        ("unassign", None),
        ("change_dns_ptr", {"ip": "127.0.0.1", "dns_ptr": "a.example.com"}),
    )
    return "POST", f"/primary_ips/{draws.number('primary_ips')}/actions/{word}", body


def guard(draws: Draws) -> Request:
    """Apply a firewall, or take it off."""
    word = draws.any("apply_to", "remove_from")
    return "POST", f"/firewalls/{draws.number('firewalls')}/actions/{word}_resources", {word: draws.targets()}


def shape(draws: Draws) -> Request:
    """Change a network's subnets, routes or range."""
    number = draws.number("networks")
    start = draws.start_of(number)
    subnet, route = draws.subnet(start), draws.route(start)
    word, body = draws.any(
        ("add_subnet", subnet),
        ("add_subnet", subnet),
        ("delete_subnet", {"ip_range": subnet.get("ip_range", f"{start}.0.0/24")}),
        ("add_route", route),
        ("delete_route", route),
        ("change_ip_range", {"ip_range": f"{start}.0.0/16"}),
    )
    return "POST", f"/networks/{number}/actions/{word}", body


#: What is asked, as often as it stands here among the others.
REQUESTS: tuple[Callable[[Draws], Request], ...] = (
    *(make, make_network, make_primary_ip, order, order, order, change, change, delete, delete, protect),
    *(switch, switch, connect, connect, transform, move_address, guard, guard, shape),
)


def tell(request: Request) -> str:
    """Write a request as a line."""
    method, path, body = request
    return f"{method} {path} {json.dumps(body)}"
