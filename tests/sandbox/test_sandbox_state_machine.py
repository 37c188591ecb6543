# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Random requests, valid and invalid, with faults and in any order, never break the emulated cloud's invariants."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sandbox_draws import REQUESTS, Draws, Request, tell
from sandbox_invariants import Rows, check_actions, check_addresses, check_firewalls, check_groups, check_networks
from sandbox_world import KINDS, Reply, World

from scherbelberg.sandbox.faults import NO_FAULTS

#: In the order in which they can be given back.
CLEARING = ("servers", "firewalls", "placement_groups", "primary_ips", "networks", "ssh_keys", "images")
SUBNET = {"type": "cloud", "network_zone": "eu-central"}
START: tuple[Request, ...] = (
    ("POST", "/networks", {"name": "n", "ip_range": "10.20.0.0/16", "subnets": [SUBNET]}),
    ("POST", "/firewalls", {"name": "f"}),
    ("POST", "/placement_groups", {"name": "g", "type": "spread"}),
    ("POST", "/servers", {"name": "s", "server_type": "cx23", "image": "ubuntu-24.04"}),
    ("POST", "/servers", {"name": "t", "server_type": "cx23", "image": "ubuntu-24.04", "start_after_create": False}),
)
seeds = st.integers(0, 2**64 - 1)


class Cloud(RuleBasedStateMachine):
    """Sends requests and looks at what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.asked_for: set[int] = set()
        self.calm = True
        self.state = ""
        self.checks = 0
        for request in START:
            assert self.send(request).status == 201
        self.world.tick()

    def send(self, request: Request) -> Reply:
        """Send a request whose answer must be a good one, whatever it says."""
        reply = self.world.send(*request)
        note(f"{tell(request)} -> {reply.status}")
        assert reply.status < 500 or reply.error["code"] == "not_implemented", reply
        if reply.status >= 400:
            assert set(reply.error) == {"code", "message", "details"}
            assert reply.error["code"]
            assert reply.error["message"]
            assert not reply.changed, reply
        assert self.world.witness.complaints == []
        return reply

    @rule(draw=st.sampled_from(REQUESTS), seed=seeds)
    def ask(self, draw: Callable[[Draws], Request], seed: int) -> None:
        """Ask for something; no time passes."""
        request = draw(Draws(self.world, seed))
        reply = self.send(request)
        method, path, _ = request
        if method == "POST" and path.startswith("/primary_ips") and reply.status == 201:
            # Whatever was made or taken away by request may be without a server.
            number = reply.body["primary_ip"]["id"] if path == "/primary_ips" else int(path.split("/")[2])
            self.asked_for.add(number)

    @rule(pauses=st.sampled_from([1, 2, 3, 20]))
    def wait(self, pauses: int) -> None:
        """Let some time pass."""
        self.world.tick(pauses)

    def wait_for_some(self, order: list[int]) -> None:
        """Let some work go on, and no other."""
        self.world.release(*order)

    def trouble(self, seed: int) -> None:
        """Let things go wrong from now on, or no longer."""
        self.world.faults = Draws(self.world, seed).faults()
        note(f"{self.world.faults}")
        self.calm = self.calm and not self.world.faults.actions

    @rule(seed=seeds, steps=st.integers(1, 60))
    def live(self, seed: int, steps: int) -> None:
        """Do all of this, many times and in any order; hypothesis alone seldom takes many steps."""
        random = Random(seed)
        for _ in range(steps):
            match random.randrange(12):
                case 0:
                    self.trouble(random.getrandbits(64))
                case 1 | 2:
                    self.wait(random.choice((1, 2, 3, 20)))
                case 3:
                    self.wait_for_some([random.randrange(6) for _ in range(3)])
                case _:
                    self.ask(random.choice(REQUESTS), random.getrandbits(64))
            self.everything_fits()

    @invariant()
    def everything_fits(self) -> None:
        """All lists tell the same story."""
        if self.state == (state := self.world.state()):
            return
        self.state = state
        self.checks += 1
        self.world.watched = self.checks % 10 == 0
        rows: Rows = {kind: self.world.every(kind) for kind in KINDS}
        actions = [show for show in self.world.project.actions.values() if show.status == "running"]
        numbers = [*self.world.project.actions, *(number for table in rows.values() for number in table)]
        assert len(numbers) == len(set(numbers))
        for kind, table in rows.items():
            shown = [row["name"] for row in table.values() if row["name"] and row.get("type") != "system"]
            assert len(shown) == len(set(shown)), kind
        check_addresses(rows, asked_for=self.asked_for)
        check_networks(self.world, rows)
        check_firewalls(rows)
        check_groups(rows)
        check_actions(
            rows["servers"], [[number for kind, number in one.resources if kind == "server"] for one in actions]
        )
        assert self.world.witness.complaints == []

    def teardown(self) -> None:
        """In the end all work ends, and everything can be given back."""
        try:
            self.world.faults = NO_FAULTS
            self.world.tick()
            self.check_calm()
            self.clear()
        finally:
            self.world.close()

    def check_calm(self) -> None:
        """Without faults nothing stays half done."""
        if self.calm:
            for number, server in self.world.every("servers").items():
                assert server["status"] in ("running", "off")
                address = (server["public_net"]["ipv4"] or {"ip": None})["ip"]
                assert self.world.hosts.up[number] in ((address,), None)  # it may be dead
                assert server["status"] == "running" or not self.world.hosts.up[number]
                assert not server["locked"]
                assert {row["status"] for row in server["public_net"]["firewalls"]} <= {"applied"}
            assert {row["status"] for row in self.world.every("images").values()} == {"available"}

    def clear(self) -> None:
        """Give everything back."""
        for kind in CLEARING:
            for number, row in self.world.every(kind).items():
                if row.get("type") == "system":
                    continue
                if row.get("protection", {}).get("delete"):
                    body = {"delete": False} | ({"rebuild": False} if kind == "servers" else {})
                    assert self.send(("POST", f"/{kind}/{number}/actions/change_protection", body)).status == 201
                if kind == "firewalls" and row["applied_to"]:
                    path = f"/firewalls/{number}/actions/remove_from_resources"
                    gone = [{k: row[k] for k in ("type", "label_selector")} for row in row["applied_to"]]
                    assert self.send(("POST", path, {"remove_from": gone})).status == 201
                assert self.send(("DELETE", f"/{kind}/{number}", None)).status < 300, (kind, row)
            self.world.tick()
            assert [row for row in self.world.every(kind).values() if row.get("type") != "system"] == []
        assert (self.world.hosts.up, self.world.hosts.snapshots) == ({}, set())


TestCloud = Cloud.TestCase
TestCloud.settings = settings(
    max_examples=16,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
