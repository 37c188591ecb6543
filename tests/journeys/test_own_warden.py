# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster's own warden, called by the script on its scheduler."""

from __future__ import annotations

import contextlib
import json

from shells import Shell
from surroundings import folders, held

from scherbelberg import sync
from scherbelberg.errors import NodeUnreachable
from scherbelberg.nodes.payload import command
from scherbelberg.sandbox.hosts.system import marked
from scherbelberg.sandbox.server import SandboxThread, sandbox_id

_HOUR = 3600


def test_from_its_scheduler(sandbox: SandboxThread, shell: Shell) -> None:
    """A cluster gives itself back by the script's own call, with a token that is in no process, log or manifest."""
    code, output, complaints = shell("create", "-p", "own", "-w", "1", "--self-destruct", "--ttl", "2h", "-v")
    assert code == 0, complaints
    assert "whoever becomes root on that machine can use it" in complaints
    token = sandbox.settings.token
    (file,) = sandbox.sandbox.folder.glob("hosts/*/opt/scherbelberg/etc/warden.json")
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text(encoding="utf-8"))["token"] == token
    assert list(sandbox.sandbox.folder.glob("hosts/*/root/scherbelberg-payload/warden.json")) == []
    texts = [path for path in shell.settings.home.rglob("*") if path.is_file()]
    texts += [path for path in sandbox.sandbox.folder.glob("hosts/*/var/log/**/*") if path.is_file()]
    assert not any(token.encode() in path.read_bytes() for path in texts)
    assert token not in output + complaints
    lines = [" ".join(process.cmdline()) for process in marked(f"{sandbox_id(sandbox.sandbox.folder)}.")]
    assert lines
    assert not any(token in line for line in lines)

    before = held(shell.settings)
    with sync.Cluster.from_existing("own", settings=shell.settings) as cluster:
        scheduler = cluster.node("scheduler")
        assert scheduler.run(command("watch"), within_s=30).exit_code == 0
        assert scheduler.run(command("idle"), within_s=30).stdout.strip().isdecimal()
        assert held(shell.settings) == before
        sandbox.set_clock(3 * _HOUR)
        assert scheduler.run(command("watch"), within_s=30).exit_code == 0  # it has asked only just now
        assert held(shell.settings) == before
        (sandbox.sandbox.folder / "hosts" / file.parts[-5] / "run/scherbelberg/asked").unlink()
        with contextlib.suppress(NodeUnreachable):  # it goes while it answers
            scheduler.run(command("watch"), within_s=60)
    for _ in range(1000):
        if not any(row.startswith("servers/") for row in held(shell.settings)):
            break
    assert held(shell.settings) == ["networks/own", "firewalls/own"]
    assert shell("gc")[0] == 0
    assert (held(shell.settings), folders(shell.settings)) == ([], [])
