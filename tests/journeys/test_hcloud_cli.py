# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's hcloud, Hetzner's own command line of 2022, as a stranger that the sandbox must satisfy.

It polls every half second, so that each of its actions takes that long.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from programs import need
from sandbox_helpers import WITHIN_S, Api, Waiter, cloud_config, new_key, public, unique
from strangers import Cli

from scherbelberg.settings import read_settings

_RULE = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"], "description": "SSH"}


@pytest.fixture
def hcloud(api: Api, tmp_path: Path) -> Cli:
    """The program, pointed at the sandbox, with a home of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HCLOUD_TOKEN": api.settings.token,
        "HCLOUD_ENDPOINT": api.settings.endpoint,
    }
    return Cli(path=need("hcloud", package="hcloud-cli"), environment=environment)


def test_catalogue(hcloud: Cli) -> None:
    """It lists and describes what can be had, and hears what is gone."""
    assert hcloud.rows("location", "name,network_zone,country")[:2] == [
        ["fsn1", "eu-central", "DE"],
        ["nbg1", "eu-central", "DE"],
    ]
    assert hcloud.show("location", "describe", "hel1")["city"] == "Helsinki"
    assert ["cx23", "2", "shared", "local"] in hcloud.rows("server-type", "name,cores,cpu_type,storage_type")
    prices = hcloud.show("server-type", "describe", "cax11")["prices"]
    assert {row["location"] for row in prices} == {"fsn1", "nbg1", "hel1"}
    assert "€ 0.0104720000000000" in hcloud("server-type", "describe", "cx23")
    names = [name for (name,) in hcloud.rows("image", "name", "--type", "system")]
    assert names.count("ubuntu-26.04") == 2  # one for each architecture, of which this version knows nothing
    assert hcloud.show("image", "describe", "debian-12")["os_flavor"] == "debian"
    assert hcloud.rows("iso", "name") == []
    assert "deprecated_api_endpoint" in hcloud.refused("datacenter", "list")


def test_ssh_keys(hcloud: Cli, tmp_path: Path) -> None:
    """It makes a key, labels and renames it, and deletes it."""
    name, other = unique("key"), unique("other")
    file = tmp_path / "key.pub"
    file.write_text(public(new_key()), encoding="utf-8")
    hcloud("ssh-key", "create", "--name", name, "--public-key-from-file", str(file), "--label", "a=b")
    assert [name, "a=b"] in hcloud.rows("ssh-key", "name,labels", "--selector", "a in (b,c)")
    assert "uniqueness_error" in hcloud.refused(
        "ssh-key", "create", "--name", other, "--public-key-from-file", str(file)
    )
    hcloud("ssh-key", "add-label", name, "c=d")
    hcloud("ssh-key", "remove-label", name, "a")
    hcloud("ssh-key", "update", name, "--name", other)
    key = hcloud.show("ssh-key", "describe", other)
    assert (key["labels"], key["public_key"]) == ({"c": "d"}, file.read_text(encoding="utf-8"))
    hcloud("ssh-key", "delete", other)
    assert "not found" in hcloud.refused("ssh-key", "describe", other)


def test_networks(hcloud: Cli, api: Api) -> None:
    """It makes a network with subnets and routes, and protects it."""
    name, ip_range = unique("net"), api.settings.network_range
    hcloud("network", "create", "--name", name, "--ip-range", ip_range, "--label", "a=b")
    hcloud("network", "add-subnet", name, "--type", "cloud", "--network-zone", "eu-central", "--ip-range", ip_range)
    gateway = ip_range.replace("0.0/16", "0.9")
    hcloud("network", "add-route", name, "--destination", "10.9.0.0/16", "--gateway", gateway)
    network = hcloud.show("network", "describe", name)
    assert [row["ip_range"] for row in network["subnets"]] == [ip_range]
    assert network["routes"] == [{"destination": "10.9.0.0/16", "gateway": gateway}]
    assert [name, ip_range, "0", "server", "a=b"] in hcloud.rows("network", "name,ip_range,servers,labels")
    hcloud("network", "enable-protection", name, "delete")
    assert "protected" in hcloud.refused("network", "delete", name)
    hcloud("network", "disable-protection", name, "delete")
    hcloud("network", "delete", name)


def test_firewalls(hcloud: Cli, tmp_path: Path) -> None:
    """It makes a firewall with rules of a file, adds one, takes one away."""
    name, file = unique("fw"), tmp_path / "rules.json"
    file.write_text(json.dumps([_RULE]), encoding="utf-8")
    hcloud("firewall", "create", "--name", name, "--rules-file", str(file), "--label", "a=b")
    ping = ["--direction", "in", "--protocol", "icmp", "--source-ips", "10.0.0.0/8"]
    hcloud("firewall", "add-rule", name, *ping, "--description", "ping")
    rules = hcloud.show("firewall", "describe", name)["rules"]
    assert [(row["protocol"], row["description"]) for row in rules] == [("tcp", "SSH"), ("icmp", "ping")]
    hcloud("firewall", "delete-rule", name, *ping, "--description", "ping")
    assert [name, "1", "Rule"] in hcloud.rows("firewall", "name,rules_count")
    hcloud("firewall", "add-label", name, "c=d")
    hcloud("firewall", "remove-label", name, "a")
    assert hcloud.show("firewall", "describe", name)["labels"] == {"c": "d"}
    hcloud("firewall", "delete", name)


def test_placement_groups(hcloud: Cli) -> None:
    """It makes a group, labels it, and deletes it."""
    name = unique("group")
    hcloud("placement-group", "create", "--name", name, "--type", "spread", "--label", "a=b")
    assert [name, "0", "servers", "spread"] in hcloud.rows("placement-group", "name,servers,type")
    hcloud("placement-group", "add-label", name, "c=d")
    hcloud("placement-group", "remove-label", name, "a")
    assert "  c: d\nServers:" in hcloud("placement-group", "describe", name)
    hcloud("placement-group", "delete", name)


def test_addresses(hcloud: Cli, api: Api) -> None:
    """It renames an address, rents a server with it, takes it from the server and deletes it."""
    name, other, server = unique("ip"), unique("ip"), unique("srv")
    made = api("POST", "/primary_ips", {"name": name, "type": "ipv4", "location": "fsn1", "labels": {"a": "b"}})
    hcloud("primary-ip", "update", name, "--name", other)
    assert [other, "ipv4", "-", "a=b"] in hcloud.rows("primary-ip", "name,type,assignee,labels")
    order(hcloud, server, "--primary-ipv4", other, "--start-after-create=false")
    assert hcloud("server", "ip", server) == f"{made.body['primary_ip']['ip']}\n"
    assert "must_be_unassigned" in hcloud.refused("primary-ip", "delete", other)
    hcloud("primary-ip", "unassign", other)
    hcloud("primary-ip", "delete", other)
    give_back(hcloud, server)


def test_addresses_of_yesterday(hcloud: Cli, api: Api) -> None:
    """Of an address it only knows to ask with a data centre, and sends a field that no description knows."""
    name, server = unique("ip"), unique("srv")
    words = ["primary-ip", "create", "--name", name, "--type", "ipv4"]
    assert "'datacenter': unknown field" in hcloud.refused(*words, "--datacenter", "fsn1-dc14")
    assert "invalid_input" in hcloud.refused(*words)
    made = api("POST", "/primary_ips", {"name": name, "type": "ipv4", "location": "fsn1"})
    order(hcloud, server, "--without-ipv4", "--start-after-create=false")
    assert "'ID': unknown field" in hcloud.refused("primary-ip", "assign", name, "--server", server)
    address = made.body["primary_ip"]["ip"]
    for asked in (("set-rdns", name, "--ip", address, "--hostname", "db.example.org"), ("enable-protection", name)):
        assert "'ID': unknown field" in hcloud.refused("primary-ip", *asked)
    hcloud("primary-ip", "delete", name)
    give_back(hcloud, server)


def order(hcloud: Cli, name: str, *words: str) -> str:
    """Rent a server."""
    plain = ["--name", name, "--type", "cx23", "--image", "ubuntu-24.04", "--location", "fsn1"]
    return hcloud("server", "create", *plain, *words)


def give_back(hcloud: Cli, name: str) -> None:
    """Delete a server; the program is content when that has begun."""
    hcloud("server", "delete", name)
    Waiter().wait(lambda: [name] not in hcloud.rows("server", "name"), what="the server's end")


def test_server_with_everything(hcloud: Cli, api: Api, tmp_path: Path) -> None:
    """It rents a server with all that it can ask for, logs into it, and takes it apart again."""
    key, name, ip_range = new_key(), unique("all"), api.settings.network_range
    identity, user_data = tmp_path / "identity", tmp_path / "user data"
    identity.write_bytes(key.export_private_key())
    identity.chmod(0o600)
    user_data.write_text(cloud_config(packages=["vim"]), encoding="utf-8")
    api("POST", "/ssh_keys", {"name": name, "public_key": public(key)})
    subnet = {"type": "cloud", "ip_range": ip_range, "network_zone": "eu-central"}
    api("POST", "/networks", {"name": name, "ip_range": ip_range, "subnets": [subnet]})
    api("POST", "/firewalls", {"name": name, "rules": [_RULE]})
    hcloud("placement-group", "create", "--name", name, "--type", "spread")
    asked = [f"--{kind}={name}" for kind in ("ssh-key", "network", "firewall", "placement-group")]
    said = order(hcloud, name, *asked, "--user-data-from-file", str(user_data), "--label", "role=db", "--label", "n=1")
    assert "Root password" not in said
    server = hcloud.show("server", "describe", name)
    assert (server["status"], server["labels"]) == ("running", {"role": "db", "n": "1"})
    assert server["private_net"][0]["ip"] in said
    assert server["public_net"]["firewalls"][0]["status"] == "applied"
    assert server["placement_group"]["name"] == name
    assert [name, "running", server["public_net"]["ipv4"]["ip"]] in hcloud.rows("server", "name,status,ipv4")
    log_in(hcloud, api, name, identity)
    assert "locked" not in hcloud("server", "detach-from-network", name, "--network", name)
    hcloud("server", "attach-to-network", name, "--network", name, "--ip", ip_range.replace("0.0/16", "7.7"))
    assert [[name, ip_range.replace("0.0/16", "7.7"), f"({name})"]] == hcloud.rows(
        "server", "name,private_net", "--selector", "role=db"
    )
    target = [name, "--type", "server", "--server", name]
    hcloud("firewall", "remove-from-resource", *target)
    assert hcloud.show("firewall", "describe", name)["applied_to"] == []
    hcloud("firewall", "apply-to-resource", *target)
    assert "resource_in_use" in hcloud.refused("firewall", "delete", name)
    give_back(hcloud, name)
    for kind in ("firewall", "placement-group", "network", "ssh-key"):
        hcloud(kind, "delete", name)


def log_in(hcloud: Cli, api: Api, name: str, identity: Path) -> None:
    """Log in as the program does it, with OpenSSH."""
    options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "BatchMode=yes"]
    flags = [part for option in options for part in ("-o", option)]
    port = str(api.settings.ssh_port)
    need("ssh", package="openssh-client")
    line = ["server", "ssh", "-p", port, name, "-F", "none", "-i", str(identity), *flags, "echo $((6 * 7)); exit 3"]
    done = hcloud.try_(*line)
    assert (done.returncode, done.stdout) == (3, "42\n"), done


def test_server_life(hcloud: Cli) -> None:
    """It switches, changes, copies, renames and labels a server."""
    name, other = unique("srv"), unique("srv")
    assert "Root password" in order(hcloud, name, "--start-after-create=false", "--label", "a=b")
    for word, status in (("poweron", "running"), ("reboot", "running"), ("reset", "running"), ("shutdown", "off")):
        hcloud("server", word, name)
        assert hcloud.rows("server", "status", "--selector", "a=b") == [[status]]
    hcloud("server", "change-type", name, "cx33")
    assert hcloud.show("server", "describe", name)["server_type"]["name"] == "cx33"
    hcloud("server", "poweroff", name)
    hcloud("server", "create-image", name, "--type", "snapshot", "--description", "a copy", "--label", "of=it")
    [image] = hcloud.show("image", "list", "--selector", "of=it")
    assert (image["description"], image["status"], image["disk_size"]) == ("a copy", "available", 80)
    hcloud("image", "update", str(image["id"]), "--description", "old")
    hcloud("image", "delete", str(image["id"]))
    hcloud("server", "update", name, "--name", other)
    hcloud("server", "add-label", other, "c=d")
    hcloud("server", "remove-label", other, "a")
    assert hcloud.show("server", "describe", other)["labels"] == {"c": "d"}
    give_back(hcloud, other)
    assert "not found" in hcloud.refused("server", "describe", other)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--image", "ubuntu-20.04"), "image not found"),
        (("--type", "cx11"), "server type cx11 not found"),
        (("--datacenter", "fsn1-dc14"), "'datacenter': unknown field"),
        (("--type", "cax11"), "image architecture does not fit"),  # it takes the first image of a name: an x86 one
        (("--location", "ash"), "unsupported location for server type"),
        (("--name", "under_score"), "invalid_input"),
    ],
)
def test_orders_of_yesterday(hcloud: Cli, words: tuple[str, str], reason: str) -> None:
    """What was sold and sent in the program's day is refused today."""
    asked = {"--name": unique("srv"), "--type": "cx23", "--image": "ubuntu-24.04"} | {words[0]: words[1]}
    assert reason in hcloud.refused("server", "create", *(part for pair in asked.items() for part in pair))


def test_context(hcloud: Cli, api: Api, tmp_path: Path) -> None:
    """A context that it makes in a terminal serves it and us."""
    config = tmp_path / "cli.toml"
    kept = {name: value for name, value in hcloud.environment.items() if name != "HCLOUD_TOKEN"}
    mine = Cli(path=hcloud.path, environment=kept | {"HCLOUD_CONFIG": str(config)})
    assert "no active context" in mine.refused("server", "list")
    control, terminal = pty.openpty()
    line = [mine.path, "context", "create", "sand"]
    with subprocess.Popen(line, env=mine.environment, stdin=terminal, stdout=terminal, stderr=terminal) as asking:
        os.close(terminal)
        os.write(control, f"{api.settings.token}\n".encode())
        assert asking.wait(WITHIN_S) == 0
    os.close(control)
    assert mine.rows("context", "name,active") == [["sand", "*"]]
    assert mine("context", "active") == "sand\n"
    assert mine.rows("location", "name")[0] == ["fsn1"]
    access = read_settings(environ={"HCLOUD_CONFIG": str(config)}).access
    assert (access.token, access.token_source) == (api.settings.token, "the hcloud CLI's context 'sand'")
