# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The options of ``create``: what they make, what they refuse, and which of flag, file and default wins."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from shells import Shell
from surroundings import folders, held

from scherbelberg import sync
from scherbelberg.sandbox.faults import Faults, HostFault, RequestFault, SoldOut
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

FILE = """
prefix = "filed"
workers = 3
worker = "cx33"
ttl_s = "none"
ssh_from = ["198.51.100.0/24", "here"]
[resources]
GPU = 2
[ports]
scheduler = 9786
"""


def rules(settings: Settings) -> dict[str, list[str]]:
    """Ask the cloud whom its only firewall lets in: port to ranges."""
    headers = {"Authorization": f"Bearer {settings.access.token}"}
    answer = requests.get(f"{settings.access.endpoint}/firewalls", headers=headers, timeout=10)
    (firewall,) = answer.json()["firewalls"]
    return {rule["port"]: rule["source_ips"] for rule in firewall["rules"]}


def test_plan(shell: Shell) -> None:
    """A plan says what would be made and what it costs, and nothing is made nor remembered."""
    words = ("create", "-p", "idea", "--plan", "-w", "2", "--worker-type", "cx33", "--location", "fsn1", "--ttl", "90m")
    code, output, complaints = shell(*words, "--processes", "2", "--expose-scheduler", "here")
    assert code == 0, complaints
    assert output.startswith("Cluster idea would be made in fsn1; nothing was made")
    rows = [line.split() for line in output.splitlines()]
    assert [row[:2] for row in rows[2:5]] == [["scheduler", "cx23"], ["worker000", "cx33"], ["worker001", "cx33"]]
    assert "Over its time to live of 1 h 30 min: " in output
    assert "Dask over TLS is let in from 127.0.0.1/32." in output
    code, output, _ = shell(*words, "--json")
    document = json.loads(output)
    assert (code, document["schema"], document["ttl_s"], document["direct"]) == (0, 1, 5400, [])
    assert document["network_range"] == shell.settings.network_range
    hourly, nodes = document["hourly"], document["nodes"]
    assert Decimal(hourly["net"]) == sum(Decimal(node["hourly"]["net"]) for node in nodes)
    assert Decimal(document["at_most"]["gross"]) == 2 * Decimal(hourly["gross"])
    assert [node["workers"] for node in nodes] == [[], ["worker000"], ["worker001"]]
    assert document["instead"]["worker"] == []
    code, output, _ = shell(*words, "--location", "nbg1", "--worker-type", "cx23", "--max-hourly", "0.06")
    assert code == 0
    instead = output.partition("Where there is none left for a worker (EUR/h gross): ")[2]
    assert re.sub(r" \([0-9.]+\)", "", instead.splitlines()[0]) == "cx33 in nbg1, cx23 in fsn1, cx23 in nbg1."
    code, _, complaints = shell(*words, "--max-hourly", "0.04")
    assert code == 2
    assert "EUR an hour gross, more than --max-hourly 0.04" in complaints
    assert held(shell.settings) == []
    assert folders(shell.settings) == []


def test_flags_win_over_the_file_and_the_file_over_defaults(shell: Shell, tmp_path: Path) -> None:
    """What is written out says which of the three won, and makes the same plan again."""
    wishes, result = tmp_path / "wishes.toml", tmp_path / "result.toml"
    wishes.write_text(FILE, encoding="utf-8")
    words = ("create", "--plan", "--json", "--spec", str(wishes))
    code, output, complaints = shell(*words, "-w", "2", "--resources", "disk=1 net=2", "--spec-out", str(result))
    assert code == 0, complaints
    document = json.loads(output)
    assert (document["prefix"], document["ttl_s"], len(document["nodes"])) == ("filed", None, 3)
    assert document["at_most"] is None
    assert document["nodes"][1]["server_type"] == "cx33"
    assert document["ssh_from"] == ["198.51.100.0/24", "127.0.0.1/32"]
    text = result.read_text(encoding="utf-8")
    for line in ("workers = 2", 'prefix = "filed"', 'ttl_s = "none"', "disk = 1.0", "scheduler = 9786", "join = 120"):
        assert f"\n{line}\n" in f"\n{text}"
    assert "GPU" not in text
    assert "network_range" not in text
    assert json.loads(shell("create", "--plan", "--json", "--spec", str(result))[1]) == document
    # A flag wins even where it says what is the default.
    assert len(json.loads(shell(*words, "-w", "2")[1])["nodes"]) == 3
    assert json.loads(shell(*words, "--ttl", "12h", "-p", "cluster")[1])["prefix"] == "cluster"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--processes", "many"), "Invalid number of processes 'many'. Use a number, or 'auto'."),
        (("--processes", "0"), "Invalid number of processes: 0"),
        (("--threads", "0"), "Invalid number of threads: 0"),
        (("--memory-limit", "lots"), "Invalid memory limit 'lots'"),
        (("--resources", "GPU"), "Invalid resource 'GPU'"),
        (("--ttl", "soon"), "Invalid duration 'soon'"),
        (("--max-total", "much"), "Invalid amount 'much'. Use a number above 0, such as 2.50."),
        (("--max-total", "0.01"), "could cost 0.4113 EUR gross, more than --max-total 0.01"),
        (("--ttl", "0"), "Invalid time to live: 0 s"),
        (("--ssh-from", "home"), "'home' is not a range of addresses"),
        (("--ssh-from", "203.0.113.7/8"), "is not a range of addresses such as 203.0.113.7/32"),
        (("--expose-scheduler", "there"), "'there' is not a range of addresses"),
        (("--env-var", "KEY"), "--env-var KEY has no value. Use KEY=VALUE."),
        (("--env-var", "1=2"), "'1' is not the name of an environment variable"),
        (("--env-var", "PATH=/x"), "The environment variable PATH cannot be set on nodes"),
        (("--secret", "NO_SUCH_VARIABLE"), "There is no environment variable NO_SUCH_VARIABLE here"),
        (("--secret", "KEY=@/nowhere/secret"), "/nowhere/secret cannot be read"),
        (("--dask-config", "/nowhere/dask.yaml"), "/nowhere/dask.yaml cannot be read"),
        (("--spec", "/nowhere/spec.toml"), "/nowhere/spec.toml cannot be read"),
        (("--plan", "--spec-out", "/nowhere/out.toml"), "/nowhere/out.toml cannot be written"),
    ],
)
def test_refused(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    """What cannot be is refused in one sentence, and nothing is made."""
    code, output, complaints = shell("create", *words)
    assert (code, output) == (2, "")
    assert sentence in complaints
    assert held(shell.settings) == []


def test_refused_file(shell: Shell, tmp_path: Path) -> None:
    """An unknown key of a file is refused with the nearest one, and Dask's configuration must be one."""
    wishes, config = tmp_path / "wishes.toml", tmp_path / "dask.yaml"
    wishes.write_text("wrokers = 2", encoding="utf-8")
    code, _, complaints = shell("create", "--spec", str(wishes))
    assert code == 2
    assert f"There is no 'wrokers' in {wishes} to set; did you mean 'workers'?" in complaints
    config.write_text("- a\n- b\n", encoding="utf-8")
    assert shell("create", "--dask-config", str(config))[0] == 2


def test_secret_on_the_command_line(shell: Shell) -> None:
    """A secret's value is refused where everybody can see it, and not repeated."""
    code, _, complaints = shell("create", "--secret", "KEY=hunter2")
    assert code == 2
    assert "Do not write a secret on the command line. Use --secret KEY or --secret KEY=@FILE." in complaints
    assert "hunter2" not in complaints


def test_unknown_whereabouts(shell: Shell) -> None:
    """Where ``here`` is not known, nothing is made, let alone opened to anybody."""
    shell.monkeypatch.setenv("SCHERBELBERG_ADDRESS_URL", "http://127.0.0.1:9")
    shell.monkeypatch.setattr("scherbelberg.cloud.public_address.is_emulated", lambda access: False)
    code, _, complaints = shell("create", "--ssh-from", "here")
    assert code == 1
    assert "This computer's public address is not known: http://127.0.0.1:9 does not tell" in complaints
    assert held(shell.settings) == []


@pytest.mark.hosts("scripted")
def test_one_reason_is_told_once(shell: Shell, sandbox: SandboxThread) -> None:
    """What all nodes fail of alike is told once while it happens, and once in the end."""
    words = "the sandbox was told to fail here"
    sandbox.set_faults(Faults(hosts=(HostFault(server="*", how="fails", phase="environment"),)))
    code, _, complaints = shell("create", "-w", "3", "--yes")
    assert code == 13
    told = [line for line in complaints.splitlines() if words in line and not line.startswith("  | ")]  # the logs
    assert len(told) == 2, complaints
    assert " environment failed (" in told[0]
    assert told[1].startswith("Error: Bootstrap of node ")


@pytest.mark.hosts("process")
def test_all_wishes_come_true(shell: Shell, tmp_path: Path) -> None:
    """Processes, threads, resources, memory, firewall, variables, secrets and Dask's configuration are as asked for."""
    config, secret = tmp_path / "dask.yaml", tmp_path / "secret"
    config.write_text("my-answer: 42\n", encoding="utf-8")
    secret.write_text("it's $HOME\n", encoding="utf-8")
    shell.monkeypatch.setenv("FROM_HERE", "hidden here")
    code, output, complaints = shell(
        *("create", "-p", "wish", "-w", "1", "--processes", "2", "--threads", "3", "--memory-limit", "300MB"),
        *(
            "--resources",
            "GPU=2",
            "--resources",
            "disk=5 net=7",
            "--ssh-from",
            "here",
            "--expose-scheduler",
            "203.0.113.7",
        ),
        *("--env-var", "COLOUR=light blue", "--secret", "FROM_HERE", "--secret", f"FROM_FILE=@{secret}"),
        *("--dask-config", str(config), "--json"),
    )
    assert code == 0, complaints
    assert json.loads(output)["state"] == "ready"
    assert list(rules(shell.settings).values()) == [["127.0.0.1/32"], ["203.0.113.7/32"]]
    cluster = sync.Cluster.from_existing("wish", settings=shell.settings)

    def read(names: tuple[str, ...]) -> tuple[list[str], object]:
        import os

        import dask

        return [os.environ[name] for name in names], dask.config.get("my-answer")

    with cluster.get_client() as client:
        workers = client.scheduler_info()["workers"].values()
        names = ("COLOUR", "FROM_HERE", "FROM_FILE")
        assert client.submit(read, names).result(timeout=30) == (["light blue", "hidden here", "it's $HOME"], 42)
    cluster.destroy()
    assert sorted(worker["name"] for worker in workers) == ["worker000-0", "worker000-1"]
    assert [(worker["nthreads"], worker["memory_limit"]) for worker in workers] == [(3, 300_000_000)] * 2
    assert all(worker["resources"] == {"GPU": 2, "disk": 5, "net": 7} for worker in workers)
    assert "hidden here" not in complaints + output


def test_no_capacity(sandbox: SandboxThread, shell: Shell) -> None:
    """When no place has what was asked for, a table lists what was tried, for programs as well, and nothing is left."""
    sandbox.set_faults(Faults(sold_out=(SoldOut(server_type="cx23"), SoldOut(disguise="deprecated_type"))))
    # Two places for the scheduler alone, so that there is a table whoever is refused first.
    places = ("--location", "hel1", "--location", "fsn1")
    words = ("create", "-w", "2", "--scheduler-type", "cx43", "--worker-type", "cx23", "--worker-type", "cx33", *places)
    code, output, complaints = shell(*words, "--json", "--progress", "none")
    assert code == 5
    tried = json.loads(output)["error"]["tried"]
    assert {(row["server_type"], row["outcome"]) for row in tried if row["node"] != "scheduler"} <= {
        ("cx23", "sold_out"),
        ("cx33", "sold_out"),
    }
    assert "Tried in vain" in complaints
    assert re.search(r"cx43 +hel1 +no capacity +server type", complaints)
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


def test_kept_after_a_failure(sandbox: SandboxThread, shell: Shell) -> None:
    """With --keep-on-failure a failure leaves what was made, says exactly what that is, and create goes on with it."""
    sandbox.set_faults(Faults(requests=(RequestFault(method="PUT", path="/networks/*"),)))
    words = ("create", "-p", "kept", "-w", "1", "--keep-on-failure")
    code, _, complaints = shell(*words)
    assert code == 3
    there = held(shell.settings)
    assert "networks/kept" in there
    assert "is kept, as --keep-on-failure says; you pay for it" in complaints
    for row in there:
        kind, _, name = row.partition("/")
        assert f"  {kind.removesuffix('s').replace('_', ' ')} {name}" in complaints
    assert "scherbelberg destroy -p kept" in complaints
    assert len(there) == 5
    assert shell("logs", "-p", "kept", "worker000")[0] == 0
    code, _, complaints = shell(*words)
    assert (code, held(shell.settings)) == (0, there), complaints
    assert "resumed" in complaints
    assert shell("destroy", "-p", "kept")[0] == 0
    assert held(shell.settings) == []
    assert folders(shell.settings) == []


def test_kept_where_no_node_answers(sandbox: SandboxThread, shell: Shell, tmp_path: Path) -> None:
    """Also what failed early is kept with its addresses, by which one can look why."""
    wishes = tmp_path / "wishes.toml"
    wishes.write_text("[timeouts]\nreach = 0.5\n", encoding="utf-8")
    sandbox.set_faults(Faults(dead=("*",)))
    code, _, complaints = shell("create", "-p", "kept", "-w", "1", "--keep-on-failure", "--spec", str(wishes))
    assert code == 13, complaints
    (path,) = shell.settings.home.glob("clusters/kept-*/manifest.json")
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    addresses = {node["name"]: node["public_ip"] for node in nodes if node["public_ip"]}
    assert addresses
    assert all(f"server kept-{name} at {address}" in complaints for name, address in addresses.items())
    assert shell("destroy", "-p", "kept")[0] == 0


def test_kept_when_the_token_is_revoked(sandbox: SandboxThread, shell: Shell) -> None:
    """Where nobody may look at what is kept any more, the cluster is named as what stays."""
    revoked = RequestFault(method="POST", path="/firewalls", status=401, code="unauthorized")
    blind = RequestFault(number=2, method="GET", path="/networks", status=401, code="unauthorized", times=None)
    sandbox.set_faults(Faults(requests=(revoked, blind)))
    code, output, complaints = shell("create", "-p", "kept", "-w", "1", "--keep-on-failure", "--json")
    assert (code, json.loads(output)["left_over"]) == (3, ["cluster kept"])
    assert "what exactly cannot be said now" in complaints
    sandbox.set_faults(Faults())
    assert "networks/kept" in held(shell.settings)
    assert shell("destroy", "-p", "kept")[0] == 0
    assert held(shell.settings) == []
