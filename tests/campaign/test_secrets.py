# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Token, keys and secrets for work, through a cluster's whole life told as fully as can be: they show nowhere else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import Factory, frozen
from surroundings import environment_for, settings_for

from scherbelberg.sandbox.faults import NO_FAULTS, Faults, HostFault, RequestFault
from scherbelberg.sandbox.options import Options
from scherbelberg.sandbox.server import SandboxThread

_PHRASE = "Schaumburg-Lippe-1647-blau"
_VALUE = "Wolkenkuckucksheim-99"
_WITHIN_S = 120
#: Where a user's keys are.
_AT_HOME = {"ca-key.pem", "client-key.pem", "id_ed25519"}
#: What a sandbox's host keeps for its SSH server is not on real nodes.
_HOST_KEYS = {"ssh_host_ed25519_key", "sshd.host_keys"}
_OWN = {"new.key", "new.pem", "node.pem", "scherbelberg_host_ed25519_key", "sshd.host_keys"}
#: Kind of secret, name of the file that may hold it, and whether that is on a node.
_ALLOWED: dict[str, set[tuple[str, str, bool]]] = {
    "user's": {("user's", name, False) for name in _AT_HOME},
    "planted": {("planted", "planted.json", False)} | {("planted", name, True) for name in _HOST_KEYS},
    "node's": {("node's", name, True) for name in _OWN},
    "value": {("value", "work.env", True)},
    "token": set(),
    "passphrase": set(),
}
#: A line in the middle of a key, also where line ends are spelled out.
_KEY = re.compile(r"PRIVATE KEY-----(?:\n|\\n)([A-Za-z0-9+/=]{40,})(?:\n|\\n)([A-Za-z0-9+/=]{20,})")
#: A program that has every library say all it can.
_PROGRAM = """
import logging, os, sys
logging.basicConfig(level=1, stream=sys.stderr)
import asyncssh
asyncssh.set_debug_level(2)
from scherbelberg.settings import read_settings
from scherbelberg.sync import Cluster

def look(value, depth=0):
    if not isinstance(value, (str, bytes)):  # which are nobody's representation but their own
        print(repr(value))
    if depth < 3:
        for one in getattr(value, "__dict__", {}).values():
            look(one, depth + 1)

cluster = Cluster.from_new("told", workers=1, secrets={"GEHEIM": os.environ["GEHEIM"]}, log=print)
look(cluster)
with cluster.get_client() as client:
    print(client, client.submit(len, "abc").result())
cluster.destroy()
try:
    Cluster.from_existing("told", token=os.environ["HCLOUD_TOKEN"])
except Exception:
    logging.exception("as expected")
"""


@frozen(kw_only=True)
class Told:
    """What was to be heard and seen.

    Args:
        texts: Outputs of commands, by command.
        lines: Command lines of all processes of this computer.
        keys: Of keys, the line in the middle of each.
        user_data: What machines were given.
        places: By secret, the files in which it was seen, on nodes and at home.
    """

    texts: dict[str, str] = Factory(dict)
    lines: set[str] = Factory(set)
    keys: set[str] = Factory(set)
    user_data: set[str] = Factory(set)
    places: dict[str, set[str]] = Factory(dict)


class Eavesdropper:
    """Looks around as long as commands run.

    Args:
        told: What it sees.
        home: The client's folder.
        cloud: The sandbox and its folder.
    """

    def __init__(self, told: Told, home: Path, cloud: tuple[SandboxThread, Path]) -> None:
        self._told = told
        self._home = home
        self._sandbox, self._folder = cloud
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.02):
            for process in psutil.process_iter(["cmdline"]):
                self._told.lines.add("\0".join(process.info["cmdline"] or ()))
            for top in (self._home, self._folder):
                for folder, _, names in os.walk(top):  # which does not mind what goes meanwhile
                    for name in names:
                        self._read(Path(folder, name))

    def _read(self, path: Path) -> None:
        if "envs" in path.parts or path.is_symlink():
            return
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError:
            return  # it has just gone
        for _, key in _KEY.findall(text):
            self._told.keys.add(key)
        for secret in (*self._told.keys, _VALUE, _PHRASE, self._sandbox.settings.token):
            if secret in text:
                self._told.places.setdefault(secret, set()).add(str(path))


@pytest.fixture(scope="module")
def cloud(emulated_folder: Path, told_to: Told) -> Iterator[SandboxThread]:
    """A cloud that shows what machines were given."""

    def witness(request: Any, _status: int, _body: object) -> None:
        if (request.method, request.path) == ("POST", "/v1/servers"):
            told_to.user_data.add(json.loads(request.body)["user_data"])

    with SandboxThread(emulated_folder, Options(time_scale=0.02), witness=witness) as running:
        yield running


@pytest.fixture(scope="module")
def told_to() -> Told:
    """Where everything is kept that was told."""
    return Told()


@pytest.fixture(scope="module")
def told(cloud: SandboxThread, emulated_folder: Path, told_to: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A life with everything that is told about it."""
    found = told_to
    folder = tmp_path_factory.mktemp("secrets")
    settings = settings_for(cloud, folder / "home")
    environ = environment_for(settings) | {"GEHEIM": _VALUE, "SCHERBELBERG_PASSPHRASE": _PHRASE}

    def run(*words: str, code: int = 0, **changes: str) -> None:
        line = [sys.executable, "-m", "scherbelberg", *words]
        if words[0] == "program":
            line = [sys.executable, "-c", _PROGRAM]
        done = subprocess.run(
            line,
            env=environ | changes,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_WITHIN_S,
            check=False,
        )
        assert done.returncode == code, done
        found.texts[" ".join(words)] = done.stdout

    with Eavesdropper(found, settings.home, (cloud, emulated_folder)):
        run("create", "-v", "-p", "lived", "-w", "1", "--secret", "GEHEIM", "--progress", "json")
        for command in ("show", "ls", "logs", "doctor"):
            run(command, "-v", *(() if command in ("ls", "doctor") else ("-p", "lived")))
        run("export", "-v", "-p", "lived", str(folder / "lived.file"))
        run("ssh", "-p", "lived", "scheduler", "env")
        run("import", "-v", str(folder / "lived.file"), SCHERBELBERG_HOME=str(folder / "else"))
        run("show", "-v", "-p", "lived", HCLOUD_TOKEN=cloud.settings.token[::-1], code=3)
        run("destroy", "-v", "-p", "lived")
        cloud.set_faults(Faults(hosts=(HostFault(server="*-worker000", how="fails", phase="tls"),)))
        run("create", "-v", "-p", "failed", "-w", "1", "--secret", "GEHEIM", code=13)
        cloud.set_faults(Faults(requests=(RequestFault(number=12, status=401, code="unauthorized", times=None),)))
        run("create", "-v", "-p", "barred", "-w", "1", "--secret", "GEHEIM", code=8)
        cloud.set_faults(NO_FAULTS)
        run("nuke", "-v", "-p", "barred")
        run("gc", "-v")
        run("program")
    found.texts["the exported file"] = (folder / "lived.file").read_bytes().decode("latin-1")
    return found


def _kind(told: Told, secret: str) -> str:
    """Whose a key is: the user's, planted on a node, or a node's own."""
    names = {Path(place).name for place in told.places[secret]}
    if names & _AT_HOME:
        return "user's"
    return "planted" if names & {"planted.json", "ssh_host_ed25519_key"} else "node's"


def _secrets(told: Told, token: str) -> dict[str, str]:
    """All secrets, with what they are."""
    kinds = {key: _kind(told, key) for key in told.keys}
    return kinds | {token: "token", _VALUE: "value", _PHRASE: "passphrase"}


def test_there_was_something_to_find(told: Told, cloud: SandboxThread) -> None:
    """Three keys of each cluster's user, two of each node's own and one that was planted there, and work's secret."""
    kinds = list(_secrets(told, cloud.settings.token).values())
    assert kinds.count("user's") == 4 * 3
    assert kinds.count("planted") >= 2 * 3
    assert kinds.count("node's") >= 2 * 2 * 2
    assert any(path.endswith("work.env") for path in told.places[_VALUE])
    assert len(told.user_data) >= 2 * 3
    assert len(told.texts["program"]) > 10_000


def test_words(told: Told, cloud: SandboxThread) -> None:
    """No command, error, log of any library or representation of an object has a secret in it."""
    secrets, texts = _secrets(told, cloud.settings.token), told.texts.items()
    found = {(kind, command) for secret, kind in secrets.items() for command, text in texts if secret in text}
    assert found == set()


def test_processes(told: Told, cloud: SandboxThread) -> None:
    """No process has a secret in its command line."""
    secrets = _secrets(told, cloud.settings.token)
    assert len(told.lines) > 10
    assert {kind for secret, kind in secrets.items() if any(secret in line for line in told.lines)} == set()


def test_user_data(told: Told, cloud: SandboxThread) -> None:
    """User data have one private key, which is the planted one, and no other secret."""
    secrets = _secrets(told, cloud.settings.token)
    for text in told.user_data:
        assert text.count("BEGIN OPENSSH PRIVATE KEY") == 1
        assert [kind for secret, kind in secrets.items() if secret in text] in ([], ["planted"])


def test_files(told: Told, cloud: SandboxThread, emulated_folder: Path) -> None:
    """Whatever is secret is in files that are for it, and on the side where it belongs: not in logs or manifests."""
    for secret, kind in _secrets(told, cloud.settings.token).items():
        for place in map(Path, told.places.get(secret, ())):
            on_node = place.is_relative_to(emulated_folder)
            name = re.sub(r"^\.(.*)\.[0-9]+$", r"\1", place.name).removesuffix(".new")  # while it is being written
            assert (kind, name, on_node) in _ALLOWED[kind], place
    own = [key for key in told.keys if _kind(told, key) == "node's"]
    hosts = [{Path(place).relative_to(emulated_folder).parts[:2] for place in told.places[key]} for key in own]
    assert {len(where) for where in hosts} == {1}
