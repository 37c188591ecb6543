# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What other programs rely on: one document on stdout, as its schema says, and JSON lines on stderr if asked for."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from sandbox_helpers import Api
from schemas import FOLDER, Json, check, is_valid, read, read_lines, schema, unpromised
from shells import Shell, Terminal
from surroundings import folders, held

from scherbelberg.cli.main import group
from scherbelberg.cli.tables import bill_lines
from scherbelberg.cloud.hetzner import Hetzner
from scherbelberg.environments import shipped
from scherbelberg.environments.shipped import shipped_pins, tool_version
from scherbelberg.errors import FailedAttempt, LeftOver, ScherbelbergError, _restore
from scherbelberg.sandbox.faults import Faults, RequestFault
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")


def test_life(shell: Shell, sandbox: SandboxThread) -> None:
    """Every document of a cluster's life is as its schema says, which asks for each of its fields; so are all lines."""
    before = len(sandbox.sandbox.requests)
    code, output, complaints = shell("create", "-p", "tour", "-w", "1", "--json", "--progress", "json")
    assert code == 0, complaints
    made = read("create", output)
    assert unpromised("create", made) == []
    methods = [method for method, _ in sandbox.sandbox.requests[before:]]
    # The last request of a create that is no GET says that it is ready.
    assert made["api_requests"] == len(methods) - methods[::-1].index("PUT")
    assert (made["prefix"], made["state"], made["hourly"]["currency"]) == ("tour", "ready", "EUR")
    assert [node["role"] for node in made["nodes"]] == ["scheduler", "worker"]

    lines = read_lines(complaints)
    assert {line["type"] for line in lines} == {"message", "event"}
    events = [line for line in lines if line["type"] == "event"]
    assert set(made["phases"]) == {event["phase"] for event in events}
    assert [event["detail"] for event in events if event["phase"] == "proof"] == ["", "1 workers compute"]
    assert [event["at_s"] for event in events] == sorted(event["at_s"] for event in events)
    assert [unpromised("progress", lines[0]), unpromised("progress", events[0])] == [[], []]

    # Within the first hour all of it costs an hour.
    assert made["cost"] == made["hourly"]

    shown = read("show", shell("show", "-p", "tour", "--json")[1])
    assert shown == made | {"age_s": shown["age_s"], "left_s": shown["left_s"]}
    assert shown["age_s"] + shown["left_s"] == 12 * 3600
    (listed,) = read("ls", shell("ls", "--json")[1])["clusters"]
    assert listed == made | {"age_s": listed["age_s"], "left_s": listed["left_s"]}

    _check_older_records(shell, shown)

    code, output, complaints = shell("destroy", "-p", "tour", "--json", "--progress=json")
    gone = read("destroy", output)
    assert (code, gone["uids"], gone["left_over"]) == (0, [made["uid"]], [])
    assert list(gone["phases"]) == ["delete", "empty"]
    assert unpromised("destroy", gone | {"left_over": []}) == []
    (bill,) = gone["bills"]
    assert made["cost"] == bill["cost"] | {"currency": bill["currency"]}
    assert (bill["uid"], [node["name"] for node in bill["nodes"]]) == (made["uid"], ["scheduler", "worker000"])
    whole = read("bill", shell("bill", "--json")[1])
    assert (whole["clusters"], whole["totals"], whole["unknown"]) == ([bill], [made["cost"]], [])
    assert unpromised("bill", whole) == []
    deleted = [line for line in read_lines(complaints) if line.get("phase") == "delete"]
    assert (deleted[0]["state"], deleted[0]["done"], deleted[0]["total"]) == ("start", 0, 5)


def _check_older_records(shell: Shell, shown: Json) -> None:
    """What an earlier version or nobody can tell is null, as the schema allows; what may differ is listed."""
    (name,) = folders(shell.settings)
    path = shell.settings.home / "clusters" / name / "manifest.json"
    good = path.read_text(encoding="utf-8")
    record = json.loads(good)
    requests = record.pop("api_requests")
    path.write_text(json.dumps(record), encoding="utf-8")
    again = read("show", shell("show", "-p", "tour", "--json")[1])
    assert again == shown | {"age_s": again["age_s"], "left_s": again["left_s"], "api_requests": None}
    path.write_text(json.dumps(record | {"api_requests": f"{requests}"}), encoding="utf-8")
    again = read("show", shell("show", "-p", "tour", "--json")[1])
    assert (again["hourly"], again["phases"]) == (shown["hourly"], {})
    assert (again["environment"], again["nodes"][0]["lock"], again["nodes"][0]["script"]) == (None, None, None)
    record["environment"]["allowed"] = [["numpy", "2.4.6", "-"]]
    record["environment"]["name"] = "main"
    record["nodes"][0]["script"] = "ab" * 32
    path.write_text(json.dumps(record), encoding="utf-8")
    again = read("show", shell("show", "-p", "tour", "--json")[1])
    assert again["environment"]["allowed"] == [{"package": "numpy", "client": "2.4.6", "nodes": "-"}]
    assert [node["differs"] for node in again["nodes"]] == [["lock", "script"], ["lock"]]
    assert "scheduler: its script is not the one of this scherbelberg" in shell("show", "-p", "tour")[1]
    assert unpromised("show", again) == unpromised("ls", {"schema": 1, "clusters": [again]}) == []
    path.write_text(good, encoding="utf-8")


def test_version(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version comes with the digests of what nodes get, and with the flake's revision where there is one."""
    document = read("version", shell("--version", "--json")[1])
    assert document == read("version", shell("--json", "--version")[1])
    assert unpromised("version", document) == []
    assert (document["script"], document["locks"]) == (shipped_pins().script, dict(shipped_pins().locks))
    assert (document["version"], document["revision"]) == (tool_version(), None)
    assert shell("--version")[1] == f"scherbelberg {tool_version()}\n"
    (tmp_path / "revision").write_text("0123abc\n", encoding="utf-8")
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)
    assert shipped.flake_revision() == "0123abc"
    code, _, complaints = shell("--json", "ls")
    assert (code, "--json stands behind a command" in complaints) == (2, True)


def test_left_over(shell: Shell, sandbox: SandboxThread) -> None:
    """What cannot be deleted is named in the document; when it is gone, the document says that."""
    assert shell("create", "-p", "stay", "-w", "1", "--quiet")[0] == 0
    api = Api(sandbox.settings)
    (scheduler,) = api("GET", "/servers?name=stay-scheduler").body["servers"]
    path = f"/servers/{scheduler['id']}"
    sandbox.set_faults(
        Faults(requests=(RequestFault(method="DELETE", path=path, status=403, code="protected", times=None),))
    )
    code, output, complaints = shell("nuke", "-p", "stay", "--json", "--progress", "none")
    failure = read("error", output)
    assert (code, failure["error"]["code"]) == (8, "left_over")
    assert f"server {scheduler['name']}" in failure["left_over"]
    assert unpromised("error", failure) == []
    assert complaints.splitlines()[-1] == f"Error: {failure['error']['message']}"
    (listed,) = read("ls", shell("ls", "--json")[1])["clusters"]
    assert [node["name"] for node in listed["nodes"]] == ["scheduler"]
    assert Decimal(listed["cost"]["net"]) == 2 * Decimal(listed["nodes"][0]["cost"]["net"])
    sandbox.set_faults(Faults())
    api.close()
    gone = read("nuke", shell("nuke", "-p", "stay", "--json")[1])
    assert gone["left_over"] == []
    assert [node["name"] for bill in gone["bills"] for node in bill["nodes"]] == ["worker000", "scheduler"]
    (line,) = bill_lines(gone)
    assert line.startswith("Cluster stay (2 machines, ")
    assert f"has cost {Decimal(listed['cost']['net']):.4f} EUR net" in line
    assert (held(shell.settings), folders(shell.settings)) == ([], [])


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("create", "--workers", "some"), 2, "usage"),
        (("create", "--no-such"), 2, "usage"),
        (("createe",), 2, "usage"),
        (("sandbox", "begin"), 2, "usage"),
        (("create", "--workers", "0"), 2, "bad_input"),
        (("create", "--worker-type", "cx32"), 2, "bad_input"),
        (("catalog", "fsn"), 2, "bad_input"),
        (("ls", "--token-file", "/nowhere/token"), 2, "bad_input"),
        (("doctor", "--token"), 2, "usage"),
        (("env", "show", "nowhere.lock"), 2, "bad_input"),
        (("env", "show", "--platform", "osx-64"), 2, "usage"),
        (("env", "diff", "--channel", "https://anna:secret@example.org/c"), 2, "bad_input"),
        (("show", "-p", "nobody"), 10, "cluster_not_found"),
        (("destroy", "-p", "nobody"), 10, "cluster_not_found"),
        (("nuke", "-p", "nobody"), 10, "cluster_not_found"),
    ],
)
def test_failures(shell: Shell, words: tuple[str, ...], code: int, word: str) -> None:
    """Whatever is wrong, stdout holds one document that says so, and stderr the sentence or the same as a line."""
    ended, output, complaints = shell(*words, "--json")
    failure = read("error", output)
    assert (ended, failure["error"]["code"], failure["left_over"]) == (code, word, [])
    assert complaints.rstrip().endswith(failure["error"]["message"])
    if words[0] in {"create", "destroy", "nuke", "createe"}:
        ended, again, complaints = shell(*words, "--json", "--progress", "json")
        assert (ended, json.loads(again)) == (code, failure)
        assert read_lines(complaints)[-1] == {**failure, "type": "error"}


def _kinds(kind: type[ScherbelbergError]) -> list[type[ScherbelbergError]]:
    return [kind, *(found for one in kind.__subclasses__() for found in _kinds(one))]


@pytest.mark.parametrize("kind", _kinds(ScherbelbergError))
def test_errors(shell: Shell, kind: type[ScherbelbergError]) -> None:
    """Each class of errors ends a command with its exit code, its word, and all of its data in the document."""
    tried: Any = {"node": "worker000", "server_type": "cx23", "location": "fsn1", "outcome": "failed", "said": "No."}
    data: dict[str, Any] = {
        "node": "worker000",
        "phase": "tls",
        "log_tail": ("first", "last"),
        "log_file": "/x.log",
        "tried": (FailedAttempt(**tried),),
        "left_over": ("server x",),
    }

    def broken(*args: object, **kwargs: object) -> None:
        raise _restore(kind, ("It broke.",), data)

    shell.monkeypatch.setattr("scherbelberg.inventory.listing.fetch_clusters", broken)
    code, output, complaints = shell("ls", "--json", "-q")
    assert (code, complaints) == (kind.exit_code, "  | first\n  | last\nError: It broke. (node worker000, phase tls)\n")
    assert read("error", output) == {
        "schema": 1,
        "error": {
            "code": kind.code,
            "message": "It broke.",
            "node": "worker000",
            "phase": "tls",
            "log_tail": ["first", "last"],
            "log_file": "/x.log",
            "tried": [tried],
        },
        "left_over": ["server x"] if kind is LeftOver else [],
    }
    assert unpromised("error", json.loads(output) | {"left_over": []}) == []


def test_no_token(shell: Shell) -> None:
    """A missing token is told in the same way."""
    shell.monkeypatch.delenv("HCLOUD_TOKEN")
    code, output, _ = shell("ls", "--json")
    assert (code, read("error", output)["error"]["code"]) == (3, "token_missing")


def test_other_words_are_left_alone(shell: Shell) -> None:
    """Without --json there is no document, also where the word stands for something else."""
    assert shell("create", "--no-such") == (2, "", shell("create", "--no-such")[2])
    assert shell("ssh", "-p", "nobody", "scheduler", "--json")[:2] == (10, "")
    assert shell("create", "--workers", "some", "--", "--json")[:2] == (2, "")


def test_unexpected(shell: Shell) -> None:
    """A mistake of ours is a document, too, and a traceback."""

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("no sense")

    shell.monkeypatch.setattr("scherbelberg.inventory.listing.fetch_clusters", broken)
    output: list[str] = []
    shell.monkeypatch.setattr("click.echo", lambda text, **kwargs: output.append(text))
    with pytest.raises(ZeroDivisionError):
        shell("ls", "--json", "--quiet")
    with pytest.raises(ZeroDivisionError):
        shell("nuke", "--progress", "json", "--json", "--yes")
    assert json.loads(output[1]) == json.loads(output[0])
    document = output[0]
    assert read("error", document)["error"]["message"] == "ZeroDivisionError: no sense"


def test_only_one_document(shell: Shell) -> None:
    """What fails after the answer does not add a second one."""

    def broken(text: str) -> None:
        raise BlockingIOError("cannot say it")

    shell.monkeypatch.setattr("scherbelberg.lifecycle.diagnosis.code_of", broken)
    output: list[str] = []
    shell.monkeypatch.setattr("click.echo", lambda text, **kwargs: output.append(text))
    with pytest.raises(BlockingIOError):
        shell("doctor", "--json")
    (document,) = output
    assert read("doctor", document)["checks"]


def test_programs_are_not_asked(shell: Shell, tmp_path: Path) -> None:
    """A program that runs at somebody's terminal is refused, not asked, when it is to say --yes."""
    assert shell("create", "-p", "mine", "-w", "1", "-q")[0] == 0
    shell.monkeypatch.setenv("SCHERBELBERG_HOME", str(tmp_path / "elsewhere"))
    shell.monkeypatch.setattr("sys.stdin", Terminal("mine\n"))
    code, output, _ = shell("nuke", "-p", "mine", "--json")
    assert (code, read("error", output)["error"]["code"]) == (2, "bad_input")
    assert read("nuke", shell("nuke", "-p", "mine", "--json", "--yes")[1])["prefix"] == "mine"


async def test_requests_are_counted(sandbox: SandboxThread, settings: Settings) -> None:
    """Pages and repetitions count, one by one, as the cloud counts them."""
    refused = RequestFault(path="/pricing", number=1, status=503, code="unavailable")
    dropped = RequestFault(path="/pricing", number=2, how="drop_before")
    sandbox.set_faults(Faults(requests=(refused, dropped)))
    hetzner = Hetzner(settings.access, request_s=5, patience_s=10)
    await hetzner.catalog()
    await hetzner.find("servers", {"managed-by": "scherbelberg"})
    hetzner.close()
    paths = [path for _, path in sandbox.sandbox.requests]
    assert (hetzner.request_count, paths.count("/v1/pricing")) == (len(paths), 3)


def _commands_with(option: str) -> list[str]:
    """Every command that has an option, its words joined as its schema's file is called."""

    def walk(command: click.Command, words: tuple[str, ...]) -> list[str]:
        context = click.Context(command)
        if isinstance(command, click.Group):
            inner = ((name, command.get_command(context, name)) for name in command.list_commands(context))
            return [found for name, one in inner if one is not None for found in walk(one, (*words, name))]
        return ["-".join(words)] if any(option in one.opts for one in command.params) else []

    return walk(group, ())


def test_every_document_has_a_schema() -> None:
    """There is a schema for each command with --json, none for anything else, and each is a schema that stays open."""
    names = {path.stem for path in FOLDER.iterdir()}
    assert names == {*_commands_with("--json"), "error", "progress", "plan", "version"}
    for name in sorted(names):
        check(name)
    cluster = schema("ls")["properties"]["clusters"]["items"]["properties"]
    assert cluster == schema("show")["properties"] == schema("create")["properties"]
    assert not is_valid("show", {"schema": 2})


def test_catalog_and_sandbox(shell: Shell) -> None:
    """The other documents are as their schemas say, which ask for each field."""
    catalog = read("catalog", shell("catalog", "nbg1", "--json")[1])
    catalog["server_types"] = catalog["server_types"][:1]
    assert unpromised("catalog", catalog) == []
    code, output, _ = shell("sandbox", "status", "--json")
    assert (code, read("sandbox-status", output)["running"]) == (1, False)
    assert unpromised("sandbox-status", json.loads(output)) == []
    plan = read("plan", shell("create", "--plan", "--json", "--ttl", "3h", "-w", "1")[1])
    assert unpromised("plan", plan) == []
    assert held(shell.settings) == []


def test_every_command_can_be_quiet() -> None:
    """The options about speaking are the same everywhere."""
    every = set(_commands_with("--quiet"))
    assert every == set(_commands_with("--verbose"))
    context = click.Context(group)
    for name in group.list_commands(context):
        assert any(found.split("-")[0] == name for found in every), name
