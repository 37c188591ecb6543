# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be known before anything is rented is looked at before: nothing is made, and one sentence names it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dask
import distributed.client
import pytest
from attrs import evolve
from choosing_world import shipped
from other_python import make_venv, packages_of
from sandbox_helpers import Api
from sandbox_orders import act, settled
from shells import Shell
from surroundings import environment_for, folders, held

from scherbelberg.environments.interpreter import own_client
from scherbelberg.environments.lock import EnvLock, Wheel, write_lock
from scherbelberg.errors import BadInput
from scherbelberg.sandbox.server import SandboxThread
from scherbelberg.scheduler.proof import reason_in, rehearse
from scherbelberg.settings import Settings

_WITHIN_S = 120
#: Loaded before any test changes Dask's configuration for a while: it adds its own to that.
_LOADED = distributed.client
_TRACEBACK = """Traceback (most recent call last):
  File "<string>", line 16, in <module>
yaml.scanner.ScannerError: mapping values are not allowed here

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "config.py", line 7, in collect
ValueError: A dask config file at '/etc/dask/a.yaml' is malformed, original error message:

mapping values are not allowed here
  in "<unicode string>", line 3, column 9:
    token: s3cret: x
            ^
"""


def _refusal(shell: Shell, *words: str) -> str:
    """What a create says that is refused before it makes anything."""
    before = held(shell.settings)
    code, output, _ = shell("create", "-w", "1", "--json", *words)
    assert (code, held(shell.settings), folders(shell.settings)) == (2, before, [])
    return str(json.loads(output)["error"]["message"])


@pytest.mark.hosts("scripted")
@pytest.mark.parametrize("words", [(), ("--plan",)])
def test_clock(shell: Shell, sandbox: SandboxThread, words: tuple[str, ...]) -> None:
    """A clock that is three hours behind would not take new certificates."""
    sandbox.set_clock(3 * 3600)
    assert "This computer's clock is 2 h 59 min behind the cloud's" in _refusal(shell, *words)
    sandbox.set_clock(0)


@pytest.mark.hosts("scripted")
def test_snapshot(shell: Shell, sandbox: SandboxThread) -> None:
    """A snapshot is larger than the disk of the server type that was named."""
    api = Api(sandbox.settings)
    server = settled(api, server_type="cx33")
    made = act(api, server, "create_image").body
    api.done(made["action"])
    image = str(made["image"]["id"])
    message = _refusal(shell, "--image", image, "--worker-type", "cx23")
    assert f"Image {image} needs a disk of 80 GB, and that of cx23 has 40 GB" in message
    document = json.loads(shell("create", "--plan", "--json", "--image", image)[1])
    assert "cx23" not in {node["server_type"] for node in document["nodes"]}
    api.done(api("DELETE", f"/servers/{server['id']}").body["action"])
    api.close()


@pytest.mark.hosts("scripted")
def test_wheel(shell: Shell, tmp_path: Path) -> None:
    """A lock has a wheel for another system."""
    name = "thing-1.0-cp313-cp313-win_amd64.whl"
    wheel = Wheel(name="thing", version="1.0", url=f"https://a.b/{name}", sha256="0" * 64)
    lock: EnvLock = evolve(shipped(), wheels=(wheel,))
    path = tmp_path / "mine.lock"
    path.write_text(write_lock(lock), encoding="utf-8")
    assert f"has the wheel {name}, which nodes cannot install" in _refusal(shell, "--env", str(path))


@pytest.mark.hosts("scripted")
def test_configuration_that_dask_cannot_read(settings: Settings, tmp_path: Path) -> None:
    """What Dask reads when it is loaded is read before anything is rented, and by doctor."""
    path = tmp_path / "dask" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("distributed:\n  comm: s3cret: x\n", encoding="utf-8")
    environ = environment_for(settings) | {"DASK_CONFIG": str(path.parent)}
    words = {"create": ("create", "-w", "1", "--json"), "doctor": ("doctor", "--json")}
    said = {}
    for name, line in words.items():
        done = subprocess.run(
            [sys.executable, "-m", "scherbelberg", *line],
            env=environ,
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=_WITHIN_S,
        )
        assert (done.returncode, "s3cret" in done.stdout + done.stderr, "Traceback" in done.stderr) == (2, False, False)
        said[name] = json.loads(done.stdout)
    (check,) = [one for one in said["doctor"]["checks"] if one["status"] == "fail"]
    assert check["name"] == "dask"
    for message in (said["create"]["error"]["message"], check["message"]):
        assert f"A dask config file at '{path}' is malformed, line 2, column 15): mend that" in message
    assert (held(settings), folders(settings)) == ([], [])


async def test_client_that_can_be_used() -> None:
    """The tests' own Python is one, and is left as it was."""
    before = dask.config.get("scheduler", None)
    await rehearse(own_client())
    assert dask.config.get("scheduler", None) == before


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("distributed.client.heartbeat", "nonsense", "Invalid time unit: nonsense"),
        ("distributed.comm.tls.ciphers", "nonsense", "No cipher can be selected"),
        ("distributed.client.preload", ["no_such_module_at_all"], "No module named 'no_such_module_at_all'"),
    ],
)
async def test_configuration_with_which_there_is_no_client(key: str, value: object, reason: str) -> None:
    """What Dask reads when a client is made is tried, too."""
    with dask.config.set({key: value}), pytest.raises(BadInput, match=reason):
        await rehearse(own_client())


async def test_client_that_is_half_installed(tmp_path: Path) -> None:
    """Another Python, whose package is there by its metadata and cannot be loaded, is no client."""
    python = make_venv(tmp_path, has_ours=True)
    (packages_of(tmp_path) / "distributed.py").write_text("raise ImportError('half installed')\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        await rehearse(evolve(own_client(), path=str(python)))
    assert caught.value.message.startswith(f"The client's Python {python} cannot use Dask")
    assert "(ImportError: half installed): mend that, or name another one with --client" in caught.value.message


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (_TRACEBACK, "ValueError: A dask config file at '/etc/dask/a.yaml' is malformed, line 3, column 9"),
        ("Traceback (most recent call last):\n  here\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("Traceback (most recent call last):\n  here\na.b.OddError\n", "a.b.OddError"),
        ("something\nKilled.\n", "Killed"),
        ("exit code -9", "exit code -9"),
        ("", ""),
        ("ValueError: " + "x" * 900, "ValueError: " + "x" * 288),
    ],
)
def test_reasons(said: str, reason: str) -> None:
    """Why a Python ended is one line, without what a parser quotes."""
    assert reason_in(said) == reason
